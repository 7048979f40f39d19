"""`crossdraft scenes synth`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crossdraft.cli.json_out import print_json
from crossdraft.cli.making import estimate, resumable, show_folders, show_outcome

if TYPE_CHECKING:
    from crossdraft.scenes.making import Report
    from crossdraft.scenes.synth import SynthPlan
    from crossdraft.scenes.synth_clip import SynthClip

#: What a dry run counts, by clip.
_COUNTED = ("road", "time", "weather", "vehicle", "motion", "colour")


def synth(
    out: Annotated[Path, typer.Option(help="Folder of the dataset.")],
    drives: Annotated[int, typer.Option(metavar="N", help="Drives.")] = 20,
    clips_per_drive: Annotated[
        int, typer.Option(metavar="N", help="Clips of one second per drive.")
    ] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="Another seed, another world.")] = 0,
    split: Annotated[
        Literal["train", "test"],
        typer.Option(help="Test drives show what no training drive does; one folder holds both."),
    ] = "train",
    size: Annotated[
        int, typer.Option(metavar="N", help="Pixels, width and height, of both cameras.")
    ] = 112,
    events_fps: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="How often a second the event camera is shown the light, a multiple of 20.",
        ),
    ] = 80,
    threshold: Annotated[
        float,
        typer.Option(metavar="X", help="Change of log intensity that makes an event."),
    ] = 0.3,
    crf: Annotated[
        int, typer.Option(metavar="N", help="Quality of the video, 0 (best) to 51.")
    ] = 18,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", help="Processes.", show_default="one per core, four at most"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although the disk seems too small.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be made; write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Make scenes of a procedural drive: video, simulated events, ground truth, answers.

    No event camera is needed; the same call gives the same bytes, and goes on where a killed or
    interrupted one stood. More drives, longer drives and the other split can be added later.
    Clips that fail are listed, the others are finished, and the exit code is 1.

    Example: crossdraft scenes synth --drives 20 --out world
    """
    from crossdraft.base.device import usable_cores
    from crossdraft.base.errors import InputError
    from crossdraft.cli.progress import progress_bar
    from crossdraft.scenes.synth import pending, plan_synth, run_synth
    from crossdraft.scenes.synth_settings import SynthSettings, with_threshold

    if workers is not None and workers < 1:
        raise InputError(f"{workers}", where="--workers", expected="one or more")
    count = workers or min(4, usable_cores())
    try:
        simulator = with_threshold(threshold)
    except InputError as error:
        raise InputError(error.found, where="--threshold", expected=error.expected) from None
    settings = SynthSettings(seed, size, events_fps, crf, simulator)
    plan = plan_synth(out, settings, drives=drives, clips_per_drive=clips_per_drive, split=split)
    config = {
        "out": str(out), "drives": drives, "clips_per_drive": clips_per_drive, "split": split,
        "workers": count, "dry_run": dry_run, **settings.to_json(),
    }  # fmt: skip
    with resumable(), progress_bar() as progress:
        todo = pending(plan)
        if dry_run:
            _show_plan(plan, todo, count, config if as_json else None)
            return
        print(_estimate(plan, todo, count), file=sys.stderr)
        report = run_synth(plan, workers=count, force=force, progress=progress)
    if as_json:
        _print_json(report.to_json(), config)
    else:
        _show(report)
    if report.failed:
        raise typer.Exit(1)


def _estimate(plan: SynthPlan, todo: Sequence[SynthClip], workers: int) -> str:
    """One line on what will be done, before it is."""
    from crossdraft.base.device import usable_cores
    from crossdraft.scenes.synth_estimate import clip_bytes, clip_s

    needed = len(todo) * clip_bytes(plan.settings)
    busy = max(1, min(workers, len(todo), usable_cores()))
    time = f" and {_minutes(len(todo) * clip_s(plan.settings) / busy)}"
    return estimate(len(todo), len(plan.clips), "make", needed, plan.folder, time)


def _minutes(seconds: float) -> str:
    if seconds < 60:
        return f"{round(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _print_json(payload: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    from crossdraft.base.result import Result
    from crossdraft.scenes.scene import SIMULATED

    result = Result("scenes synth", payload, config, warnings=[SIMULATED])
    print_json(result.to_json())


def _show_plan(
    plan: SynthPlan, todo: Sequence[SynthClip], workers: int, config: Mapping[str, Any] | None
) -> None:
    """What would be made, and what it would show; as JSON where the configuration is given."""
    from crossdraft.scenes.synth_estimate import clip_bytes

    shown = dict(_counts(plan))
    if config is not None:
        payload = {
            "clips": len(plan.clips),
            "to_make": len(todo),
            "bytes": len(todo) * clip_bytes(plan.settings),
            "shown": shown,
        }
        _print_json(payload, config)
        return
    for attribute, counts in shown.items():
        listed = ", ".join(f"{value} {count:,}" for value, count in counts.items())
        print(f"{attribute:<10}{listed}")
    print(_estimate(plan, todo, workers))


def _counts(plan: SynthPlan) -> Iterator[tuple[str, dict[str, int]]]:
    """In how many clips each value of an attribute is the truth, the most frequent first."""
    truths = [clip.world.event_visible() | clip.world.camera_only() for clip in plan.clips]
    for attribute in _COUNTED:
        found = Counter(truth[attribute] for truth in truths if attribute in truth)
        yield attribute, dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _show(report: Report) -> None:
    from crossdraft.scenes.scene import SIMULATED

    show_folders(report)
    show_outcome(report)
    print(f"warning: {SIMULATED}")
