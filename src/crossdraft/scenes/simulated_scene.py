"""A scene whose events are computed from its video, once, when somebody asks for them.

For a video that no event camera saw. Only what a drafter will draw is simulated, so simulating
takes no more time and memory for a long video than for a short one. Finding its frames does, above
all where a file must be decoded from its beginning (AVI). What the simulator leaves out is in
docs/simulate.md.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import dropwhile, islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.simulate import (
    EventSimulator,
    Light,
    SimulatorSettings,
    TooManyEventsError,
    luminance,
)
from crossdraft.scenes.simulate_source import video_source
from crossdraft.scenes.synth_settings import THRESHOLD, with_threshold
from crossdraft.scenes.video import iterate, read_at
from crossdraft.scenes.windows import Window, drawn_spans

#: Light that is shown to the simulator before a drawn window begins, as far as the video goes
#: back: a sensor that is switched on as the window begins has every pixel at rest.
LEAD_US = 200_000
#: Frames that are simulated at most.
MOST_FRAMES = 2_000
#: Events of a scene at most, 13 bytes each.
MOST_EVENTS = 20_000_000
#: Decoded pictures that are held at a time.
_HELD_BYTES = 1 << 27

Times = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SimulatedScene(Scene):
    """A scene with computed events, as its video was when it was made.

    Time 0 is the video's first frame. The window ends with the last frame, not with the video:
    nothing is known of the light after it.

    Attributes:
        stretches_us: times of the frames that are simulated, one stretch after the other; there
            are no events outside them.
        shown: width and height of the video in pixels; `sensor` is what it is resized to.
        simulator: the event camera.
        seed: of the spread of its thresholds.
    """

    stretches_us: tuple[tuple[int, ...], ...] = ()
    shown: tuple[int, int] = (0, 0)
    simulator: SimulatorSettings = field(default_factory=lambda: with_threshold(THRESHOLD))
    seed: int = 0

    @property
    def events_path(self) -> Path | None:
        """The video: its events come from there."""
        return self.video_path

    @property
    def about_events(self) -> str:
        """What a reader of a result must know about them."""
        width, height = self.sensor or self.shown
        return (
            f"events simulated from the video: {self.video_file} as {width}x{height} pixels, "
            f"threshold {self.simulator.threshold_on:g}, not a sensor's; what holds for them may "
            "not hold for an event camera"
        )

    def parts(self) -> Iterator[tuple[str, Path]]:
        """Every file that the scene names, with what it is; the video is one file."""
        yield from (part for part in super().parts() if part[0] != "events")

    def events(self) -> EventStream:
        """Simulate the events, the first time; afterwards they are there.

        Raises:
            InputError: the video is damaged, or makes more than `MOST_EVENTS`.
        """
        return self._stream

    @cached_property
    def _stream(self) -> EventStream:
        assert self.sensor is not None
        parts, room = [EventStream.empty(self.sensor)], MOST_EVENTS
        for times_us in self.stretches_us:
            simulator = EventSimulator(self.sensor, self.simulator, self.seed)
            for light, time_us in self._lights(times_us):
                try:
                    parts.append(simulator.push(light, time_us, room))
                except TooManyEventsError as error:
                    raise self._too_many(time_us) from error
                room -= len(parts[-1])
        return EventStream.joined(parts)

    def _lights(self, times_us: tuple[int, ...]) -> Iterator[tuple[Light, int]]:
        """What the sensor sees at these times, float32 [height, width] each."""
        assert self.sensor is not None
        with closing(self._pictures(times_us)) as pictures:
            for rgb, time_us in pictures:
                light: Light = luminance(rgb)
                if self.sensor != self.shown:
                    # Linear light and weights that are nowhere negative: no light is lost.
                    smaller = Image.fromarray(light).resize(self.sensor, Image.Resampling.BILINEAR)
                    light = np.asarray(smaller)
                yield light, time_us

    def _pictures(self, times_us: tuple[int, ...]) -> Generator[tuple[Pixels, int], None, None]:
        """The frames of one stretch, no more of them held at a time than `_HELD_BYTES`."""
        assert self.video_path is not None
        width, height = self.shown
        at_once = max(1, _HELD_BYTES // (3 * width * height))
        first_us, last_us = times_us[0], times_us[-1]
        if len(times_us) > at_once and first_us <= last_us - first_us:
            # Every call of `read_at` goes through the file's packets and begins at a keyframe
            # anew; here reading all from the beginning decodes little that nobody wants.
            with closing(iterate(self.video_path)) as every:
                here = dropwhile(lambda shown: shown[1] < first_us, every)
                yield from islice(here, len(times_us))
            return
        left = iter(times_us)
        while chunk := list(islice(left, at_once)):
            yield from zip(read_at(self.video_path, chunk).frames, chunk, strict=True)

    def _too_many(self, time_us: int) -> InputError:
        width, height = self.sensor or self.shown
        return InputError(
            f"more than {MOST_EVENTS:,} simulated events up to {time_us / 1e6:.4g} s",
            where=self.video_path,
            expected="a video that fewer are made of",
            hint=f"take a smaller sensor than {width}x{height} (--sensor), or simulate it with "
            "higher thresholds (crossdraft scenes simulate)",
        )


def simulated_scene(
    scene: Scene,
    *,
    side: int,
    parts: int,
    window: str = "all",
    simulator: SimulatorSettings | None = None,
    seed: int = 0,
) -> SimulatedScene:
    """The same scene with events that are computed from its video.

    Args:
        scene: with a video. Its `sensor` is the size that is simulated, where it has one.
        side: pixels of the sensor's shorter side else, or the video's where that is shorter.
        parts, window: event frames that will be drawn, and of what; see `windows.drawn_spans`.
        simulator: the event camera; by default that of the procedural drive.
        seed: as for `EventSimulator`.

    Raises:
        InputError: no video, or it is missing, damaged or of a single frame; a sensor larger than
            the video; more than `MOST_FRAMES` would have to be simulated; no such window.
    """
    path = scene.video_path
    if path is None:
        raise InputError(
            "the scene has no video", where=scene.id, expected="a scene to simulate events of"
        )
    source = video_source(path)
    _refuse_large(scene.sensor, source.shown)
    end_us = int(source.info.times_us[-1])
    spans = drawn_spans(parts, Window.parse(window), (0, end_us))
    stretches = _stretches(source.info.times_us, spans)
    _refuse_long(path, sum(map(len, stretches)), window)
    kept = {one.name: getattr(scene, one.name) for one in fields(Scene)}
    kept |= {"event_count": None, "window_us": (0, end_us), "simulated": True}
    kept["sensor"] = scene.sensor or _fitted(source.shown, side)
    return SimulatedScene(
        **kept,
        stretches_us=tuple(stretches),
        shown=source.shown,
        simulator=simulator or with_threshold(THRESHOLD),
        seed=seed,
    )


def _stretches(times_us: Times, spans: list[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Times of the frames around what is drawn; where stretches meet, they are one."""
    runs: list[list[int]] = []
    for start_us, end_us in spans:
        first = max(0, int(np.searchsorted(times_us, start_us - LEAD_US, side="right")) - 1)
        last = min(int(np.searchsorted(times_us, end_us)), len(times_us) - 1)
        if runs and first <= runs[-1][1]:
            runs[-1][1] = max(last, runs[-1][1])
        else:
            runs.append([first, last])
    return [tuple(times_us[first : last + 1].tolist()) for first, last in runs]


def _fitted(shown: tuple[int, int], side: int) -> tuple[int, int]:
    """Width and height with this shorter side, and no larger than the video."""
    width, height = shown
    shorter = min(width, height)
    if shorter <= side:
        return shown
    return round(width * side / shorter), round(height * side / shorter)


def _refuse_large(sensor: tuple[int, int] | None, shown: tuple[int, int]) -> None:
    if sensor is not None and (sensor[0] > shown[0] or sensor[1] > shown[1]):
        raise InputError(
            f"{sensor[0]}x{sensor[1]} pixels, to be simulated from a smaller video",
            where="--sensor",
            expected=f"at most the video's {shown[0]}x{shown[1]}",
        )


def _refuse_long(path: Path, frames: int, window: str) -> None:
    if frames > MOST_FRAMES:
        raise InputError(
            f"{frames:,} frames to simulate events of",
            where=path,
            expected=f"at most {MOST_FRAMES:,} in what is drawn, here the window {window}",
            hint="draw less (--set drafter.window=spread:50ms), or simulate a part of the video "
            f"(crossdraft scenes simulate {path.name} --duration 10s --out FOLDER)",
        )
