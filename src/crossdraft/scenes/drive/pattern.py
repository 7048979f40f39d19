"""Compiled patterns that never flicker: hashes of places, soft noise, stripes that fade.

Nothing here keeps a state: what lies at a place is a hash of the place and the drive's seed. Where
a pattern is finer than a pixel it fades into its mean, or an event camera would see it flicker.
"""

from __future__ import annotations

import numpy as np
from numba import njit

#: Linear red, green, blue. Tuples, not arrays: arrays handed about are counted, which costs more
#: here than all the arithmetic.
Colour = tuple[float, float, float]
#: Colour, the share that glows by itself, and whether something is there at all.
Seen = tuple[float, float, float, float, float]


@njit(cache=True, nogil=True, error_model="numpy")
def mixed(a: Colour, b: Colour, part: float) -> Colour:
    """`a` with a share of `b` over it."""
    return (
        a[0] + part * (b[0] - a[0]), a[1] + part * (b[1] - a[1]), a[2] + part * (b[2] - a[2])
    )  # fmt: skip


@njit(cache=True, nogil=True, error_model="numpy")
def times(a: Colour, factor: float) -> Colour:
    return a[0] * factor, a[1] * factor, a[2] * factor


@njit(cache=True, nogil=True, error_model="numpy")
def hashed(a: int, b: int, seed: int) -> float:
    """A number of [0, 1) that a place and a seed decide."""
    h = (a * 374761393 + b * 668265263 + seed * 1274126177) & 0xFFFFFFFF
    # Two rounds of "lowbias32" (Wellons, 2018); only the low 32 bits of a product count.
    h = ((h ^ (h >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    h = ((h ^ (h >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return float(h ^ (h >> 16)) / 4294967296.0


@njit(cache=True, nogil=True, error_model="numpy")
def noise(x: float, y: float, seed: int) -> float:
    """Smooth noise of [0, 1), one bump per unit."""
    a, b = int(np.floor(x)), int(np.floor(y))
    p, q = x - a, y - b
    p, q = p * p * (3.0 - 2.0 * p), q * q * (3.0 - 2.0 * q)
    low = hashed(a, b, seed) * (1.0 - p) + hashed(a + 1, b, seed) * p
    high = hashed(a, b + 1, seed) * (1.0 - p) + hashed(a + 1, b + 1, seed) * p
    return low * (1.0 - q) + high * q


@njit(cache=True, nogil=True, error_model="numpy")
def band(x: float, half: float, blur: float) -> float:
    """How much of a pixel `blur` wide lies on a band from -half to half."""
    cover = min(max((half - abs(x)) / blur + 0.5, 0.0), 1.0)
    return cover * min(2.0 * half / blur, 1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def stripes(x: float, period: float, half: float, blur: float) -> float:
    """The same for bands around the middle of every period; their mean where they are too fine."""
    mean = 2.0 * half / period
    fine = min(max(2.0 * blur / period - 0.6, 0.0), 1.0)
    if fine >= 1.0:
        return mean
    inside = x - period * np.floor(x / period) - 0.5 * period
    return (1.0 - fine) * band(inside, half, blur) + fine * mean


@njit(cache=True, nogil=True, error_model="numpy")
def meet(curve: float, slope: float, offset: float) -> float:
    """Depth at which a ray meets a plane that runs along the road: the least z > 0 with
    slope z - curve z^2 = offset; 1e9 where it never does."""
    if abs(curve) < 1e-9:
        return offset / slope if offset * slope > 0.0 else 1e9
    root = slope * slope - 4.0 * curve * offset
    if root < 0.0:
        return 1e9
    # The stable form of the quadratic formula: no difference of near-equal numbers.
    q = 0.5 * (slope + np.sqrt(root) if slope >= 0.0 else slope - np.sqrt(root))
    first, second = q / curve, offset / q if q != 0.0 else -1.0
    best = 1e9
    if first > 0.0:
        best = first
    if 0.0 < second < best:
        best = second
    return best
