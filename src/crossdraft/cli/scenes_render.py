"""`crossdraft scenes render`: event frames of a dataset, a folder of event files, or one file."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crossdraft.base.device import usable_cores
from crossdraft.base.errors import InputError
from crossdraft.cli.json_out import print_json
from crossdraft.cli.options import Sensor, parse_size, render_preset

if TYPE_CHECKING:
    from crossdraft.scenes.dataset import SceneDataset
    from crossdraft.scenes.render import RenderSettings
    from crossdraft.scenes.render_dataset import RenderReport

#: Failures listed on the terminal; --json lists all.
_SHOWN = 20


def render(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="Dataset folder (crossdraft's or the seed study's), folder of event files, or "
            "one event file.",
            show_default=False,
        ),
    ],
    num_frames: Annotated[
        int | None, typer.Option(metavar="N", help="Frames per clip.", show_default="5")
    ] = None,
    hz: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Frames per second of the clip instead, at least one per clip."
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            help="default (sensor, last) | official (tight, last) | training (sensor, positive) | "
            "seed (tight, negative): canvas and overlap in one word."
        ),
    ] = "default",
    by: Annotated[
        str | None,
        typer.Option(
            help="Cut the clip by event count or into equal time: count | time.",
            show_default="count",
        ),
    ] = None,
    canvas: Annotated[
        str | None,
        typer.Option(
            help="sensor: frames of the sensor's size | tight: as small as the part's events "
            "allow.",
            show_default="the preset's",
        ),
    ] = None,
    overlap: Annotated[
        str | None,
        typer.Option(
            help="Which event colours a pixel with both polarities: last | positive | negative.",
            show_default="the preset's",
        ),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(
            help="all | last:50ms, the clip's end | spread:50ms, one such window per frame.",
            show_default="all",
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="all | first: draw only the first of the frames.", show_default="all"),
    ] = None,
    sensor: Sensor = None,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name of the set of frames.",
            show_default="event_image, event_image_1f, event_image_<N>Hz",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Processes.", show_default="one per core"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the frames; needed where PATH is no dataset.",
            show_default="the dataset's",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")
    ] = False,
) -> None:
    """Draw event frames: events blue and red on white, as EventGPT expects them.

    A dataset gets <set>/<drive>/<clip>_<i>.png beside its other parts and finds them again;
    event files become <out>/<file>_<i>.png. Frames that are there are kept, so a run that was
    stopped goes on. Exit code 1 if a clip failed; the others are drawn.

    Example: crossdraft scenes render my_dataset --window last:50ms --name event_image_50ms
    """
    from crossdraft.base.result import Result
    from crossdraft.cli.progress import progress_bar
    from crossdraft.scenes.dataset import SceneDataset
    from crossdraft.scenes.render_dataset import dataset_jobs, render_jobs
    from crossdraft.scenes.scene import warnings_about

    settings = _settings(num_frames, hz, preset, by, canvas, overlap, window, keep)
    size = parse_size(sensor, "--sensor") if sensor is not None else None
    dataset = SceneDataset.open(path)
    folder = _folder(dataset, settings, name, out)
    jobs = dataset_jobs(dataset, folder, size)
    if not jobs:
        raise InputError("no scene has events to draw", where=path)
    new = not folder.exists()
    processes = workers or usable_cores()
    with progress_bar() as sink:
        report = render_jobs(jobs, folder, settings, sensor=size, workers=processes, sink=sink)
    report.without_events = len(dataset) - len(jobs)
    if dataset.layout == "file" and report.failed:
        # A single file that cannot be drawn is a wrong call: nothing stays of it.
        if new:
            shutil.rmtree(folder)
        raise InputError(report.failed[0][1])
    warned = warnings_about(*dataset)
    if as_json:
        simulated = sum(scene.simulated for scene in dataset)
        payload = {
            "frames_folder": str(folder), "clips": len(dataset), "simulated": simulated,
            **report.to_json(),
        }  # fmt: skip
        config = {"path": str(path), "sensor": sensor, "workers": processes, **settings.to_json()}
        print_json(Result("scenes render", payload, config, warnings=warned).to_json())
    else:
        _show(report, folder)
        for text in warned:
            print(f"warning: {text}")
    if report.failed:
        raise typer.Exit(1)


def _settings(
    num_frames: int | None,
    hz: int | None,
    preset: str,
    by: str | None,
    canvas: str | None,
    overlap: str | None,
    window: str | None,
    keep: str | None,
) -> RenderSettings:
    """The preset with whatever was asked for on top."""
    if num_frames is not None and hz is not None:
        raise InputError(
            "both --num-frames and --hz", expected="one of them: each says how many frames to draw"
        )
    asked = {
        "parts": num_frames, "hz": hz, "by": by, "canvas": canvas, "overlap": overlap,
        "window": window, "keep": keep,
    }  # fmt: skip
    chosen = {field: value for field, value in asked.items() if value is not None}
    return replace(render_preset(preset), **chosen)  # type: ignore[arg-type]


def _folder(
    dataset: SceneDataset, settings: RenderSettings, name: str | None, out: Path | None
) -> Path:
    """Where the set of frames goes."""
    from crossdraft.scenes.render_dataset import set_name

    if name is not None and (name in ("", ".", "..") or "\0" in name or Path(name).name != name):
        raise InputError(f"{name!r}", where="--name", expected="a plain folder name")
    if dataset.layout in ("flat", "file"):
        if out is None:
            raise InputError(
                "no folder for the frames", where="--out", hint="name one, such as --out frames"
            )
        return out / name if name else out
    if name is not None and not name.startswith("event_image"):
        raise InputError(
            f"{name!r}",
            where="--name",
            expected="a name that starts with event_image: a dataset finds its frames by it",
        )
    return (out or dataset.folder) / (name or set_name(settings))


def _show(report: RenderReport, folder: Path) -> None:
    parts = [f"{report.drawn:,} clips drawn ({report.frames:,} frames)"]
    if report.skipped:
        parts.append(f"{report.skipped:,} were there already")
    if report.without_events:
        parts.append(f"{report.without_events:,} have no events")
    if report.failed:
        parts.append(f"{len(report.failed):,} failed")
    print(f"{', '.join(parts)}; {report.seconds:.1f} s")
    print(f"frames: {folder}")
    for name, reason in report.failed[:_SHOWN]:
        print(f"failed: {name}\n  " + reason.replace("\n", "\n  "))
    if len(report.failed) > _SHOWN:
        print(f"… and {len(report.failed) - _SHOWN:,} more: --json lists all")
