"""How wide each road is, what its surface looks like, and where a crossing road lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossdraft.scenes.drive import ground
from crossdraft.scenes.drive.facade import BORE_LEFT_M, BORE_RIGHT_M
from crossdraft.scenes.drive.light import RGB, Light, linear, luminance
from crossdraft.scenes.drive.raster import Air
from crossdraft.scenes.drive.world import CLIP_S, Beside, Clip, Road

#: Radius of a bend.
BEND_M = 85.0
#: Width of a crossing road.
CROSSING_M = 6.5
_MIDDLE, _OWN_EDGE, _FAR_EDGE = -1.5, 1.55, -4.55
_BESIDE: dict[Beside, int] = {
    "trees": ground.TREES, "buildings": ground.BUILDINGS, "stone wall": ground.STONE_WALL,
    "guard rail": ground.GUARD_RAIL, "field": ground.OPEN_FIELD,
}  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """Lateral places in metres, as in `mesh`; distances from where the clip begins.

    Attributes:
        road_left, road_right: the asphalt's edges.
        verge_left, verge_right: where the shoulder ends.
        wall_left, wall_right: where what lies beside the road begins.
        lines: lane marks as (place, half their width, dashed).
        crossing_m, crossed_m: where a crossing road begins and ends; equal if there is none.
        curve: the road's middle lies `curve * z * z` to the right of straight ahead.
        snow: whether snow lies.
        seed: what places are hashed with, small enough for compiled whole numbers.
    """

    road_left: float
    road_right: float
    verge_left: float
    verge_right: float
    wall_left: float
    wall_right: float
    lines: tuple[tuple[float, float, bool], ...]
    crossing_m: float
    crossed_m: float
    curve: float
    snow: bool
    seed: int


Widths = tuple[float, float, float, float, float, float]
_COUNTRY = ((_MIDDLE, 0.09, True), (_OWN_EDGE, 0.08, False), (_FAR_EDGE, 0.08, False))
_TOWN = ((_MIDDLE, 0.09, True), (_OWN_EDGE + 0.05, 0.07, True))
_HIGHWAY = (
    (_MIDDLE - 0.16, 0.08, False), (_MIDDLE + 0.16, 0.08, False), (1.5, 0.09, True),
    (-4.5, 0.09, True), (4.1, 0.1, False), (-6.3, 0.1, False),
)  # fmt: skip
_BORE = ((_MIDDLE, 0.09, False), (_OWN_EDGE, 0.09, False), (_FAR_EDGE, 0.09, False))
#: Asphalt, verge and wall, each left and right, and lane marks.
_WIDTHS: dict[Road, tuple[Widths, tuple[tuple[float, float, bool], ...]]] = {
    "winding road": ((-4.75, 1.9, -4.9, 4.3, -5.1, 4.5), _COUNTRY),
    "highway": ((-6.6, 4.4, -6.7, 4.5, -6.8, 4.7), _HIGHWAY),
    "tunnel": ((-4.9, 1.9, -5.6, 2.6, BORE_LEFT_M, BORE_RIGHT_M), _BORE),
    "city street": ((-5.0, 4.5, -5.2, 4.7, -6.6, 6.1), _TOWN),
    "crossroads": ((-4.9, 2.2, -5.1, 4.2, -6.2, 5.0), _COUNTRY),
}


def layout_of(clip: Clip) -> Layout:
    """How the road of a clip lies."""
    widths, lines = _WIDTHS[clip.road]
    bend = {"left": -1.0, "right": 1.0, "straight": 0.0}[clip.bend]
    crossing = crossed = 0.0
    if clip.road == "crossroads":
        crossing = _crossing_m(clip) - CROSSING_M / 2
        crossed = crossing + CROSSING_M
    snow = clip.outdoors and clip.weather == "snow"
    seed = clip.world_seed % 1_000_003
    return Layout(*widths, lines, crossing, crossed, bend / (2 * BEND_M), snow, seed)


def _crossing_m(clip: Clip) -> float:
    """Distance of a crossing road's middle: before the light, else where somebody crosses."""
    if clip.light is not None:
        return clip.light.distance_m - 1.5 - CROSSING_M / 2
    for agent in clip.agents:
        if agent.motion == "crossing":
            return agent.distance_m + 0.5
    return 10.0 + clip.speed_mps * CLIP_S / 2


def world_of(clip: Clip, layout: Layout, light: Light) -> npt.NDArray[np.void]:
    """What the compiled backdrop reads: WORLD [1]."""
    horizon = ground.TREE_LINE
    if clip.mountains:
        horizon = ground.MOUNTAINS
    elif clip.road in ("city street", "crossroads"):
        horizon = ground.SKYLINE
    sun = 9.0
    if light.sun:
        sun = 0.2 if clip.world_seed % 2 else -0.2
    world = np.zeros(1, ground.WORLD)
    for name in ("road_left", "road_right", "verge_left", "verge_right", "wall_left", "wall_right",
                 "snow"):  # fmt: skip
        world[name] = getattr(layout, name)
    for name in ("sky_top", "sky_low", "ambient", "headlights", "gain", "lit", "clouds"):
        world[name] = getattr(light, name)
    for name, colour in _palette(clip).items():
        world[name] = colour
    world["event_ambient"] = light.gain * luminance(light.ambient)
    world["event_haze"] = light.gain * luminance(light.sky_low)
    world["seed"] = layout.seed
    world["left"], world["right"] = _BESIDE[clip.left], _BESIDE[clip.right]
    world["crossing"] = clip.start_m + layout.crossing_m
    world["crossed"] = clip.start_m + layout.crossed_m
    world["horizon"], world["sun"], world["tunnel"] = horizon, sun, not clip.outdoors
    world["wet"] = clip.outdoors and clip.weather == "rain"
    world["haze"] = 1.0 / light.haze_m
    world["marks"] = len(layout.lines)
    world["lines"][0, : len(layout.lines)] = layout.lines
    return world


def air_of(light: Light) -> Air:
    """The light that falls on things, as the rasteriser takes it."""
    return Air(*light.ambient, light.headlights, 1.0 / light.haze_m, *light.sky_low, light.gain)


def _palette(clip: Clip) -> dict[str, RGB]:
    """Colours of the ground, wet or under snow, by their names in WORLD."""
    colours: dict[str, RGB] = {
        "asphalt": (92, 93, 96), "paint": (236, 236, 228), "shoulder": (136, 122, 102),
        "verge": (74, 108, 54), "field": (176, 158, 82), "pavement": (158, 154, 148),
        "rock": (92, 104, 128),
    }  # fmt: skip
    if not clip.outdoors:
        colours["shoulder"] = (120, 118, 112)
    elif clip.weather == "rain":
        dull = {name: (r * 0.8, g * 0.8, b * 0.8) for name, (r, g, b) in colours.items()}
        colours = {**dull, "asphalt": (58, 61, 68), "paint": colours["paint"]}
    elif clip.weather == "snow":
        colours |= {
            "asphalt": (142, 146, 152), "paint": (250, 250, 250), "shoulder": (236, 240, 246),
            "verge": (236, 240, 246), "field": (226, 230, 238), "pavement": (206, 210, 216),
        }  # fmt: skip
    return {name: linear(*colour) for name, colour in colours.items()}
