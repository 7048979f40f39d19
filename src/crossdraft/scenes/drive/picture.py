"""What the cameras of the own car see of a planned clip: a picture, and light for the event sensor.

`Camera(clip, size).look(time_s)` draws one moment. The same clip and time give the same bytes:
nothing is drawn at random, all that varies is a hash of the drive and the place.
What the event sensor sees is drawn beside the colours, in a channel of its own in which all paints
are one and a traffic light looks the same in every state.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.drive.ground import backdrop
from crossdraft.scenes.drive.layout import air_of, layout_of, world_of
from crossdraft.scenes.drive.light import light_of
from crossdraft.scenes.drive.mesh import joined
from crossdraft.scenes.drive.raster import Canvas, View, develop, draw
from crossdraft.scenes.drive.roadside import roadside
from crossdraft.scenes.drive.vehicles import agent_polygons
from crossdraft.scenes.drive.weather import Fall
from crossdraft.scenes.drive.world import CLIP_S, Clip
from crossdraft.scenes.srgb import light_of_code

SMALLEST, LARGEST = 32, 256
#: Focal length in widths, and where the horizon lies in heights.
FOCAL, HORIZON = 1.1, 0.52
_STEPS = 8192


def _codes() -> npt.NDArray[np.uint8]:
    """The sRGB code of linear light in even steps; counted up, so that no rounding can differ."""
    bounds = [light_of_code(code + 0.5) for code in range(255)]
    return np.searchsorted(bounds, np.linspace(0.0, 1.0, _STEPS)).astype(np.uint8)


_CODES = _codes()


@dataclass(frozen=True)
class Picture:
    """One moment.

    Attributes:
        rgb: uint8 [height, width, 3], what the video camera sees.
        intensity: float32 [height, width], 0..1, linear light, what the event sensor sees: neither
            a paint nor which lamp of a traffic light burns shows in it.
    """

    rgb: npt.NDArray[np.uint8]
    intensity: npt.NDArray[np.float32]


class Camera:
    """Looks ahead from the own car while a clip lasts."""

    def __init__(self, clip: Clip, size: tuple[int, int]) -> None:
        """`size` is (width, height), each 32 to 256 pixels.

        Raises:
            InputError: another size.
        """
        width, height = size
        if not (SMALLEST <= width <= LARGEST and SMALLEST <= height <= LARGEST):
            raise InputError(
                f"a picture of {width}x{height} pixels",
                expected=f"{SMALLEST} to {LARGEST} pixels each way",
            )
        self.clip, self.size = clip, (width, height)
        layout, light = layout_of(clip), light_of(clip)
        self._curve, self._air = layout.curve, air_of(light)
        self._world = world_of(clip, layout, light)
        parts = [roadside(clip, layout, light.lit > 0)] if clip.outdoors else []
        parts += [
            agent_polygons(agent, owner, light.lit > 0, layout.snow)
            for owner, agent in enumerate(clip.agents, start=1)
        ]
        self._polygons = joined(parts) if parts else None
        self._fall = Fall.of(clip)
        self._canvas = Canvas(
            np.empty((4 * height, width, 4), np.float32), np.empty((4 * height, width), np.float32)
        )

    def look(self, time_s: float) -> Picture:
        """The picture `time_s` after the clip began.

        Raises:
            InputError: a time outside the clip.
        """
        if not 0.0 <= time_s <= CLIP_S:
            raise InputError(f"a look at {time_s} s", expected=f"0 to {CLIP_S} s into the clip")
        view = view_of(self.clip, self.size, self._curve, time_s)
        backdrop(self._canvas, view, self._world)
        if self._polygons is not None:
            draw(self._canvas, view, self._polygons, places_of(self.clip, time_s), self._air)
        if self._fall is not None:
            drops = self._fall.at(time_s)
            still = View(view.focal, view.centre, view.horizon, 0.0, 0.0, 0.0)
            draw(self._canvas, still, drops, np.zeros((1, 4)), self._air)
        width, height = self.size
        rgb = np.empty((height, width, 3), np.uint8)
        intensity = np.empty((height, width), np.float32)
        develop(self._canvas, _CODES, rgb, intensity)
        return Picture(rgb, intensity)


def view_of(clip: Clip, size: tuple[int, int], curve: float, time_s: float) -> View:
    """Where the camera looks; it trembles a little, so that standing edges give events too.

    Args:
        curve: as in `View`.
    """
    width, height = size
    focal = FOCAL * width
    clock, phase = clip.number * CLIP_S + time_s, float(clip.world_seed % 628) / 100
    pitch = math.sin(2 * math.pi * 3.1 * clock + phase)
    pitch += 0.5 * math.sin(2 * math.pi * 6.7 * clock + 2 * phase)
    yaw = math.sin(2 * math.pi * 2.3 * clock + 3 * phase)
    yaw += 0.5 * math.sin(2 * math.pi * 5.3 * clock + phase)
    travel = clip.speed_mps * time_s
    return View(
        focal,
        width / 2 + 0.0035 * focal * yaw,
        HORIZON * height + 0.0045 * focal * pitch,
        travel,
        clip.start_m + travel,
        curve,
    )


def places_of(clip: Clip, time_s: float) -> npt.NDArray[np.float64]:
    """float64 [owners, 4] as `raster.draw` takes them: the world, then each agent."""
    places = np.zeros((1 + len(clip.agents), 4))
    places[0, 2] = -clip.speed_mps * time_s
    clock = clip.number * CLIP_S + time_s
    for owner, agent in enumerate(clip.agents, start=1):
        lateral, distance = agent.at(time_s)
        sway = 0.03 * math.sin(2 * math.pi * 1.3 * clock + 2.1 * owner)
        bob = 0.015 * math.sin(2 * math.pi * 2.9 * clock + owner)
        stride = math.sin(2 * math.pi * 1.6 * clock + owner)
        places[owner] = (lateral + sway, bob, distance, stride)
    return places
