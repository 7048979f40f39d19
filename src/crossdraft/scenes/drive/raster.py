"""Compiled drawing of polygons, with depth, and the way from samples to pixels.

Each pixel has four samples on a rotated grid: one per quarter of its height, each at another
quarter of its width. So an edge that moves by a quarter of a pixel changes what is seen, upright or
level, and nothing jumps by half a pixel's light. A row of samples is `sub` = 4 y + k.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from crossdraft.scenes.drive.mesh import Polygons
from crossdraft.scenes.srgb import BLUE, GREEN, RED

#: Where the sample of each quarter row lies within its pixel.
ACROSS = np.array([0.375, 0.875, 0.125, 0.625])
#: Nearer than this nothing is drawn.
NEAREST_M = 0.6
EYE_M = 1.3
#: Share of the headlights that reaches the event sensor: with more it would be blinded by snow.
BEAM_SHARE = 0.55
#: Haze begins behind what answers name.
CLEAR_M = 12.0
#: How high legs are joined and how far a foot swings.
_HIP_M, _STRIDE_M = 0.86, 0.34


class View(NamedTuple):
    """Where the camera is and looks at one moment.

    Attributes:
        focal: in pixels.
        centre, horizon: pixel that straight ahead on the horizon falls on.
        travel: metres driven since the clip began.
        place: metres driven in all.
        curve: the road's middle lies `curve * z * z` to the right of straight ahead.
    """

    focal: float
    centre: float
    horizon: float
    travel: float
    place: float
    curve: float


class Air(NamedTuple):
    """The light that falls on things, and the haze before them; linear.

    Attributes:
        red, green, blue: ambient light.
        headlights: of the own car.
        haze: per metre.
        haze_red, haze_green, haze_blue: its colour.
        gain: how much more of the ambient light the event sensor makes out than the camera.
    """

    red: float
    green: float
    blue: float
    headlights: float
    haze: float
    haze_red: float
    haze_green: float
    haze_blue: float
    gain: float


class Canvas(NamedTuple):
    """What is drawn on.

    Attributes:
        light: float32 [4 height, width, 4] linear red, green, blue, event sensor.
        near: float32 [4 height, width] one over the depth in metres.
    """

    light: npt.NDArray[np.float32]
    near: npt.NDArray[np.float32]


@njit(cache=True, nogil=True, error_model="numpy")
def beam(x: float, y: float, z: float, strength: float) -> float:
    """What the own headlights shed on a place: an ahead cone that fades out and up."""
    if strength == 0.0 or z <= 0.0:
        return 0.0
    aside = min(max(1.9 - 2.2 * abs(x) / z, 0.0), 1.0)
    above = min(max(1.25 - 3.0 * (y - EYE_M) / z, 0.12), 1.0)
    return strength * aside * above / (0.75 + (z / 13.0) ** 2)


@njit(cache=True, nogil=True, error_model="numpy")
def draw(
    canvas: Canvas,
    view: View,
    polygons: Polygons,
    places: npt.NDArray[np.float64],
    air: Air,
) -> None:
    """Draw polygons, nearest wins.

    Args:
        places: float64 [owners, 4] x, y, z each owner's things are moved by, and how far along
            their stride its legs are (-1..1).
    """
    corners = np.empty((10, 3))
    shape = np.empty((10, 3))
    lit = np.empty(4)
    for n in range(polygons.used.size):
        place = places[polygons.owner[n]]
        used = _in_front(polygons.corners[n], polygons.used[n], place, polygons.look[n, 2],
                         view.curve, corners)  # fmt: skip
        if used < 3:
            continue
        x = y = z = 0.0
        for c in range(used):
            x += corners[c, 0] / used
            y += corners[c, 1] / used
            z += corners[c, 2] / used
            shape[c, 0] = view.centre + view.focal * corners[c, 0] / corners[c, 2]
            shape[c, 1] = view.horizon - view.focal * (corners[c, 1] - EYE_M) / corners[c, 2]
            shape[c, 2] = 1.0 / corners[c, 2]
        _lit(polygons.colours[n], polygons.look[n, 0], beam(x, y, z, air.headlights), z, air, lit)
        _fill(canvas, shape, used, lit, polygons.look[n, 1])


@njit(cache=True, nogil=True, error_model="numpy")
def _in_front(given: Any, count: int, place: Any, step: float, curve: float, corners: Any) -> int:
    """Corners in front of the camera, moved to where they are; the polygon is cut where it must."""
    used = 0
    for c in range(count):
        d = c + 1 if c + 1 < count else 0
        z0, z1 = given[c, 2] + place[2], given[d, 2] + place[2]
        if z0 >= NEAREST_M:
            _put(given[c, 0], given[c, 1], z0, place, step, curve, corners[used])
            used += 1
        if (z0 >= NEAREST_M) != (z1 >= NEAREST_M):
            part = (NEAREST_M - z0) / (z1 - z0)
            x = given[c, 0] + part * (given[d, 0] - given[c, 0])
            y = given[c, 1] + part * (given[d, 1] - given[c, 1])
            _put(x, y, NEAREST_M, place, step, curve, corners[used])
            used += 1
    return used


@njit(cache=True, nogil=True, error_model="numpy")
def _put(x: float, y: float, z: float, place: Any, step: float, curve: float, corner: Any) -> None:
    swing = step * place[3] * _STRIDE_M * max(_HIP_M - y, 0.0) / _HIP_M
    corner[0] = x + place[0] + swing + curve * z * z
    corner[1] = y + place[1]
    corner[2] = z


@njit(cache=True, nogil=True, error_model="numpy")
def bright(red: float, green: float, blue: float) -> float:
    """Rec. 709 luminance of linear light."""
    return RED * red + GREEN * green + BLUE * blue


@njit(cache=True, nogil=True, error_model="numpy")
def clearness(z: float, haze: float) -> float:
    """Share of a thing's light that comes through the air; what is near stays clear."""
    return float(np.exp(-haze * max(z - CLEAR_M, 0.0)))


