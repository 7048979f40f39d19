"""`crossdraft scenes dsec`."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from crossdraft.cli.json_out import print_json
from crossdraft.cli.making import estimate, resumable, show_folders, show_outcome

if TYPE_CHECKING:
    from crossdraft.scenes.cut import CutReport
    from crossdraft.scenes.cut_clip import Clip
    from crossdraft.scenes.cut_plan import CutPlan, DatasetPlan


def dsec(
    root: Annotated[
        Path,
        typer.Argument(
            metavar="ROOT",
            help="Folder of DSEC: ROOT/<split>/<sequence>, ROOT/<sequence>, or the unpacked "
            "archives ROOT/<split>_events and ROOT/<split>_images.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the datasets, one per duration.")],
    split: Annotated[Literal["train", "test"], typer.Option(help="Official split.")],
    durations: Annotated[
        str, typer.Option(help="Lengths of the clips, multiples of 50ms.")
    ] = "500ms,1s,2s,4s",
    overlap: Annotated[
        float, typer.Option(help="Share of a clip that the next one repeats, 0 or more, below 1.")
    ] = 0.5,
    side: Annotated[Literal["left", "right"], typer.Option(help="Pair of cameras.")] = "left",
    sequences: Annotated[
        str | None, typer.Option(help="Names, separated by commas.", show_default="all there are")
    ] = None,
    max_clips: Annotated[
        int | None,
        typer.Option(
            help="Only the first clips of each sequence and duration.", show_default="all"
        ),
    ] = None,
    layout: Annotated[
        Literal["crossdraft", "seed"],
        typer.Option(help="Own folders, or those of the seed study."),
    ] = "crossdraft",
    events: Annotated[bool, typer.Option(help="Write each clip's events.")] = True,
    video: Annotated[bool, typer.Option(help="Write each clip's video.")] = True,
    frames: Annotated[bool, typer.Option(help="Draw each clip's event frames.")] = True,
    num_frames: Annotated[int, typer.Option(help="Event frames per clip.")] = 5,
    preset: Annotated[
        str | None,
        typer.Option(
            help="How event frames are drawn: default, official, training or seed.",
            show_default="default; with --layout seed: seed",
        ),
    ] = None,
    window: Annotated[
        str, typer.Option(help="Events that are drawn: all, last:50ms or spread:50ms.")
    ] = "all",
    video_size: Annotated[
        str | None,
        typer.Option(help="Resize the images, such as 720x540.", show_default="as they are"),
    ] = None,
    crf: Annotated[int, typer.Option(help="Quality of the video, 0 (best) to 51.")] = 18,
    lossless: Annotated[bool, typer.Option("--lossless", help="Video without any loss.")] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes; each holds the events of one clip in memory.",
            show_default="one per core, four at most",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on although the disk seems too small.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count clips, events and bytes; write nothing.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Cut DSEC into clips: events, event frames, video, manifest.

    A clip starts at an image and covers exactly its duration of events and its 20 images a
    second. The same call goes on where a killed or interrupted one stood; more sequences or
    clips can be added later. Clips that cannot be cut are listed, the others are finished, and
    the exit code is 1.

    Example: crossdraft scenes dsec DSEC --out clips --split train --durations 1s
    """
    from crossdraft.base.device import usable_cores
    from crossdraft.base.errors import InputError
    from crossdraft.cli.options import parse_size, render_preset
    from crossdraft.cli.progress import progress_bar
    from crossdraft.scenes.cut import pending, run_cut
    from crossdraft.scenes.cut_plan import plan_cut
    from crossdraft.scenes.cut_settings import CutSettings
    from crossdraft.scenes.units import parse_duration_us

    drawn = render_preset(preset or ("seed" if layout == "seed" else "default"))
    settings = CutSettings(
        split=split, side=side, overlap=overlap, layout=layout, events=events, video=video,
        render=replace(drawn, parts=num_frames, window=window) if frames else None,
        crf=crf, lossless=lossless,
        video_size=parse_size(video_size, "--video-size") if video_size else None,
    )  # fmt: skip
    if workers is not None and workers < 1:
        raise InputError(f"{workers}", where="--workers", expected="one or more")
    named = None if sequences is None else _list(sequences)
    if named == []:
        raise InputError(
            "no name", where="--sequences", expected="names of sequences, separated by commas"
        )
    config = {
        "root": str(root), "out": str(out), "durations": durations, "sequences": sequences,
        "max_clips": max_clips, "workers": workers, "dry_run": dry_run,
        **settings.to_json(),
    }  # fmt: skip
    with resumable(), progress_bar() as progress:
        plan = plan_cut(
            root, out, settings,
            [parse_duration_us(text, "--durations") for text in _list(durations)],
            sequences=named, max_clips=max_clips,
            progress=progress,
        )  # fmt: skip
        todo = pending(plan)
        if dry_run:
            _show_plan(plan, todo, config if as_json else None)
            return
        print(_estimate(plan, todo), file=sys.stderr)
        count = workers or min(4, usable_cores())
        report = run_cut(plan, workers=count, force=force, progress=progress)
    _show(plan, report, config if as_json else None)
    if report.failed:
        raise typer.Exit(1)


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _estimate(plan: CutPlan, todo: Sequence[Clip]) -> str:
    needed = sum(clip.size_bytes for clip in todo)
    return estimate(len(todo), len(plan.clips), "cut", needed, plan.out)


