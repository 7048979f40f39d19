"""Compiled surfaces of what runs along the road: houses, walls, guard rails, the tunnel's bore."""

from __future__ import annotations

import numpy as np
from numba import njit

from crossdraft.scenes.drive.pattern import Seen, band, hashed, meet, mixed, stripes, times
from crossdraft.scenes.drive.raster import EYE_M

#: A house is so long, its floors so high.
HOUSE_M, FLOOR_M = 9.0, 2.9
#: Linear colours of plaster and brick.
_PLASTER = (
    (0.53, 0.44, 0.29), (0.36, 0.11, 0.07), (0.30, 0.31, 0.33), (0.66, 0.60, 0.46),
    (0.20, 0.16, 0.13), (0.45, 0.29, 0.15),
)  # fmt: skip
_NOTHING = (0.0, 0.0, 0.0, 0.0, 0.0)
#: The tunnel's walls, where they lean inwards, its ceiling, and how far one sees to its end.
BORE_LEFT_M, BORE_RIGHT_M, LEAN_M, CEILING_M, END_M = -5.6, 2.6, 3.2, 4.8, 85.0


@njit(cache=True, nogil=True, error_model="numpy")
def facade(
    kind: int, along: float, up: float, long: float, high: float, side: int, seed: int,
    snow: float, lit: float,
) -> Seen:  # fmt: skip
    """What a plane beside the road shows at a place.

    Args:
        kind: 1 buildings, 2 stone wall, else guard rail.
        along, up: the place, in metres.
        long, high: metres that a pixel spans there.
        side: makes the two sides of the road differ.
        snow: 1 where snow lies.
        lit: share of windows with a light on.
    """
    if up < 0.0:
        return _NOTHING
    if kind == 1:
        return _house(along, up, long, high, side, seed, snow, lit)
    if kind == 2:
        return _stones(along, up, long, high, side, seed, snow)
    return _rail(along, up, long, high)


@njit(cache=True, nogil=True, error_model="numpy")
def _house(
    along: float, up: float, long: float, high: float, side: int, seed: int, snow: float,
    lit: float,
) -> Seen:  # fmt: skip
    number = int(np.floor(along / HOUSE_M))
    roof = 6.5 + 5.0 * hashed(number, side, seed)
    if up > roof:
        return _NOTHING
    if up > roof - 0.5:
        white = 0.85 if snow > 0.0 else 0.10
        return white, white, white, 0.0, 1.0
    colour = _PLASTER[int(6.0 * hashed(number, side + 5, seed))]
    storey = int(np.floor(up / FLOOR_M))
    inside = up - FLOOR_M * storey
    period, half, middle, tall = (4.5, 1.5, 1.3, 0.95) if storey == 0 else (2.25, 0.6, 1.6, 0.75)
    pane = stripes(along, period, half, long) * band(inside - middle, tall, high)
    edge = along - HOUSE_M * number
    joint = band(min(edge, HOUSE_M - edge), 0.18, long)
    colour = times(colour, (1.0 - 0.7 * joint) * (1.0 + 0.4 * band(inside - 0.05, 0.1, high)))
    burns = hashed(int(np.floor(along / period)), 31 * storey + side, seed) < lit
    if burns:
        red, green, blue = mixed(colour, (0.85, 0.58, 0.22), pane)
        return red, green, blue, pane, 1.0
    red, green, blue = mixed(colour, (0.03, 0.04, 0.05), pane)
    return red, green, blue, 0.0, 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _stones(
    along: float, up: float, long: float, high: float, side: int, seed: int, snow: float
) -> Seen:
    if up > 1.8:
        return _NOTHING
    if up > 1.62:
        grey = 0.85 if snow > 0.0 else 0.42
        return grey, grey, grey, 0.0, 1.0
    course = int(np.floor(up / 0.38))
    shifted = along + (0.5 if course & 1 else 0.0)
    # Between far stones the difference fades before it could flicker.
    fade = min(max(1.6 - 2.0 * long, 0.0), 1.0)
    grey = 0.27 + fade * 0.24 * (hashed(int(np.floor(shifted)), 7 * course + side, seed) - 0.5)
    joint = stripes(shifted + 0.5, 1.0, 0.06, long) * fade
    grey *= 1.0 - 0.75 * max(joint, stripes(up + 0.19, 0.38, 0.03, high))
    return 1.08 * grey, grey, 0.86 * grey, 0.0, 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _rail(along: float, up: float, long: float, high: float) -> Seen:
    """A beam over posts; one sees through between them."""
    if up > 0.95:
        return _NOTHING
    if up > 0.5:
        grey = 0.62 - 0.42 * band(up - 0.72, 0.06, high)
        return grey, grey, 1.04 * grey, 0.0, 1.0
    inside = along - 2.5 * np.floor(along / 2.5)
    # Far posts are thinner than a pixel and would only flicker.
    if abs(inside - 1.25) < 0.13 and long < 0.4:
        return 0.16, 0.16, 0.17, 0.0, 1.0
    return _NOTHING


@njit(cache=True, nogil=True, error_model="numpy")
def bored(
    u: float, v: float, wall: float, curve: float, place: float, focal: float
) -> tuple[Seen, float]:
    """What a tunnel shows in a direction, and at which depth; nothing where that is the road."""
    road = EYE_M / v if v > 1e-6 else 1e9
    if v > 0.0:
        z = min(wall, road)
    else:
        ceiling = (EYE_M - CEILING_M) / v if v < -1e-6 else 1e9
        right = meet(curve, u - v, BORE_RIGHT_M + LEAN_M - EYE_M)
        left = meet(-curve, -u - v, LEAN_M - BORE_LEFT_M - EYE_M)
        z = min(min(wall, ceiling), min(left, right))
    if z > END_M:
        return (1.0, 1.0, 1.0, 1.0, 1.0), END_M
    if z == road:
        return _NOTHING, z
    along, up, long = place + z, EYE_M - v * z, z * z / (4.0 * focal)
    pool = 0.6 + 0.8 * stripes(along, 6.0, 1.3, long)
    if z == wall:
        return _lining(along, up, long, pool), z
    aside = abs(abs(u * z - curve * z * z + 1.5) - 1.5)
    if aside < 0.35 and up > CEILING_M - 0.01:
        lamp = stripes(along, 6.0, 1.1, long)
        if lamp > 0.02:
            return (0.2 + 0.8 * lamp, 0.2 + 0.72 * lamp, 0.15 + 0.5 * lamp, lamp, 1.0), z
    grey = 0.26 * pool * (1.0 - 0.5 * stripes(along, 3.0, 0.08, long))
    return (grey, 0.97 * grey, 0.9 * grey, 0.0, 1.0), z


@njit(cache=True, nogil=True, error_model="numpy")
def _lining(along: float, up: float, long: float, pool: float) -> Seen:
    """A tunnel's wall: light tiles, a dark foot, joints, a refuge every so often."""
    if 0.1 < up < 2.2 and stripes(along, 24.0, 0.7, long) > 0.5:
        return 0.03, 0.16, 0.08, 0.0, 1.0
    grey = 0.08 if up < 0.4 else 0.62 if up < 2.3 else 0.3
    grey *= pool * (1.0 - 0.55 * stripes(along, 3.0, 0.1, long))
    return grey, 0.97 * grey, 0.88 * grey, 0.0, 1.0
