"""Event frames as EventGPT expects them: events painted blue and red on white.

Polarity 0 is blue (0, 0, 255), any other red (255, 0, 0); colours stand in RGB order. DSEC's own
example renderer has them the other way round. The settings name every point in which the official
inference, the official training and the seed study differ; `PRESETS` names the combinations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.windows import Window, clip_span, frame_ranges

Frame = npt.NDArray[np.uint8]

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "by": ("count", "time"),
        "canvas": ("sensor", "tight"),
        "overlap": ("last", "positive", "negative"),
        "keep": ("all", "first"),
    }
)
WHITE = 255
_MAX_PARTS, _MAX_HZ = 4096, 10_000
#: More than any use of event frames takes; a mistyped sensor size takes more.
_MAX_BYTES = 8 * 2**30


@dataclass(frozen=True)
class RenderSettings:
    """How events become frames.

    Attributes:
        parts: frames per clip.
        by: cut by event `count` (remainder into the last part) or into equal `time`.
        canvas: `sensor`: every frame has the sensor's size. `tight`: (largest y + 1, largest
            x + 1) of the part's own events, as the official inference draws; frames of a sparse
            clip then differ in size, and what they show is shifted and scaled against each other.
        overlap: which colour a pixel with both polarities gets: that of its `last` event
            (official inference), `positive` (official training) or `negative` (seed study).
            On a part of a real 50 ms window, last and positive differ in one of 13 touched pixels.
        window: `all`, `last:50ms` or `spread:50ms`; see `windows.frame_ranges`.
        hz: frames per second of the clip instead of `parts`, at least one per clip.
        keep: `first` draws only the first frame, one of the seed study's inputs.

    Raises:
        InputError: a value that is none of these.
    """

    parts: int = 5
    by: str = "count"
    canvas: str = "sensor"
    overlap: str = "last"
    window: str = "all"
    hz: int | None = None
    keep: str = "all"

    def __post_init__(self) -> None:
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(
                    f"{getattr(self, name)!r}", where=name, expected=f"one of {', '.join(known)}"
                )
        for name, value, most in (("parts", self.parts, _MAX_PARTS), ("hz", self.hz, _MAX_HZ)):
            if value is None and name == "hz":
                continue
            if type(value) is not int or not 1 <= value <= most:
                raise InputError(
                    f"{value!r}", where=name, expected=f"a whole number from 1 to {most:,}"
                )
        # One text per meaning, so that settings compare: `last:0.05s` is `last:50ms`.
        object.__setattr__(self, "window", str(Window.parse(self.window)))

    def settled(self, duration_us: int, *, known: bool = True) -> RenderSettings:
        """The same settings for a clip of this duration, `hz` turned into `parts`.

        Args:
            known: the clip's own bounds, of which hz counts whole frames. Else the events' span,
                which is a little shorter than the clip: it is rounded to the nearest frame.

        Raises:
            InputError: more frames than memory is good for.
        """
        if self.hz is None:
            return self
        half = 0 if known else 500_000
        parts = max(1, (duration_us * self.hz + half) // 1_000_000)
        if parts > _MAX_PARTS:
            raise InputError(
                f"{parts:,} frames of a clip of {duration_us / 1e6:g} s",
                where="hz",
                expected=f"{_MAX_PARTS:,} frames per clip or fewer",
            )
        return replace(self, parts=parts, hz=None)

    def frames(self, duration_us: int) -> int:
        """Frames drawn of a clip of this duration."""
        return 1 if self.keep == "first" else self.settled(duration_us).parts

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON."""
        return asdict(self)


PRESETS: Mapping[str, RenderSettings] = MappingProxyType(
    {
        "default": RenderSettings(),
        # The published inference code of EventGPT, bit for bit.
        "official": RenderSettings(canvas="tight", overlap="last"),
        # The code that drew EventGPT's training data.
        "training": RenderSettings(canvas="sensor", overlap="positive"),
        # What the seed study fed.
        "seed": RenderSettings(canvas="tight", overlap="negative"),
    }
)


