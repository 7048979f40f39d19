"""`crossdraft scenes`: cut, draw, inspect what the sensors saw."""

from __future__ import annotations

import typer

from crossdraft.cli.scenes_dsec import dsec
from crossdraft.cli.scenes_info import info
from crossdraft.cli.scenes_render import render

scenes = typer.Typer(
    help="Make, draw and inspect scenes: event streams, video, datasets.", no_args_is_help=True
)
scenes.command()(dsec)
scenes.command()(render)
scenes.command()(info)