def _print_json(payload: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    from crossdraft.base.result import Result

    print_json(Result("scenes dsec", payload, config).to_json())


def _show_plan(plan: CutPlan, todo: Sequence[Clip], config: Mapping[str, Any] | None) -> None:
    """What would be cut, per duration and sequence; as JSON where the configuration is given."""
    from crossdraft.cli.table import print_table
    from crossdraft.scenes.disk import format_bytes
    from crossdraft.scenes.units import format_duration

    rows = [
        (format_duration(dataset.duration_us), *row)
        for dataset in plan.datasets
        for row in _by_drive(dataset, plan.sequences)
    ]
    if config is not None:
        keys = ("duration", "sequence", "clips", "skipped", "events", "bytes")
        payload = {
            "sequences": [dict(zip(keys, row, strict=True)) for row in rows],
            "clips": len(plan.clips),
            "to_cut": len(todo),
            "bytes": sum(clip.size_bytes for clip in plan.clips),
            **_notes(plan),
        }
        _print_json(payload, config)
        return
    print_table(
        ["duration", "sequence", "clips", "skipped", "events", "size"],
        [
            [duration, drive, f"{clips:,}", f"{skipped:,}", f"{events:,}",
             format_bytes(size)]
            for duration, drive, clips, skipped, events, size in rows
        ],
    )  # fmt: skip
    print(_estimate(plan, todo))
    _print_notes(plan)


def _by_drive(
    dataset: DatasetPlan, sequences: Sequence[str]
) -> Iterator[tuple[str, int, int, int, int]]:
    """Sequence, clips, skipped windows, events and bytes, also where a sequence is too short."""
    skipped = Counter(window.drive for window in dataset.skipped)
    clips: dict[str, list[Clip]] = {drive: [] for drive in sequences}
    for clip in dataset.clips:
        clips[clip.drive].append(clip)
    for drive, own in sorted(clips.items()):
        events, size = sum(clip.events for clip in own), sum(clip.size_bytes for clip in own)
        yield drive, len(own), skipped[drive], events, size


def _notes(plan: CutPlan) -> dict[str, Any]:
    """What is not there and what cannot be cut, as JSON."""
    skipped = [
        {"dataset": dataset.folder.name, "sequence": s.drive, "clip": s.number, "reason": s.reason}
        for dataset in plan.datasets
        for s in dataset.skipped
    ]
    return {"skipped": skipped, "absent": list(plan.absent)}


def _print_notes(plan: CutPlan) -> None:
    for dataset in plan.datasets:
        reasons: dict[tuple[str, str], list[int]] = {}
        for window in dataset.skipped:
            reasons.setdefault((window.drive, window.reason), []).append(window.number)
        for (drive, reason), numbers in reasons.items():
            clips = ", ".join(f"{number:06d}" for number in numbers[:5])
            more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
            print(f"skipped {dataset.folder.name}/{drive} {clips}{more}: {reason}")
    if plan.absent:
        print(f"absent, {len(plan.absent)} of the official list: {_families(plan.absent)}")


def _families(names: Sequence[str]) -> str:
    """`thun_00_a, zurich_city_00_{a,b}`: sequences that share all but the last letter."""
    letters: dict[str, list[str]] = {}
    for name in names:
        family, _, letter = name.rpartition("_")
        letters.setdefault(family, []).append(letter)
    return ", ".join(
        f"{family}_{found[0]}" if len(found) == 1 else f"{family}_{{{','.join(found)}}}"
        for family, found in letters.items()
    )


def _show(plan: CutPlan, report: CutReport, config: Mapping[str, Any] | None) -> None:
    if config is not None:
        _print_json({**report.to_json(), **_notes(plan)}, config)
        return
    show_folders(report)
    _print_notes(plan)
    show_outcome(report)
