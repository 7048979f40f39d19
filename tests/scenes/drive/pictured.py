"""Clips for the tests of the picture, and what changes between two of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.drive.world import Agent, Clip, Colour, Kind, TrafficLight

SIZE = (56, 56)
EMPTY = Clip(
    "train-0001", 3, 4711, "city street", "straight", "trees", "buildings", False, "day", "clear",
    "slow", 40.0, 5.0, None, (),
)  # fmt: skip
LIGHT = TrafficLight("red", 14.0)


def ahead(
    kind: Kind = "car", colour: Colour = "red", distance_m: float = 8.0, closing_mps: float = 0.0
) -> Agent:
    return Agent(kind, colour, "ahead", "middle", distance_m, 0.0, closing_mps, 0.0)


def with_agents(*agents: Agent, clip: Clip = EMPTY) -> Clip:
    return replace(clip, agents=agents)


def rgb(clip: Clip, time_s: float = 0.5, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    return Camera(clip, size).look(time_s).rgb


def intensity(clip: Clip, time_s: float = 0.5) -> npt.NDArray[np.float32]:
    return Camera(clip, SIZE).look(time_s).intensity


def changed(
    a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8], by: int = 1
) -> npt.NDArray[np.bool_]:
    """bool [height, width]: where two pictures differ by at least so many steps."""
    far: npt.NDArray[np.bool_] = np.abs(a.astype(int) - b).max(axis=2) >= by
    return far
