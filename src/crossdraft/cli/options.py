"""Values that several commands take in the same form."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from crossdraft.base.errors import InputError

if TYPE_CHECKING:
    from crossdraft.scenes import scene as scenes
    from crossdraft.scenes.render import RenderSettings


Sensor = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        help="Sensor size in pixels.",
        show_default="as the files say, or 640x480",
    ),
]

Pair = Annotated[
    str,
    typer.Option(
        "--pair",
        metavar="PAIR",
        help="The two models: a YAML file, or the name of a shipped pair.",
    ),
]
Scene = Annotated[
    str,
    typer.Option(
        "--scene",
        metavar="SCENE",
        help="An event file, a video, EVENTS,VIDEO or DATASET/drive/clip.",
        show_default=False,
    ),
]
SceneOrMadeUp = Annotated[
    str | None,
    typer.Option(
        "--scene",
        metavar="SCENE",
        help="An event file, a video, EVENTS,VIDEO or DATASET/drive/clip.",
        show_default="a made-up scene",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Another value of the pair, such as drafter.model=FOLDER; repeatable.",
        show_default=False,
    ),
]


def scene_of(text: str, sensor: str | None) -> scenes.Scene:
    """The scene that `--scene` names, seen by the sensor of `--sensor`.

    Raises:
        InputError: no such scene, or no size.
    """
    from crossdraft.scenes.find_scene import find_scene

    found = find_scene(text)
    return found if sensor is None else replace(found, sensor=parse_size(sensor, "--sensor"))


def parse_size(text: str, option: str) -> tuple[int, int]:
    """Width and height of `640x480`.

    Raises:
        InputError: not two whole numbers from 1 to 65536.
    """
    match = re.fullmatch(r"(\d{1,5})[x×](\d{1,5})", text.strip(), re.ASCII)
    size = (int(match[1]), int(match[2])) if match else (0, 0)
    if not all(1 <= side <= 65536 for side in size):
        raise InputError(
            f"{text!r}", where=option, expected="width and height in pixels, such as 640x480"
        )
    return size


def render_preset(name: str) -> RenderSettings:
    """Settings of event frames by the name of their preset.

    Raises:
        InputError: no such preset.
    """
    from crossdraft.scenes.render import PRESETS

    if name not in PRESETS:
        raise InputError(f"{name!r}", where="--preset", expected=f"one of {', '.join(PRESETS)}")
    return PRESETS[name]


def cores() -> int:
    """Cores this process may use; not every system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
