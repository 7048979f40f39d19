"""`crossdraft doctor`: prove that a pair is wired right, one line for each proof."""

from __future__ import annotations

import shutil
import sys
import textwrap
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import PairOrDefault, SceneOrMadeUp, Sensor, Set, pair_of, scene_of

if TYPE_CHECKING:
    from crossdraft.bench.checks.check import Check

#: Columns before what was found: verdict, model and name.
_MARGIN = 31


def doctor(
    pair: PairOrDefault = None,
    overrides: Set = None,
    scene: SceneOrMadeUp = None,
    sensor: Sensor = None,
    question: Annotated[
        str, typer.Option("--question", "-q", help="What both models are asked.")
    ] = "What are the key elements in this scene?",
    max_new_tokens: Annotated[
        int, typer.Option(metavar="N", help="Tokens of the answers that are compared.")
    ] = 32,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help="frames, scenes, prompts, adaptor, answers, states, rollback, noise, cost, "
            "vocabulary.",
            show_default="all",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Prove that a pair is wired right: one line with numbers for each proof, as it is made.

    Sessions answer as generate does, state t emits token t, rollback leaves no trace, every prompt
    is the one written out, the adaptor is applied once, the right frames of the right scene are
    shown, words map. Measured beside it: what the width of a pass changes, what it costs. Exit
    code 1 when a proof fails, 2 when a model cannot be loaded.

    Example: crossdraft doctor --pair eventgpt-videollava --scene drive.h5,drive.mp4
    """
    from crossdraft.bench.doctor import NAMES, diagnose, summary
    from crossdraft.scenes.scene import warnings_about
    from crossdraft.vlm.pair_models import PairModels
    from crossdraft.vlm.scene_events import with_events

    found = None if scene is None else scene_of(scene, sensor)
    chosen = pair_of(pair, overrides)
    warned: list[str] = []
    if found is not None:
        try:
            found = with_events(chosen, found)
        except InputError as error:
            if error.where == "--sensor":
                raise
            found.video_frames(1)  # one that cannot be read is no scene
            warned.append(f"no events are simulated: {error}")
        warned += warnings_about(found)
    named = (name.strip() for name in (only or "").split(","))
    names = NAMES if only is None else tuple(name for name in named if name)
    # No check needs both models at once.
    with PairModels(replace(chosen, load="in_turn")) as models:
        lines = diagnose(models, found, question, max_new_tokens=max_new_tokens, only=names)
        checks: list[Check] = []
        lost: InputError | None = None
        try:
            for check in lines:
                checks.append(check)
                if not as_json:
                    _show(check)
        except InputError as error:  # a model that cannot be loaded; the other was examined
            lost = error
        except KeyboardInterrupt:
            print("\ninterrupted", file=sys.stderr)
            raise typer.Exit(130) from None
    failed = any(check.ok is False for check in checks)
    if lost is not None and not any(check.ok is not None for check in checks):
        raise lost
    if as_json:
        from crossdraft.base.result import Result

        config = {
            "pair": chosen.to_json(), "scene": scene, "question": question,
            "max_new_tokens": max_new_tokens, "only": list(names),
        }  # fmt: skip
        payload = {"summary": summary(checks), "checks": [check.to_json() for check in checks]}
        print_json(Result("doctor", payload, config, warnings=warned).to_json())
    else:
        print(summary(checks))
        for text in warned:
            print(f"warning: {text}", file=sys.stderr)
    if lost is not None:
        print(f"error: {lost}", file=sys.stderr)
    if failed or lost is not None:
        raise typer.Exit(1 if failed else 2)


def _show(check: Check) -> None:
    """Print a check: one line, folded where a terminal is narrower."""
    line = f"{check.verdict:<11} {check.model:<8} {check.name:<10} {check.line}"
    if sys.stdout.isatty():
        width = max(shutil.get_terminal_size().columns, 2 * _MARGIN)
        line = textwrap.fill(line, width, subsequent_indent=" " * (_MARGIN + 1))
    print(line, flush=True)
