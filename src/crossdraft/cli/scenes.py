"""`crossdraft scenes`: make, cut, simulate, draw, inspect what the sensors saw."""

from __future__ import annotations

import typer

from crossdraft.cli.scenes_dsec import dsec
from crossdraft.cli.scenes_info import info
from crossdraft.cli.scenes_predictability import predictability
from crossdraft.cli.scenes_render import render
from crossdraft.cli.scenes_simulate import simulate
from crossdraft.cli.scenes_synth import synth

scenes = typer.Typer(
    help="Make, draw and inspect scenes: event streams, video, datasets.", no_args_is_help=True
)
scenes.command()(synth)
scenes.command()(dsec)
scenes.command()(simulate)
scenes.command()(render)
scenes.command()(info)
scenes.command()(predictability)