@njit(cache=True, nogil=True, error_model="numpy")
def _lit(colour: Any, glow: float, headlights: float, z: float, air: Air, lit: Any) -> None:
    """The light that comes from a surface through the air."""
    clear = clearness(z, air.haze)
    dim = air.gain * bright(air.red, air.green, air.blue)
    hazy = air.gain * bright(air.haze_red, air.haze_green, air.haze_blue)
    ambient = (air.red, air.green, air.blue, dim)
    haze = (air.haze_red, air.haze_green, air.haze_blue, hazy)
    for c in range(4):
        shed = headlights if c < 3 else headlights * BEAM_SHARE
        light = colour[c] * (glow + (1.0 - glow) * (ambient[c] + shed))
        lit[c] = light * clear + haze[c] * (1.0 - clear)


@njit(cache=True, nogil=True, error_model="numpy")
def _fill(canvas: Canvas, shape: Any, used: int, lit: Any, opacity: float) -> None:
    """Fill one convex polygon of (x, y, one over depth) corners."""
    light, nearest = canvas.light, canvas.near
    rows, width = nearest.shape
    top, bottom = shape[0, 1], shape[0, 1]
    for c in range(1, used):
        top, bottom = min(top, shape[c, 1]), max(bottom, shape[c, 1])
    if not (bottom > 0.0 and top < rows / 4):
        return
    for sub in range(max(int(top * 4) - 1, 0), min(int(bottom * 4) + 2, rows)):
        y = 0.25 * sub + 0.125
        left, right, near_left, near_right = 1e9, -1e9, 0.0, 0.0
        for c in range(used):
            d = c + 1 if c + 1 < used else 0
            y0, y1 = shape[c, 1], shape[d, 1]
            if (y0 <= y) == (y1 <= y):
                continue
            part = (y - y0) / (y1 - y0)
            x = shape[c, 0] + part * (shape[d, 0] - shape[c, 0])
            near = shape[c, 2] + part * (shape[d, 2] - shape[c, 2])
            if x < left:
                left, near_left = x, near
            if x > right:
                right, near_right = x, near
        if left >= right or right < 0.0 or left > width:
            continue
        offset = ACROSS[sub & 3]
        first = int(np.ceil(max(left - offset, 0.0)))
        last = min(int(np.ceil(right - offset)), width)
        slope = (near_right - near_left) / (right - left)
        for x_pixel in range(first, last):
            near = near_left + (x_pixel + offset - left) * slope
            if near <= nearest[sub, x_pixel]:
                continue
            if opacity >= 1.0:
                nearest[sub, x_pixel] = near
            for c in range(4):
                behind = light[sub, x_pixel, c]
                light[sub, x_pixel, c] = behind + opacity * (lit[c] - behind)


@njit(cache=True, nogil=True, error_model="numpy")
def develop(
    canvas: Canvas,
    code: npt.NDArray[np.uint8],
    rgb: npt.NDArray[np.uint8],
    intensity: npt.NDArray[np.float32],
) -> None:
    """Samples to pixels.

    Args:
        code: uint8 [steps] the sRGB code of linear light, in even steps from 0 to 1.
        rgb: uint8 [height, width, 3] written.
        intensity: float32 [height, width] written.
    """
    height, width = intensity.shape
    top = code.size - 1
    for y in range(height):
        for x in range(width):
            for c in range(4):
                total = np.float32(0.0)
                for k in range(4):
                    # A lamp brighter than white spills no more than white over its pixel's edge.
                    total += min(max(canvas.light[4 * y + k, x, c], np.float32(0)), np.float32(1))
                mean = total * np.float32(0.25)
                if c == 3:
                    intensity[y, x] = mean
                else:
                    rgb[y, x, c] = code[int(mean * top + 0.5)]
