"""Draw the event frames of many clips in worker processes: whatever is done is skipped, whatever
fails is listed, and a killed run goes on where it was.

A set of frames is one folder. It notes the settings it was drawn with (`render.json`), written
before the first frame; other settings never mix into it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.files import sweep
from crossdraft.base.lock import locked
from crossdraft.base.progress import Progress, ProgressSink, silent
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.frame_files import frame_path, write_frame
from crossdraft.scenes.frame_note import NOTE, check_note, note_settings
from crossdraft.scenes.readers import event_format, read_events
from crossdraft.scenes.render import RenderSettings, render_frames
from crossdraft.scenes.windows import Window, clip_span, drawn_spans
from crossdraft.scenes.workers import Failure, run_jobs

if TYPE_CHECKING:
    from crossdraft.scenes.event_file import EventFile


@dataclass(frozen=True)
class RenderJob:
    """One clip to draw.

    Attributes:
        name: how messages call it.
        events: its event file.
        folder, stem: frames are written to `<folder>/<stem>_<i>.png`.
        window_us: start and end on the file's clock; None: the whole file.
        sensor: width and height in pixels; None: as the file says.
    """

    name: str
    events: Path
    folder: Path
    stem: str
    window_us: tuple[int, int] | None = None
    sensor: tuple[int, int] | None = None

    def outputs(self, count: int) -> list[Path]:
        """Where its frames lie."""
        return [frame_path(self.folder, self.stem, i) for i in range(count)]


@dataclass
class RenderReport:
    """What a run did.

    Attributes:
        drawn: clips drawn now.
        skipped: clips that were there already.
        frames: frames written now.
        failed: clip and reason, in the order of the clips.
        without_events: scenes that have no event stream to draw.
        seconds: wall-clock time.
    """

    drawn: int = 0
    skipped: int = 0
    frames: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    without_events: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        failed = [{"clip": name, "reason": reason} for name, reason in self.failed]
        return {**self.__dict__, "failed": failed}


def set_name(settings: RenderSettings) -> str:
    """The folder's name as the seed study chose it: `event_image_<N>Hz`, `event_image_1f` for the
    whole clip in one frame, else `event_image`; `event_image_first` for the first part alone."""
    if settings.hz is not None:
        base = f"event_image_{settings.hz}Hz"
    else:
        base = "event_image_1f" if settings.parts == 1 else "event_image"
    return f"{base}_first" if settings.keep == "first" and settings.parts > 1 else base


def dataset_jobs(
    dataset: SceneDataset, folder: Path, sensor: tuple[int, int] | None = None
) -> list[RenderJob]:
    """One job per scene with events, `<drive>/<clip>_<i>.png` below `folder`; scenes of a flat
    folder or a single file go to `<event file>_<i>.png` in it.

    Args:
        sensor: overrides what the dataset says.
    """
    jobs = []
    for scene in dataset:
        if scene.events_path is None:
            continue
        named = dataset.layout in ("flat", "file")
        place = folder if named else folder / scene.drive
        stem = scene.events_path.stem if named else f"{scene.clip:06d}"
        name = scene.events_path.name if named else scene.id
        size = sensor or scene.sensor
        jobs.append(RenderJob(name, scene.events_path, place, stem, scene.window_us, size))
    return jobs


def render_jobs(
    jobs: Sequence[RenderJob],
    folder: Path,
    settings: RenderSettings,
    *,
    sensor: tuple[int, int] | None = None,
    workers: int = 1,
    sink: ProgressSink = silent,
) -> RenderReport:
    """Draw the clips of one set of frames.

    Args:
        folder: the set's folder; it is locked, and notes the settings.
        sensor: sensor size the caller insists on; noted with the settings.
        workers: processes, 1 draws in this one. Each holds the events and frames of one clip.

    Raises:
        InputError: the folder holds frames drawn with other settings, cannot be written, or the
            disk is full. A clip that cannot be drawn is listed in the report instead.
    """
    began_ms = now_ms()
    report = RenderReport()
    with locked(folder):
        _claim(folder, settings, sensor)
        sweep(folder)
        written: dict[int, int | Failure] = {}
        sink(Progress("render", 0, len(jobs)))
        outcomes = run_jobs(partial(draw_clip, settings=settings), jobs, workers)
        # Closed before the lock is given up: whatever ends this loop ends the workers.
        with contextlib.closing(outcomes):
            for place, outcome in outcomes:
                written[place] = outcome
                sink(Progress("render", len(written), len(jobs)))
    for place, job in enumerate(jobs):
        outcome = written[place]
        if isinstance(outcome, Failure):
            report.failed.append((job.name, outcome.reason))
        else:
            report.drawn += outcome > 0
            report.skipped += outcome == 0
            report.frames += outcome
    report.seconds = round((now_ms() - began_ms) / 1e3, 3)
    return report


def _claim(folder: Path, settings: RenderSettings, sensor: tuple[int, int] | None) -> None:
    """Make the folder this set's own, or refuse what it holds."""
    if check_note(folder, settings, sensor):
        return
    if any(folder.glob("*.png")) or any(folder.glob("*/*.png")):
        raise InputError(
            "holds frames without a note of how they were drawn",
            where=folder,
            expected=f"an empty folder, or one with {NOTE}",
            hint="name another set with --name, such as event_image_new",
        )
    note_settings(folder, settings, sensor)


def draw_clip(job: RenderJob, settings: RenderSettings) -> int:
    """Draw one clip unless all its frames are there.

    Returns:
        Frames written, 0 if none was missing.

    Raises:
        InputError: the events are missing or damaged.
    """
    known = settings.hz is None or settings.keep == "first"
    if job.window_us is not None or known:
        start_us, end_us = job.window_us or (0, 0)
        if all(path.exists() for path in job.outputs(settings.frames(end_us - start_us))):
            return 0
    events, span_us, settings = _read(job, settings)
    paths = job.outputs(settings.frames(0))
    if all(path.exists() for path in paths):
        return 0
    _make_folder(job.folder)
    for frame, path in zip(render_frames(events, settings, span_us=span_us), paths, strict=True):
        write_frame(frame, path)
    return len(paths)


def _read(
    job: RenderJob, settings: RenderSettings
) -> tuple[EventStream, tuple[int, int] | None, RenderSettings]:
    """Events to draw, the clip's bounds, and the settings with their number of frames.

    Of a long recording in HDF5, of which only windows are drawn, no more than these is read.
    """
    window = Window.parse(settings.window)
    if job.window_us is None and window.length_us and event_format(job.events) == "hdf5":
        from crossdraft.scenes.event_file import EventFile

        with EventFile(job.events, job.sensor) as file:
            span_us = file.start_us, file.end_us
            settings = settings.settled(span_us[1] - span_us[0], known=False)
            return (
                _read_spans(file, drawn_spans(settings.parts, window, span_us)),
                span_us,
                settings,
            )
    events = read_events(job.events, sensor=job.sensor, window_us=job.window_us)
    start_us, end_us = job.window_us or clip_span(events)
    known = job.window_us is not None
    return events, job.window_us, settings.settled(end_us - start_us, known=known)


def _read_spans(file: EventFile, spans: list[tuple[int, int]]) -> EventStream:
    """Events of several stretches, ends included, each event once."""
    merged: list[tuple[int, int]] = []
    for start_us, end_us in sorted(spans):
        if merged and start_us <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end_us))
        else:
            merged.append((start_us, end_us))
    return EventStream.joined([file.window(start_us, end_us + 1) for start_us, end_us in merged])


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make this folder ({error.strerror})", where=folder) from error