def render_frames(
    stream: EventStream,
    settings: RenderSettings | None = None,
    *,
    span_us: tuple[int, int] | None = None,
    out: Frame | None = None,
) -> list[Frame]:
    """Draw the event frames of a clip. A part without events is an all-white frame of sensor size.

    One thread, one pass over the events: callers that render many clips run processes.

    Args:
        settings: `RenderSettings()` by default.
        span_us: start and end of the clip; see `windows.frame_ranges`.
        out: uint8 [frames, height, width, 3], C order, written whatever it held; the frames are
            views of it (with `tight`, of its upper left corners).

    Returns:
        uint8 [height, width, 3] each, RGB.

    Raises:
        InputError: `out` does not fit, the frames would fill the memory, or the clip ends before
            it starts.
    """
    start_us, end_us = span_us or clip_span(stream)
    settings = (settings or RenderSettings()).settled(end_us - start_us, known=span_us is not None)
    ranges = frame_ranges(
        stream,
        settings.parts,
        by=settings.by,
        window=Window.parse(settings.window),
        span_us=span_us,
    )[: settings.frames(end_us - start_us)]
    shape = (len(ranges), stream.height, stream.width, 3)
    tight = settings.canvas == "tight"
    if out is not None:
        _check_out(out, shape)
    else:
        _check_memory(shape)
        out = None if tight else np.empty(shape, np.uint8)
    frames = []
    for place, (start, stop) in enumerate(ranges.tolist()):
        height, width = stream.height, stream.width
        if tight:
            height, width = _tight_size(stream.slice(start, stop))
        frame = np.empty((height, width, 3), np.uint8) if out is None else out[place]
        frame.fill(WHITE)
        if settings.overlap == "last":
            _paint_last(stream.x, stream.y, stream.p, start, stop, frame)
        else:
            wins = settings.overlap == "positive"
            _paint_winner(stream.x, stream.y, stream.p, start, stop, frame, wins)
        frames.append(frame[:height, :width])
    return frames


def _tight_size(part: EventStream) -> tuple[int, int]:
    """Height and width that just hold the events, counted from the sensor's corner."""
    if not len(part):
        return part.height, part.width
    return int(part.y.max()) + 1, int(part.x.max()) + 1


def _check_memory(shape: tuple[int, ...]) -> None:
    count, height, width, _ = shape
    if count * height * width * 3 > _MAX_BYTES:
        raise InputError(
            f"{count:,} frames of {width}x{height} pixels take "
            f"{count * height * width * 3 / 2**30:.0f} GiB",
            expected=f"{_MAX_BYTES // 2**30} GiB or less",
            hint="check the sensor size, or draw fewer frames",
        )


def _check_out(out: Frame, shape: tuple[int, ...]) -> None:
    if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise InputError(
            f"an array of {out.dtype} {list(out.shape)}",
            where="out",
            expected=f"uint8 {list(shape)} in C order",
        )
    if not out.flags.writeable:
        raise InputError("an array that cannot be written", where="out")


# Indices are unsigned: numba then leaves out the test for negative ones, which halves the time.


@njit(cache=True, nogil=True)
def _paint_last(
    x: npt.NDArray[np.uint16],
    y: npt.NDArray[np.uint16],
    p: npt.NDArray[np.uint8],
    start: int,
    stop: int,
    frame: Frame,
) -> None:
    """Paint events `start` to `stop` in their order, so that the last one at a pixel stays."""
    for i in range(np.uintp(start), np.uintp(stop)):
        row, column = np.uintp(y[i]), np.uintp(x[i])
        blue = np.uint8(0) if p[i] != 0 else np.uint8(255)
        frame[row, column, np.uintp(0)] = ~blue
        frame[row, column, np.uintp(1)] = np.uint8(0)
        frame[row, column, np.uintp(2)] = blue


@njit(cache=True, nogil=True)
def _paint_winner(
    x: npt.NDArray[np.uint16],
    y: npt.NDArray[np.uint16],
    p: npt.NDArray[np.uint8],
    start: int,
    stop: int,
    frame: Frame,
    positive_wins: bool,
) -> None:
    """Paint events so that one polarity wins at a pixel that has both.

    White and the loser's colour both have the loser's channel at 255. An event of the winner
    clears it, for good; an event of the loser leaves it. The other channel is its complement.
    """
    loser, other = (np.uintp(2), np.uintp(0)) if positive_wins else (np.uintp(0), np.uintp(2))
    for i in range(np.uintp(start), np.uintp(stop)):
        row, column = np.uintp(y[i]), np.uintp(x[i])
        kept = np.uint8(0) if (p[i] != 0) == positive_wins else np.uint8(255)
        value = frame[row, column, loser] & kept
        frame[row, column, loser] = value
        frame[row, column, np.uintp(1)] = np.uint8(0)
        frame[row, column, other] = ~value
