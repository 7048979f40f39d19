"""Only sound events pass; every fault is named; slices share memory."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream

GOOD: dict[str, Any] = {"x": [1, 639, 0], "y": [0, 479, 2], "t": [5, 5, 9], "p": [0, 1, 1]}


def stream(**changes: Any) -> EventStream:
    return EventStream.checked(**{**GOOD, **changes})


def test_columns_get_their_types() -> None:
    made = stream()
    assert [made.x.dtype, made.y.dtype, made.t.dtype, made.p.dtype] == [
        np.uint16, np.uint16, np.int64, np.uint8,
    ]  # fmt: skip
    assert made.sensor == (640, 480) and len(made) == 3
    assert made.span_us == 4 and made.nbytes == 3 * 13


@pytest.mark.parametrize("kind", ["<i2", ">i4", "<u2", ">u8", "<i8", "<u4"])
def test_any_whole_type_of_time(kind: str) -> None:
    made = stream(t=np.array([5, 5, 9], kind))
    assert made.t.dtype == np.int64 and made.t.tolist() == [5, 5, 9]


@pytest.mark.parametrize(
    ("given_p", "stored"),
    [
        ([0, 1, 1], [0, 1, 1]),
        ([-1, 1, 1], [0, 1, 1]),
        ([-1, -1, -1], [0, 0, 0]),
        ([1, 1, 1], [1, 1, 1]),
        (np.array([False, True, True]), [0, 1, 1]),
        (np.array([-1, 1, -1], np.int8), [0, 1, 0]),
    ],
)
def test_polarities_are_mapped(given_p: Any, stored: list[int]) -> None:
    made = stream(p=given_p)
    assert made.p.dtype == np.uint8 and made.p.tolist() == stored


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": [1, 640, 0]}, "event 1 has x = 640"),
        ({"x": [-1, 3, 0]}, "event 0 has x = -1"),
        ({"y": [0, 3, 480]}, "event 2 has y = 480"),
        ({"t": [5, 4, 9]}, "event 1 has t = 4, the one before it 5"),
        ({"p": [0, 2, 1]}, "event 1 has p = 2"),
        ({"p": [0, -1, 1]}, "event 0 has p = 0, event 1 has p = -1"),
        ({"p": np.array([0, 1, 7], np.uint8)}, "event 2 has p = 7"),
        ({"p": np.array([-1, 1, 7])}, "event 2 has p = 7"),
        ({"x": [1, 640, 0], "first": 1000}, "event 1,001 has x = 640"),
        ({"t": [5, 4, 9], "first": 1000}, "event 1,001 has t = 4"),
        ({"p": [0, 2, 1], "first": 1000}, "event 1,001 has p = 2"),
        ({"p": [0, 1]}, "x 3, y 3, t 3, p 2"),
        ({"x": [1.0, 2.0, 3.0]}, "x is an array of float64"),
        ({"x": [[1], [2], [3]]}, "with 2 dimensions"),
        ({"t": ["a", "b", "c"]}, "t is an array of <U1"),
        ({"t": np.array([1, 2, 2**63], np.uint64)}, "is no time"),
        ({"sensor": (0, 480)}, "a sensor of 0x480"),
        ({"sensor": (640, 70000)}, "a sensor of 640x70000"),
        ({"sensor": (2, 480)}, "event 1 has x = 639"),
    ],
)
def test_faults_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        stream(where="clip.npy", **changes)
    assert message in str(raised.value) and str(raised.value).startswith("clip.npy")


def test_a_wide_sensor_is_asked_for_where_none_is_named() -> None:
    with pytest.raises(InputError, match="--sensor 1280x720"):
        stream(x=[1, 1279, 0])
    assert stream(x=[1, 1279, 0], sensor=(1280, 720)).sensor == (1280, 720)


def test_arrays_of_the_right_type_are_not_copied() -> None:
    made = stream()
    again = EventStream.checked(made.x, made.y, made.t, made.p)
    assert all(
        np.shares_memory(getattr(made, name), getattr(again, name)) for name in ("x", "y", "t", "p")
    )


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(-5, 55), st.integers(-5, 55))
def test_between_is_the_mask_and_a_view(times: list[int], start: int, end: int) -> None:
    t = np.sort(np.array(times, np.int64))
    whole = EventStream.checked(np.arange(len(t)), np.zeros_like(t), t, np.zeros_like(t))
    part = whole.between(start, end)
    wanted = (t >= start) & (t < end)
    assert part.x.tolist() == whole.x[wanted].tolist()
    if len(part):
        assert np.shares_memory(part.t, whole.t) and np.shares_memory(part.x, whole.x)


def test_a_copy_shares_nothing() -> None:
    made = stream()
    again = made.copy()
    for name in ("x", "y", "t", "p"):
        assert getattr(again, name).tolist() == getattr(made, name).tolist()
        assert not np.shares_memory(getattr(again, name), getattr(made, name))
    assert again.sensor == made.sensor


def test_shifted_moves_times_alone() -> None:
    made = stream()
    assert made.shifted(-5).t.tolist() == [0, 0, 4]
    assert made.t.tolist() == [5, 5, 9]


def test_empty_streams() -> None:
    nothing = EventStream.empty((10, 20))
    assert len(nothing) == 0 and nothing.span_us == 0 and nothing.sensor == (10, 20)
    assert len(EventStream.checked(*[np.empty(0, np.int64)] * 4)) == 0


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 30)))
def test_parts_are_joined_again(gaps: list[int], cuts: list[int]) -> None:
    t = np.cumsum(np.array(gaps, np.int64))
    whole = EventStream.checked(
        np.arange(len(t)), np.arange(len(t)) % 3, t, np.arange(len(t)) % 2, sensor=(50, 7)
    )
    places = [0, *sorted(min(cut, len(t)) for cut in cuts), len(t)]
    parts = [whole.slice(start, stop) for start, stop in itertools.pairwise(places)]
    again = EventStream.joined(parts)
    assert again.sensor == (50, 7)
    for name in "xytp":
        column = getattr(again, name)
        assert column.dtype == getattr(whole, name).dtype
        assert column.tolist() == getattr(whole, name).tolist()
