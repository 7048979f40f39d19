"""The event frames that a prompt shows: of a scene, an event file or a stream, with their times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.base.clock import stage
from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.render import Frame, RenderSettings, render_frames
from crossdraft.scenes.windows import Window, frame_ranges

#: What events are read from.
EXPECTED = "a Scene, the path of an event file, an EventStream, or event frames"


@dataclass(frozen=True, eq=False)
class EventFrames:
    """Frames drawn of one clip.

    Attributes:
        frames: uint8 [height, width, 3] each, RGB; of one size unless their canvas is `tight`.
        spans_us: int64 [n, 2] times of the first and the last event of each frame on the
            recording's clock; -1 where a frame has no event.
        events: int64 [n] events of each frame.
        sensor: width and height in pixels.
    """

    frames: tuple[Frame, ...]
    spans_us: npt.NDArray[np.int64]
    events: npt.NDArray[np.int64]
    sensor: tuple[int, int]

    @property
    def touched(self) -> npt.NDArray[np.float64]:
        """[n] share of the sensor's pixels that have an event."""
        # White has a green channel, neither of the two polarities does.
        pixels = [np.count_nonzero(frame[..., 1] == 0) for frame in self.frames]
        return np.array(pixels, np.float64) / (self.sensor[0] * self.sensor[1])


def is_event_source(scene: Any) -> bool:
    """Whether `draw` takes it."""
    return isinstance(scene, EventStream | Path | str) or callable(getattr(scene, "events", None))


def draw(scene: Any, settings: RenderSettings) -> EventFrames:
    """Read a scene's events and draw them.

    Args:
        scene: a `Scene`, anything else with `events()`, an `EventStream`, or an event file's path.

    Raises:
        InputError: none of these, no events, or a file that is missing or damaged.
    """
    with stage("sensor"):
        stream, span_us = _events(scene)
    with stage("render"):
        frames = tuple(render_frames(stream, settings, span_us=span_us))
    window = Window.parse(settings.window)
    ranges = frame_ranges(stream, settings.parts, by=settings.by, window=window, span_us=span_us)
    ranges = ranges[: len(frames)]
    spans_us = [
        (stream.t[start], stream.t[stop - 1]) if start < stop else (-1, -1)
        for start, stop in ranges.tolist()
    ]
    return EventFrames(
        frames, np.array(spans_us, np.int64), ranges[:, 1] - ranges[:, 0], stream.sensor
    )


def _events(scene: Any) -> tuple[EventStream, tuple[int, int] | None]:
    """The stream, and the clip's bounds where the scene knows them."""
    if isinstance(scene, EventStream):
        return scene, None
    if not is_event_source(scene):
        raise InputError(f"a scene of type {type(scene).__name__}", expected=EXPECTED)
    try:
        if isinstance(scene, Path | str):
            from crossdraft.scenes.readers import read_events

            return read_events(Path(scene)), None
        return scene.events(), getattr(scene, "window_us", None)
    except ModuleNotFoundError as error:
        raise InputError(
            f"events cannot be read here ({error})",
            where=scene if isinstance(scene, Path | str) else None,
            expected="the package that reads this format",
            hint="install it, or give an EventStream or the drawn frames",
        ) from error
