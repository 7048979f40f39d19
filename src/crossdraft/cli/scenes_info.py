"""`crossdraft scenes info`: what a dataset holds, and a contact sheet to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import Sensor, parse_size

if TYPE_CHECKING:
    from crossdraft.scenes.dataset import SceneDataset

#: Missing and damaged parts listed on the terminal; --json lists all.
_SHOWN = 20


def info(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Dataset folder (crossdraft's or the seed study's), folder of event files and "
            "videos, one event file, or one video.",
            show_default=False,
        ),
    ],
    sheet: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.png",
            help="Contact sheet: video frames above, event frames below.",
            show_default="<name of PATH>_contact_sheet.png in the current folder",
        ),
    ] = None,
    no_sheet: Annotated[bool, typer.Option("--no-sheet", help="Draw no contact sheet.")] = False,
    scenes: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, max=24, help="Scenes on the sheet, spread over the dataset."
        ),
    ] = 6,
    drive: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only the scenes of this drive.", show_default="all"),
    ] = None,
    every: Annotated[
        bool,
        typer.Option("--all", help="Read every scene instead of a sample of twelve."),
    ] = False,
    sensor: Sensor = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Say what a dataset holds: rates, durations, sizes, missing and damaged parts.

    Every scene is counted and its files looked for; a sample is opened and read, spread over the
    dataset. Exit code 1 if a part is missing or damaged.

    Example: crossdraft scenes info my_dataset --all
    """
    from crossdraft.base.result import Result
    from crossdraft.cli.progress import progress_bar
    from crossdraft.scenes.dataset import SceneDataset
    from crossdraft.scenes.info import inspect
    from crossdraft.scenes.scene import warnings_about

    if sheet is not None and no_sheet:
        raise InputError("both --sheet and --no-sheet", expected="one of them")
    dataset = SceneDataset.open(path)
    if sensor is not None:
        dataset = dataset.with_sensor(parse_size(sensor, "--sensor"))
    if drive is not None:
        dataset = dataset.of_drives([drive])
    target = None if no_sheet else sheet or Path(f"{path.resolve().stem}_contact_sheet.png")
    if target is not None:
        _check_target(target)
    with progress_bar() as sink:
        facts = inspect(dataset, every=every, sink=sink)
    if target is not None:
        _draw_sheet(dataset, facts, drive or path.resolve().name, scenes, target)
    if as_json:
        payload = {**facts, "sheet": str(target) if target else None}
        config = {"path": str(path), "drive": drive, "all": every, "scenes": scenes}
        warned = warnings_about(*dataset)
        print_json(Result("scenes info", payload, config, warnings=warned).to_json())
    else:
        for line in _lines(facts):
            print(line)
        if target is not None:
            print(f"contact sheet: {target}")
    if facts["missing"] or facts["damaged"]:
        raise typer.Exit(1)


def _check_target(target: Path) -> None:
    """Before anything is read: the facts must not be lost for want of a place for the sheet."""
    place = target.parent
    fits = target.suffix.lower() == ".png" and not target.is_dir()
    if not fits or not place.is_dir() or not os.access(place, os.W_OK):
        raise InputError(
            "cannot draw a contact sheet here",
            where=target,
            expected="a name that ends in .png, in a folder that exists and can be written",
            hint="name another with --sheet FILE.png, or --no-sheet",
        )


def _draw_sheet(
    dataset: SceneDataset, facts: Mapping[str, Any], name: str, scenes: int, target: Path
) -> None:
    from crossdraft.report.contact_sheet import write_contact_sheet
    from crossdraft.scenes.info import sampled
    from crossdraft.scenes.preview import preview

    chosen = sampled(dataset, scenes)
    shown = "" if len(chosen) == len(dataset) else f", {len(chosen)} of them here"
    colours = " (events: red brighter, blue darker)" if facts["events"]["scenes"] else ""
    title = f"{name}: {_scenes(len(dataset))}{shown}{colours}"
    write_contact_sheet([preview(scene) for scene in chosen], title, target)


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    """The report, one statement per line under a label."""
    for label, text in (*_general(facts), *_of_events(facts), *_of_video(facts), *_rest(facts)):
        yield f"{label:<14}{text}"
    for kind in ("missing", "damaged"):
        parts = facts[kind]
        for part in parts[:_SHOWN]:
            error = f": {part['error']}" if kind == "damaged" else ""
            yield f"{kind:<14}{part['scene']}: {part['part']}{error}"
        if len(parts) > _SHOWN:
            yield f"{'':<14}… and {len(parts) - _SHOWN:,} more {kind}: --json lists all"
    read, total = facts["scenes_read"], facts["scenes"]
    if read < total:
        yield f"read {read:,} of {total:,} scenes, spread over the dataset; --all reads every one"
    if not facts["missing"] and not facts["damaged"]:
        yield "nothing is missing" + (
            " or damaged" if read == total else ", nothing that was read is damaged"
        )


