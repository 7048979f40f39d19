"""Arrays for networks, against naive oracles and what they must conserve."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.representations import count_image, time_surface, voxel_grid
from tests.scenes.test_render import HEIGHT, WIDTH, stream_of, streams


@given(streams)
def test_counts_equal_a_loop(stream: EventStream) -> None:
    expected = np.zeros((2, HEIGHT, WIDTH), np.int32)
    for x, y, p in zip(stream.x, stream.y, stream.p, strict=True):
        expected[p, y, x] += 1
    counts = count_image(stream)
    assert counts.dtype == np.int32
    assert np.array_equal(counts, expected)
    assert counts.sum() == len(stream)


@given(streams, st.integers(-5, 70))
def test_time_surface_equals_a_loop(stream: EventStream, at_us: int) -> None:
    expected = np.zeros((2, HEIGHT, WIDTH))
    for x, y, t, p in zip(stream.x, stream.y, stream.t, stream.p, strict=True):
        if t <= at_us:
            expected[p, y, x] = math.exp(-(at_us - int(t)) / 20.0)
    surface = time_surface(stream, tau_us=20.0, at_us=at_us)
    assert surface.dtype == np.float32
    np.testing.assert_allclose(surface, expected, rtol=1e-6)


def test_time_surface_ends_at_one() -> None:
    surface = time_surface(stream_of([(0, 0, 0, 1), (1, 0, 50_000, 0)]))
    assert surface[0, 0, 1] == 1.0
    assert surface[1, 0, 0] == pytest.approx(math.exp(-1))
    assert time_surface(EventStream.empty((3, 2))).shape == (2, 2, 3)


@given(streams, st.integers(1, 6))
def test_voxels_equal_the_formula(stream: EventStream, bins: int) -> None:
    expected = np.zeros((bins, HEIGHT, WIDTH))
    for x, y, t, p in zip(stream.x, stream.y, stream.t, stream.p, strict=True):
        passed = (int(t) - int(stream.t[0])) / stream.span_us if stream.span_us else 0.0
        for b in range(bins):
            share = max(0.0, 1.0 - abs(b - (bins - 1) * passed))
            expected[b, y, x] += (1 if p else -1) * share
    grid = voxel_grid(stream, bins)
    assert grid.dtype == np.float32
    np.testing.assert_allclose(grid, expected, atol=1e-5)
    polarities = 2 * int(stream.p.sum()) - len(stream)
    assert grid.sum(dtype=np.float64) == pytest.approx(polarities, abs=1e-4)


def test_voxels_within_a_span() -> None:
    stream = stream_of([(0, 0, 0, 1), (1, 0, 10, 1), (2, 0, 15, 0), (3, 0, 20, 1), (4, 0, 30, 1)])
    grid = voxel_grid(stream, 3, span_us=(10, 20))
    assert grid[:, 0, 1].tolist() == [1, 0, 0]
    assert grid[:, 0, 2].tolist() == [0, -1, 0]
    assert grid[:, 0, 3].tolist() == [0, 0, 1]
    assert not grid[:, 0, [0, 4]].any(), "outside the span"


@given(streams, st.integers(1, 6))
def test_normalised_voxels_have_mean_zero_and_spread_one(stream: EventStream, bins: int) -> None:
    plain, grid = voxel_grid(stream, bins), voxel_grid(stream, bins, normalise=True)
    touched = plain != 0
    assert not grid[~touched].any(), "untouched voxels stay zero"
    values = grid[touched].astype(np.float64)
    if values.size:
        assert values.mean() == pytest.approx(0, abs=1e-5)
        assert values.std() == pytest.approx(1 if plain[touched].std() > 1e-6 else 0, abs=1e-5)


def test_wrong_settings_are_refused() -> None:
    stream = EventStream.empty((3, 2))
    for bins in (0, 2.0, True):
        with pytest.raises(InputError):
            voxel_grid(stream, bins)  # type: ignore[arg-type]
    for tau_us in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError):
            time_surface(stream, tau_us=tau_us)


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match="a span from 9 to 1"):
        voxel_grid(stream_of([(0, 0, 5, 1)]), 3, span_us=(9, 1))
