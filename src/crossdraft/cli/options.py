"""Values that several commands take in the same form."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from crossdraft.base.errors import InputError
from crossdraft.vlm import shipped

if TYPE_CHECKING:
    from crossdraft.scenes import scene as scenes
    from crossdraft.scenes.render import RenderSettings
    from crossdraft.vlm.pair import ModelPair

#: The pair of commands that load models where none is named: it always fits.
DEFAULT_PAIR = shipped.EMBEDDED
#: What help texts say of a pair.
_NAMES = " or ".join(shipped.shipped_pairs())
PAIR_HELP = f"A YAML file, a folder with pair.yaml, or the name of a shipped pair: {_NAMES}."
_SCENE_HELP = (
    "An event file, a video, EVENTS,VIDEO or DATASET/drive/clip. Events that a drafter reads and "
    "nobody recorded are simulated from the video."
)

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
    typer.Option("--pair", metavar="PAIR", help=PAIR_HELP),
]
#: Of commands that load models; `pair_of` reads it.
PairOrDefault = Annotated[
    str | None,
    typer.Option("--pair", metavar="PAIR", help=PAIR_HELP, show_default=DEFAULT_PAIR),
]
Scene = Annotated[
    str,
    typer.Option("--scene", metavar="SCENE", help=_SCENE_HELP, show_default=False),
]
SceneOrMadeUp = Annotated[
    str | None,
    typer.Option("--scene", metavar="SCENE", help=_SCENE_HELP, show_default="a made-up scene"),
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


def pair_of(text: str | None, overrides: Sequence[str] | None) -> ModelPair:
    """The pair that `--pair` and `--set` say; which one it is where nobody does, is said.

    Raises:
        InputError: as `ModelPair.find`.
    """
    from crossdraft.vlm.pair import ModelPair

    # By its path: a file of this name in the working directory would go before the name.
    default = shipped.FOLDER / f"{DEFAULT_PAIR}.yaml"
    found = ModelPair.find(str(default) if text is None else text, overrides or ())
    if text is None:
        print(
            f"pair: {DEFAULT_PAIR}, small models that know scenes of the procedural drive; "
            "--pair names another",
            file=sys.stderr,
        )
    return found


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