def _general(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    drives = facts["drives"]
    yield "dataset", f"{facts['path']} ({_LAYOUTS[facts['layout']]})"
    named = ", ".join(f"{name} {n:,}" for name, n in list(drives.items())[:4])
    more = f", … {len(drives) - 4:,} more" if len(drives) > 4 else ""
    yield "scenes", f"{facts['scenes']:,} of {_plural(len(drives), 'drive')}: {named}{more}"
    splits = {name: n for name, n in facts["splits"].items() if name != "none"}
    if splits:
        yield "splits", ", ".join(f"{name} {n:,}" for name, n in splits.items())
    if facts["simulated"]:
        yield (
            "simulated",
            f"events of {_scenes(facts['simulated'])} were computed, no sensor saw them",
        )
    if facts["duration_s"]:
        yield "duration", f"{_spread(facts['duration_s'], ' s', '.4g')}"


_LAYOUTS = {
    "crossdraft": "crossdraft's layout",
    "seed": "the seed study's layout",
    "flat": "folder of files",
    "file": "one file",
}


def _of_events(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    events = facts["events"]
    if not events["scenes"]:
        yield "events", "none"
        return
    counted = events["scenes_counted"]
    known = "" if counted == events["scenes"] else f" in {_scenes(counted)} that were counted"
    yield "events", f"{events['total']:,} in all{known}"
    if events["per_second"]:
        rates = {name: rate / 1e6 for name, rate in events["per_second"].items()}
        yield "", _spread(rates, " million a second", ".3g")
    if events["positive_share"]:
        shares = {
            "brighter": events["positive_share"],
            "pixels touched in 50 ms": events["touched_50ms"],
            "pixels touched in a fifth of the events": events["touched_part"],
        }
        for label, share in shares.items():
            if share:
                yield "", f"{label}: {_spread(_percent(share), ' %', '.3g')}"
    if events["sensors"]:
        yield "sensor", _sizes(events["sensors"])


def _of_video(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    video = facts["video"]
    if not video["scenes"]:
        yield "video", "none"
        return
    sizes = f", {_sizes(video['sizes'])}" if video["sizes"] else ""
    yield "video", f"of {_scenes(video['scenes'])}{sizes}"
    if video["frames"]:
        frames, rate = _spread(video["frames"], " frames", ".4g"), video["fps"]
        yield "", f"{frames} at {_spread(rate, ' a second', '.4g')}"


def _rest(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for place, (name, drawn) in enumerate(facts["frame_sets"].items()):
        sizes = ", ".join(f"{size} in {_scenes(n)}" for size, n in drawn["per_scene"].items())
        yield "event frames" if place == 0 else "", f"{name}: {drawn['frames']:,} ({sizes})"
    sizes = ", ".join(f"{part} {_bytes(size)}" for part, size in facts["disk_bytes"].items())
    yield "on disk", sizes or "nothing"
    yield "fingerprint", facts["fingerprint"][:16]


def _spread(values: Mapping[str, float], unit: str, digits: str) -> str:
    """`1 s`, or `1.2 s (0.5 to 4)` where scenes differ."""
    mean, low, high = (format(values[name], digits) for name in ("mean", "min", "max"))
    return f"{mean}{unit}" + ("" if low == high else f" ({low} to {high})")


def _percent(share: Mapping[str, float]) -> dict[str, float]:
    return {name: 100 * value for name, value in share.items()}


def _sizes(sizes: Mapping[str, int]) -> str:
    return (
        ", ".join(sizes) if len(sizes) == 1 else ", ".join(f"{n} of {s}" for s, n in sizes.items())
    )


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _scenes(n: int) -> str:
    return _plural(n, "scene")


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1000
    return f"{size:,.1f} GB" if size < 1000 else f"{size / 1000:,.2f} TB"
