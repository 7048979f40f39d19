"""What covers every pixel before anything stands in front: sky, skyline, road and verge.

Compiled. A row below the horizon is one distance, so the road needs no polygons: each sample asks
what lies at its place. What stands beside the road in one plane (`facade`) is asked the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from crossdraft.scenes.drive.facade import bored, facade
from crossdraft.scenes.drive.pattern import Colour, band, hashed, meet, mixed, noise, stripes, times
from crossdraft.scenes.drive.raster import (
    ACROSS,
    BEAM_SHARE,
    EYE_M,
    Canvas,
    View,
    beam,
    bright,
    clearness,
)

#: What stands on the horizon.
TREE_LINE, MOUNTAINS, SKYLINE = range(3)
#: What lies beside the road, in the order of `world.Beside`.
TREES, BUILDINGS, STONE_WALL, GUARD_RAIL, OPEN_FIELD = range(5)
#: Linear red, green, blue, what the event sensor sees, and the depth it comes from.
Lit = tuple[float, float, float, float, float]
#: Lane marks at most.
LINES = 6


#: The parts of a clip that stay while it lasts; lateral places in metres, as in `mesh`. A record,
#: which compiled code passes by its address: every sample asks it.
WORLD = np.dtype(
    [
        ("seed", np.int64),  # what places are hashed with
        ("road_left", np.float64),  # the asphalt's edges
        ("road_right", np.float64),
        ("verge_left", np.float64),  # where the shoulder ends
        ("verge_right", np.float64),
        ("wall_left", np.float64),  # the planes of what stands beside the road
        ("wall_right", np.float64),
        ("left", np.int64),  # TREES .. OPEN_FIELD
        ("right", np.int64),
        ("crossing", np.float64),  # where a crossing road begins and ends along this one
        ("crossed", np.float64),  # equal if there is none
        ("horizon", np.int64),  # TREE_LINE .. SKYLINE
        ("tunnel", np.int64),  # whether walls and ceiling close the view
        ("snow", np.float64),  # 1 where snow lies
        ("wet", np.float64),  # 1 where the road shines
        ("lit", np.float64),  # share of windows with a light on
        ("clouds", np.float64),  # how much whiter a cloud is than the sky
        ("sun", np.float64),  # direction of the setting sun in radians; 9 if none
        ("marks", np.int64),  # lane marks in use
        ("lines", np.float64, (LINES, 3)),  # place, half the width, whether dashed
        ("asphalt", np.float64, (3,)),  # linear colours
        ("paint", np.float64, (3,)),
        ("shoulder", np.float64, (3,)),
        ("verge", np.float64, (3,)),
        ("field", np.float64, (3,)),
        ("pavement", np.float64, (3,)),
        ("rock", np.float64, (3,)),
        ("sky_top", np.float64, (3,)),
        ("sky_low", np.float64, (3,)),  # of the haze too
        ("ambient", np.float64, (3,)),  # light on every surface
        ("headlights", np.float64),
        ("haze", np.float64),  # per metre
        ("gain", np.float64),  # of the event sensor, as in `raster.Air`
        ("event_ambient", np.float64),  # what it sees of ambient light, and of haze
        ("event_haze", np.float64),
    ]
)


@njit(cache=True, nogil=True, error_model="numpy")
def _of(colour: Any) -> Colour:
    return colour[0], colour[1], colour[2]


@njit(cache=True, nogil=True, error_model="numpy")
def backdrop(canvas: Canvas, view: View, worlds: npt.NDArray[Any]) -> None:
    """Fill a canvas: every sample gets its light and its depth.

    Args:
        worlds: WORLD [1].
    """
    world = worlds[0]
    out, near = canvas.light, canvas.near
    rows, width = near.shape
    ridge = np.empty((4, width))
    left, right = np.empty((4, width)), np.empty((4, width))
    turned = 2.0 * view.curve * view.place
    for k in range(4):
        for x in range(width):
            u = (x + ACROSS[k] - view.centre) / view.focal
            ridge[k, x] = _ridge(u + turned, world)
            left[k, x] = meet(view.curve, u, world.wall_left)
            right[k, x] = meet(view.curve, u, world.wall_right)
    for sub in range(rows):
        k = sub & 3
        v = (0.25 * sub + 0.125 - view.horizon) / view.focal
        for x in range(width):
            u = (x + ACROSS[k] - view.centre) / view.focal
            lit = _look(u, v, ridge[k, x], left[k, x], right[k, x], view, world)
            out[sub, x, 0], out[sub, x, 1], out[sub, x, 2], out[sub, x, 3] = lit[:4]
            near[sub, x] = 1.0 / lit[4]


@njit(cache=True, nogil=True, error_model="numpy")
def _look(
    u: float, v: float, ridge: float, left: float, right: float, view: View, world: Any
) -> Lit:
    """The light of one sample, and how far away it comes from."""
    ground = EYE_M / v if v > 1e-6 else 1e6
    if world.tunnel:
        seen, z = bored(u, v, min(left, right), view.curve, view.place, view.focal)
        if seen[4] > 0.0:
            return _lighten(u, v, z, (seen[0], seen[1], seen[2]), seen[3], world)
        return _lighten(u, v, ground, _road(u, ground, view, world), 0.0, world)
    for turn in range(2):
        on_left = (turn == 0) == (left < right)
        z, kind = (left, world.left) if on_left else (right, world.right)
        if z < ground and BUILDINGS <= kind <= GUARD_RAIL:
            plane = -world.wall_left if on_left else world.wall_right
            along = view.place + z
            long = z * z / (view.focal * plane)
            side = 0 if on_left else 1
            if world.crossing - 0.5 < along < world.crossed + 0.5:
                if kind != BUILDINGS:
                    continue
                # Through the gap one sees the front of the corner house across the road.
                z = world.crossed + 0.5 - view.place
                if z >= ground:
                    continue
                along, long, side = abs(u * z - view.curve * z * z), z / view.focal, side + 2
            seen = facade(kind, along, EYE_M - v * z, long, z / view.focal, side, world.seed,
                          world.snow, world.lit)  # fmt: skip
            if seen[4] > 0.0:
                return _lighten(u, v, z, (seen[0], seen[1], seen[2]), seen[3], world)
    if ground < 400.0:
        return _lighten(u, v, ground, _road(u, ground, view, world), 0.0, world)
    red, green, blue = _sky(u + 2.0 * view.curve * view.place, -v, ridge, world)
    return red, green, blue, world.gain * bright(red, green, blue), 1e6


@njit(cache=True, nogil=True, error_model="numpy")
def _lighten(u: float, v: float, z: float, colour: Colour, glow: float, world: Any) -> Lit:
    """From a surface to the light that comes from it; its depth is handed on."""
    shed = beam(u * z, EYE_M - v * z, z, world.headlights)
    clear = clearness(z, world.haze)
    lit, veil = (1.0 - glow) * clear, 1.0 - clear
    own = glow * clear
    red = colour[0] * (own + lit * (world.ambient[0] + shed)) + veil * world.sky_low[0]
    green = colour[1] * (own + lit * (world.ambient[1] + shed)) + veil * world.sky_low[1]
    blue = colour[2] * (own + lit * (world.ambient[2] + shed)) + veil * world.sky_low[2]
    dim = world.event_ambient + BEAM_SHARE * shed
    seen = bright(colour[0], colour[1], colour[2]) * (own + lit * dim) + veil * world.event_haze
    return red, green, blue, seen, z


@njit(cache=True, nogil=True, error_model="numpy")
def _road(u: float, z: float, view: View, world: Any) -> Colour:
    """The ground at a depth: asphalt with its marks, shoulder, verge."""
    x = u * z - view.curve * z * z
    along = view.place + z
    wide, deep = z / view.focal, z * z / (EYE_M * view.focal)
    across_road = world.crossing < along < world.crossed
    kind = world.left if x < 0.0 else world.right
    if across_road or world.road_left <= x <= world.road_right:
        colour = _marks(_of(world.asphalt), x, along, wide, deep, across_road, world)
        rough = 0.16
        if world.wet > 0.0:  # a wet road shines where one looks along it
            colour = mixed(colour, _of(world.sky_low), min(0.012 * z, 0.4) * world.wet)
    elif world.verge_left <= x <= world.verge_right:
        colour, rough = _of(world.shoulder), 0.25
    elif kind == OPEN_FIELD:
        colour, rough = times(_of(world.field), 1.15 - 0.55 * stripes(x, 1.6, 0.4, wide)), 0.3
    elif kind == BUILDINGS:
        colour, rough = (
            times(_of(world.pavement), 1.0 - 0.5 * stripes(along, 1.8, 0.08, deep)),
            0.12,
        )
    else:
        colour, rough = _of(world.verge), 0.3
    grain = min(1.5 - 2.0 * deep, 1.0)
    if grain > 0.0:
        speck = 2.0 * noise(2.5 * x, 1.2 * along, world.seed) - 1.0
        colour = times(colour, 1.0 + rough * grain * speck)
    return colour


@njit(cache=True, nogil=True, error_model="numpy")
def _marks(
    colour: Colour, x: float, along: float, wide: float, deep: float, across_road: bool,
    world: Any,
) -> Colour:  # fmt: skip
    """Asphalt with lane marks, zebras before and behind a crossing road, its own middle line."""
    white = _of(world.paint)
    middle = 0.5 * (world.crossing + world.crossed)
    if across_road:
        return mixed(colour, white, band(along - middle, 0.12, deep) * stripes(x, 3.0, 0.9, wide))
    if world.crossed > world.crossing:
        half = 0.5 * (world.crossed - world.crossing) + 2.1
        away = abs(along - middle)
        if away < half + 1.6:  # lane marks end where the zebra begins
            zebra = band(away - half, 1.4, deep) * stripes(x + 1.5, 1.2, 0.3, wide)
            return mixed(colour, white, zebra)
        if -1.5 < x < 1.5:
            colour = mixed(colour, white, band(along - middle + half + 2.4, 0.25, deep))
    for n in range(world.marks):
        place, width, dashed = world.lines[n, 0], world.lines[n, 1], world.lines[n, 2]
        cover = band(x - place, width, wide)
        if cover > 0.0:
            if dashed > 0.0:
                cover *= stripes(along, 5.0, 1.2, deep)
            colour = mixed(colour, white, cover)
    return colour


@njit(cache=True, nogil=True, error_model="numpy")
def _ridge(a: float, world: Any) -> float:
    """How high the horizon stands in a direction, as a share of the focal length."""
    if world.horizon == MOUNTAINS:
        rough = 0.045 * noise(21.0 * a, 3.5, world.seed)
        return 0.05 + 0.17 * noise(5.5 * a, 0.5, world.seed) + rough
    if world.horizon == SKYLINE:
        return 0.035 + 0.11 * hashed(int(np.floor(a / 0.07)), 17, world.seed) ** 2
    return 0.012 + 0.022 * noise(26.0 * a, 7.5, world.seed)


@njit(cache=True, nogil=True, error_model="numpy")
def _sky(a: float, up: float, ridge: float, world: Any) -> Colour:
    """Sky and what stands on the horizon, in direction `a` and `up` above level."""
    if up < ridge:
        return _skyline(a, up, world)
    share = min(max(up / 0.42, 0.0), 1.0)
    # Steeper near the horizon, without a power: cheap, and the same on every machine.
    light = mixed(_of(world.sky_low), _of(world.sky_top), share * (1.7 - 0.7 * share))
    if world.clouds > 0.0:
        cloud = noise(4.0 * a, 13.0 * up, world.seed + 1)
        cloud += 0.5 * noise(11.0 * a, 30.0 * up, world.seed)
        white = mixed(_of(world.sky_low), (1.0, 1.0, 1.0), 0.5)
        light = mixed(light, white, world.clouds * min(max(2.5 * cloud - 2.0, 0.0), 1.0))
    if world.sun < 9.0:
        away2 = (a - world.sun) ** 2 + (up - 0.085) ** 2
        shine = min(max((0.05 - np.sqrt(away2)) * 200.0, 0.0), 1.0) + 0.35 / (1.0 + away2 / 0.012)
        light = (light[0] + shine, light[1] + 0.62 * shine, light[2] + 0.18 * shine)
    return light


@njit(cache=True, nogil=True, error_model="numpy")
def _skyline(a: float, up: float, world: Any) -> Colour:
    """Mountains, far houses or far trees, in their haze."""
    colour, shade = _of(world.rock), 1.0
    if world.horizon == MOUNTAINS:
        cap = min(max((up - 0.11 - 0.03 * noise(30.0 * a, 1.5, world.seed)) * 60.0, 0.0), 1.0)
        shade = 0.75 + 0.5 * noise(14.0 * a + 9.0 * up, 20.0 * up, world.seed + 3) + 3.0 * cap
    elif world.horizon == TREE_LINE:
        colour, shade = _of(world.verge), 0.7
    elif world.lit > 0.0:
        cell = hashed(int(np.floor(a / 0.014)), int(np.floor(up / 0.016)), world.seed)
        if cell < 0.4 * world.lit:
            return 0.45, 0.33, 0.14
    lit = (
        shade * colour[0] * world.ambient[0],
        shade * colour[1] * world.ambient[1],
        shade * colour[2] * world.ambient[2],
    )
    return mixed(lit, _of(world.sky_low), 0.3)
