"""Patterns: within bounds, even on average, and their mean where they are finer than a pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from crossdraft.scenes.drive.pattern import band, hashed, meet, noise, stripes

places = st.floats(-1e4, 1e4)


def test_hashes_spread_evenly_and_differ_by_seed() -> None:
    grid = np.array([[[hashed(a, b, seed) for a in range(-20, 20)] for b in range(20)]
                     for seed in (1, 2)])  # fmt: skip
    assert grid.min() >= 0.0 and grid.max() < 1.0
    counts, _ = np.histogram(grid, bins=8, range=(0.0, 1.0))
    assert abs(counts / grid.size - 1 / 8).max() < 0.02
    assert abs(np.corrcoef(grid[0].ravel(), grid[1].ravel())[0, 1]) < 0.1
    assert abs(np.corrcoef(grid[0][:, 1:].ravel(), grid[0][:, :-1].ravel())[0, 1]) < 0.1


@given(places, places, st.integers(0, 10**6))
def test_noise_is_smooth(x: float, y: float, seed: int) -> None:
    here = noise(x, y, seed)
    assert 0.0 <= here < 1.0
    assert abs(noise(x + 0.01, y, seed) - here) < 0.02


@given(places, st.floats(0.5, 10), st.floats(0.05, 0.4), st.floats(1e-3, 20))
def test_stripes_cover_a_share_and_fade_into_their_mean(
    x: float, period: float, share: float, blur: float
) -> None:
    half = share * period / 2
    cover = stripes(x, period, half, blur)
    assert 0.0 <= cover <= 1.0
    assert 0.0 <= band(x, half, blur) <= 1.0
    if blur >= 0.8 * period:
        assert abs(cover - share) < 1e-9


@given(st.floats(-0.02, 0.02), st.floats(-1, 1), st.floats(-9, 9))
def test_a_ray_meets_a_plane_where_both_are(curve: float, slope: float, offset: float) -> None:
    assume(abs(curve) > 1e-6 and abs(offset) > 0.1 and abs(slope) > 1e-3)
    z = meet(curve, slope, offset)
    if z < 1e6:
        assert z > 0
        assert abs(slope * z - curve * z * z - offset) < 1e-6 * max(1.0, z)
    else:
        steps = np.linspace(0.1, 2000, 4001)
        assert not (np.diff(np.sign(slope * steps - curve * steps**2 - offset)) != 0).any()
