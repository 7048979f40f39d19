"""A look at a scene: a few moments of it, as the video camera and the event camera saw them.

The columns are stretches of time, the same for both cameras: equal parts of a short clip, and
windows of 50 ms spread over a longer one, because longer stretches of events hide each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.recording import recording, stretches
from crossdraft.scenes.render import RenderSettings, render_frames
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.video import probe, read_at

Pixels = npt.NDArray[np.uint8]

#: Moments of a scene that are shown.
COLUMNS = 5
WINDOW_US = 50_000


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of a scene and when it was seen, such as `0.40 s` or `400–450 ms`."""

    pixels: Pixels
    label: str


@dataclass(eq=False)
class Preview:
    """What there is to see of a scene.

    Attributes:
        facts: short statements for the title: duration, rates, sizes.
        video, events: one picture per moment, in time order; empty where there are none. None is a
            moment at which the picture before is still on screen.
        notes: what is missing or could not be read.
    """

    id: str
    facts: list[str] = field(default_factory=list)
    video: list[Picture | None] = field(default_factory=list)
    events: list[Picture | None] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def preview(scene: Scene, columns: int = COLUMNS) -> Preview:
    """Look at a scene; what cannot be read becomes a note."""
    view = Preview(scene.id, _own_name(scene))
    if scene.simulated:
        view.facts.append("SIMULATED events")
    moments: list[tuple[int, int]] = []
    if scene.events_file is not None:
        try:
            moments = _look_at_events(scene, view, columns)
        except InputError as error:
            view.notes.append(f"events: {error.found}")
    if not view.events and scene.frame_sets:
        try:
            _look_at_frames(scene, view, columns)
        except InputError as error:
            view.notes.append(f"event frames: {error.found}")
    if scene.video_file is not None:
        try:
            _look_at_video(scene, view, moments, columns)
        except InputError as error:
            view.notes.append(f"video: {error.found}")
    return view


def _own_name(scene: Scene) -> list[str]:
    """The name of a file that is called otherwise than its clip."""
    name = PurePosixPath(scene.events_file or scene.video_file or "")
    usual = ("", f"{scene.clip:06d}", f"{scene.drive}_{scene.clip:06d}")
    return [] if name.stem in usual else [name.name]


def _look_at_events(scene: Scene, view: Preview, columns: int) -> list[tuple[int, int]]:
    """Draw the events; returns the stretches drawn, from the scene's start."""
    with recording(scene) as events:
        start, end = events.span_us
        spans = stretches(events.span_us, columns if end > start else 1, WINDOW_US)
        plural = "" if events.count == 1 else "s"
        view.facts += [_duration(end - start), f"{_count(events.count)} event{plural}"]
        if end > start:
            view.facts.append(f"{_count(events.count * 1e6 / (end - start))} events/s")
        moments = [(first - start, last - start) for first, last in spans]
        for span, moment in zip(spans, moments, strict=True):
            label = f"{_ms(moment[0])}–{_ms(moment[1])} ms"
            view.events.append(Picture(_draw(events.between(*span)), label))
    return moments


def _draw(stream: EventStream) -> Pixels:
    return render_frames(stream, RenderSettings(parts=1))[0]


def _look_at_frames(scene: Scene, view: Preview, columns: int) -> None:
    """Frames drawn before, where there are no events to draw them from."""
    name = "event_image" if "event_image" in scene.frame_sets else next(iter(scene.frame_sets))
    frames = scene.drawn_frames(name)
    for place in np.unique(np.linspace(0, len(frames) - 1, columns).round().astype(int)).tolist():
        view.events.append(Picture(frames[place], f"{name} {place}"))
    view.facts.append(f"{len(frames)} drawn frames")


def _look_at_video(
    scene: Scene, view: Preview, moments: list[tuple[int, int]], columns: int
) -> None:
    """The frames on screen when the stretches of events begin; without events, spread evenly."""
    path = scene.video_path
    assert path is not None
    info = probe(path)
    if not moments:
        moments = [(info.duration_us * i // columns, 0) for i in range(columns)]
        view.facts.append(_duration(info.duration_us))
    frames = f"{info.frames:,} frame{'s' if info.frames > 1 else ''}"
    view.facts.append(f"video {info.width}x{info.height}, {frames}, {info.fps:.4g}/s")
    video = read_at(path, [min(start, info.duration_us) for start, _ in moments])
    before = None
    for pixels, time, number in zip(video.frames, video.times_us, video.indices, strict=True):
        new = Picture(pixels, f"{_ms(int(time))} ms · frame {number}") if number != before else None
        view.video.append(new)
        before = number


def _duration(us: int) -> str:
    return f"{us / 1e6:.3g} s" if us >= 1_000_000 else f"{_ms(us)} ms"


def _ms(us: int) -> str:
    """Milliseconds to a tenth, without a trailing zero."""
    return f"{us / 1000:,.1f}".removesuffix(".0")


def _count(value: float) -> str:
    """1234567 -> `1.23 M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"
