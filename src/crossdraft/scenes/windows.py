"""Which events go into which event frame: by count or by time, of the whole clip or of windows.

EventGPT was trained on about 50 ms of events, cut into a few parts of equal count. Such a window
touches 14 to 21 % of the pixels of a DSEC drive and each of five parts 5 to 9 %. A clip of one
second cut into five parts puts twenty times the events into each image, which no longer looks
like anything the model has seen; `last:50ms` and `spread:50ms` keep to the length it knows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.units import format_duration, parse_duration_us

KINDS = ("all", "last", "spread")


@dataclass(frozen=True)
class Window:
    """The stretch of a clip that is drawn.

    Attributes:
        kind: `all` the whole clip; `last` its end; `spread` one window per frame, evenly spaced,
            the first at the clip's start, the last at its end.
        length_us: length of the window, 0 for `all`.
    """

    kind: str = "all"
    length_us: int = 0

    @classmethod
    def parse(cls, text: str) -> Window:
        """`all`, `last:50ms` or `spread:50ms`.

        Raises:
            InputError: none of these.
        """
        kind, colon, length = text.strip().partition(":")
        if kind not in KINDS or bool(colon) == (kind == "all"):
            raise InputError(
                f"{text!r}", where="window", expected="all, last:50ms or spread:50ms (any duration)"
            )
        return cls(kind, parse_duration_us(length, "window") if colon else 0)

    def __str__(self) -> str:
        return f"{self.kind}:{format_duration(self.length_us)}" if self.length_us else self.kind


def clip_span(stream: EventStream) -> tuple[int, int]:
    """First and last event time of a clip whose bounds nobody knows, (0, 0) without events."""
    return (int(stream.t[0]), int(stream.t[-1])) if len(stream) else (0, 0)


def frame_ranges(
    stream: EventStream,
    parts: int,
    *,
    by: str = "count",
    window: Window | None = None,
    span_us: tuple[int, int] | None = None,
) -> npt.NDArray[np.int64]:
    """Events of every frame, as first index and the index after the last.

    `all` and `last:D` are cut into parts. By `count`, each gets floor(N / parts) events and the
    last one the remainder too, as EventGPT cuts. By `time`, each gets an equal share of the time,
    start included and end left out, except that the last part includes its end.

    `spread:D` draws the events of one window each, whatever `by` says: window i of n starts at
    start + i (span - D) / (n - 1), the end left out unless it is the clip's. A single window
    stands in the middle of the clip, since `last:D` already gives its end. Windows overlap where
    n D is longer than the clip.

    A window longer than the clip is the whole clip: the events of a 50 ms clip span a little less
    than 50 ms, and a clip cut short is still drawn.

    Args:
        parts: number of frames, one or more.
        by: `count` or `time`.
        window: what to draw, the whole clip by default.
        span_us: start and end of the clip on the stream's clock; events outside are not drawn.
            Without it, the first and last event.

    Returns:
        int64 [parts, 2].

    Raises:
        InputError: the clip ends before it starts.
    """
    window = window or Window()
    start_us, end_us = span_us or clip_span(stream)
    spans = drawn_spans(parts, window, (start_us, end_us))
    if window.kind == "spread":
        return _spread(stream, spans, end_us)
    start_us = spans[0][0]
    wanted_us = end_us - start_us
    stop = _after(stream, end_us)
    if by == "time":
        bounds_us = [start_us + wanted_us * i // parts for i in range(parts)]
        edges = np.searchsorted(stream.t, bounds_us).tolist()
    else:
        first = min(int(np.searchsorted(stream.t, start_us)), stop)
        share = (stop - first) // parts
        edges = [first + share * i for i in range(parts)]
    return np.array([edges, [*edges[1:], stop]], np.int64).T


def drawn_spans(parts: int, window: Window, span_us: tuple[int, int]) -> list[tuple[int, int]]:
    """Stretches of a clip that are drawn: one for every frame with `spread`, else a single one.

    Raises:
        InputError: the clip ends before it starts.
    """
    start_us, end_us = span_us
    length_us = end_us - start_us
    if length_us < 0:
        raise InputError(
            f"a clip from {start_us} to {end_us} µs", expected="an end after the start"
        )
    wanted_us = min(window.length_us or length_us, length_us)
    slack_us = length_us - wanted_us
    if window.kind != "spread":
        return [(end_us - wanted_us, end_us)]
    if parts == 1:
        starts_us = [start_us + slack_us // 2]
    else:
        starts_us = [start_us + slack_us * i // (parts - 1) for i in range(parts)]
    return [(us, us + wanted_us) for us in starts_us]


def _spread(
    stream: EventStream, spans: list[tuple[int, int]], end_us: int
) -> npt.NDArray[np.int64]:
    firsts = np.searchsorted(stream.t, [start for start, _ in spans])
    stops = np.searchsorted(stream.t, [stop for _, stop in spans])
    stops[[stop == end_us for _, stop in spans]] = _after(stream, end_us)
    return np.stack([firsts, stops], axis=1).astype(np.int64)


def _after(stream: EventStream, end_us: int) -> int:
    """Index after the last event that is not later than `end_us`."""
    return int(np.searchsorted(stream.t, end_us, side="right"))
