"""Which events go into which frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.windows import Window, clip_span, frame_ranges


def at(times_us: list[int]) -> EventStream:
    """Events at these times, all at pixel (0, 0)."""
    zeros = np.zeros(len(times_us), np.int64)
    return EventStream.checked(zeros, zeros, np.array(times_us, np.int64), zeros, sensor=(4, 4))


def cut(times_us: list[int], parts: int, **how: Any) -> list[list[int]]:
    """The times in every frame."""
    return [times_us[a:b] for a, b in frame_ranges(at(times_us), parts, **how).tolist()]


# Few values, so that events often sit on a bound.
times = st.lists(st.integers(-12, 12), max_size=40).map(sorted)
spans = st.tuples(st.integers(-15, 10), st.integers(1, 25)).map(lambda s: (s[0], s[0] + s[1]))


@pytest.mark.parametrize(
    ("text", "shown", "length_us"),
    [
        ("all", "all", 0),
        ("last:50ms", "last:50ms", 50_000),
        (" spread:0.05s ", "spread:50ms", 50_000),
    ],
)
def test_windows_are_read_and_written(text: str, shown: str, length_us: int) -> None:
    window = Window.parse(text)
    assert (str(window), window.length_us) == (shown, length_us)
    assert Window.parse(str(window)) == window


@pytest.mark.parametrize(
    "text", ["", "last", "all:50ms", "first:50ms", "last:", "last:50", "spread:0ms", "last:-5ms"]
)
def test_other_windows_are_refused(text: str) -> None:
    with pytest.raises(InputError) as caught:
        Window.parse(text)
    assert caught.value.exit_code == 2


def test_by_count_the_remainder_goes_into_the_last_part() -> None:
    assert cut(list(range(13)), 5) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9, 10, 11, 12]]
    assert cut([1, 2, 3], 5) == [[], [], [], [], [1, 2, 3]]
    assert cut([], 2) == [[], []]


def test_by_time_parts_are_half_open_and_the_last_is_closed() -> None:
    assert cut([0, 9, 10, 19, 20, 30], 3, by="time") == [[0, 9], [10, 19], [20, 30]]
    assert cut([5, 6, 14], 3, by="time", span_us=(0, 30)) == [[5, 6], [14], []]
    assert cut([7, 7, 7], 3, by="time") == [[], [], [7, 7, 7]], "no time passes"


def test_last_is_the_end_of_the_clip() -> None:
    assert cut([0, 50, 60, 100], 1, window=Window("last", 50)) == [[50, 60, 100]]
    assert cut([0, 50, 60, 100], 1, window=Window("last", 50), span_us=(0, 200)) == [[]]
    halves = cut([0, 60, 99], 2, window=Window("last", 40), by="time", span_us=(0, 100))
    assert halves == [[60], [99]]


def test_spread_starts_at_the_start_and_ends_at_the_end() -> None:
    ten = list(range(0, 101, 10))
    window = Window("spread", 20)
    assert cut(ten, 3, window=window) == [[0, 10], [40, 50], [80, 90, 100]]
    assert cut(ten, 1, window=window) == [[40, 50]], "a single window stands in the middle"
    assert cut(ten, 6, window=window)[:2] == [[0, 10], [20, 30]], "16 µs apart: 0, 16, 32 …"


def test_a_window_longer_than_the_clip_is_the_clip() -> None:
    for kind in ("last", "spread"):
        assert cut([3, 4, 5], 1, window=Window(kind, 10**6)) == [[3, 4, 5]]
    assert cut([3, 4, 5], 2, window=Window("spread", 10**6)) == [[3, 4, 5]] * 2


@given(times, st.integers(1, 8), spans, st.integers(1, 30))
def test_ranges_against_a_slow_oracle(
    times_us: list[int], parts: int, span_us: tuple[int, int], length_us: int
) -> None:
    start, end = span_us
    inside = [t for t in times_us if start <= t <= end]
    share = len(inside) // parts
    by_count = [inside[i * share : (i + 1) * share] for i in range(parts - 1)]
    assert cut(times_us, parts, span_us=span_us) == [*by_count, inside[(parts - 1) * share :]]

    bounds = [start + (end - start) * i // parts for i in range(parts + 1)]
    by_time = [
        [t for t in inside if bounds[i] <= t and (t < bounds[i + 1] or i == parts - 1)]
        for i in range(parts)
    ]
    assert cut(times_us, parts, by="time", span_us=span_us) == by_time

    last = [t for t in inside if t >= end - min(length_us, end - start)]
    found = cut(times_us, parts, window=Window("last", length_us), span_us=span_us)
    assert [t for part in found for t in part] == last

    length = min(length_us, end - start)
    found = cut(times_us, parts, window=Window("spread", length_us), span_us=span_us)
    for i, part in enumerate(found):
        slack = end - start - length
        opens = start + (slack * i // (parts - 1) if parts > 1 else slack // 2)
        closes = opens + length
        assert part == [t for t in times_us if opens <= t < closes or t == closes == end]


@given(times)
def test_without_a_span_every_event_is_drawn_once(times_us: list[int]) -> None:
    for by in ("count", "time"):
        assert [t for part in cut(times_us, 3, by=by) for t in part] == times_us
    if times_us:
        assert clip_span(at(times_us)) == (times_us[0], times_us[-1])
