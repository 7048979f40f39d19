"""Rain and snow as they fall past the camera: streaks and flakes in a box of air ahead of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossdraft.scenes.drive.mesh import CORNERS, Polygons
from crossdraft.scenes.drive.world import CLIP_S, Clip

#: The box in metres: how wide, how high above the road, how deep; it begins a little ahead.
_BOX = np.array([7.0, 5.0, 9.0])
_BEGINS_M = 1.4


@dataclass(frozen=True)
class _Kind:
    """How many fall, how fast (m/s), how wide (m), how long a streak lasts (s), how opaque."""

    count: int
    down_mps: float
    wide_m: float
    streak_s: float
    opacity: float
    light: float


_RAIN = _Kind(80, 7.5, 0.014, 0.05, 0.32, 0.8)
_SNOW = _Kind(170, 1.4, 0.075, 0.0, 0.9, 0.95)


class Fall:
    """What falls during one clip."""

    def __init__(self, clip: Clip, kind: _Kind) -> None:
        self._clip, self._kind = clip, kind
        # A low-discrepancy sequence (Roberts' R3) spreads the drops evenly without chance.
        steps = np.arange(1, kind.count + 1)[:, None] + clip.world_seed % 1000
        self._starts = np.mod(steps * np.array([0.8191725, 0.6710436, 0.5497005]), 1.0) * _BOX

    @classmethod
    def of(cls, clip: Clip) -> Fall | None:
        """None where nothing falls, as in a tunnel."""
        if not clip.outdoors or clip.weather == "clear":
            return None
        return cls(clip, _RAIN if clip.weather == "rain" else _SNOW)

    def at(self, time_s: float) -> Polygons:
        """Drops as the camera sees them, x, y, z metres from below it."""
        kind, clip = self._kind, self._clip
        clock = clip.number * CLIP_S + time_s
        moved = np.array([0.0, -kind.down_mps * clock, -(clip.start_m + clip.speed_mps * time_s)])
        places = np.mod(self._starts + moved, _BOX)
        if kind.streak_s == 0.0:  # flakes drift
            places[:, 0] += 0.15 * np.sin(2.0 * clock + self._starts[:, 1] * 9.0)
        places += np.array([-_BOX[0] / 2, -0.2, _BEGINS_M])
        return self._polygons(places)

    def _polygons(self, places: npt.NDArray[np.float64]) -> Polygons:
        kind, n = self._kind, len(places)
        half = kind.wide_m / 2
        corners = np.repeat(places[:, None, :], CORNERS, axis=1)
        if kind.streak_s > 0.0:
            corners[:, 0, 0] -= half
            corners[:, 1, 0] += half
            tail = np.array([0.0, kind.down_mps, self._clip.speed_mps]) * kind.streak_s
            corners[:, 2] = corners[:, 1] + tail
            corners[:, 3] = corners[:, 0] + tail
        else:
            for corner, (x, y) in enumerate(((-half, 0), (0, -half), (half, 0), (0, half))):
                corners[:, corner, 0] += x
                corners[:, corner, 1] += y
        look = np.tile([0.03, kind.opacity, 0.0], (n, 1))
        return Polygons(
            corners,
            np.full(n, 4),
            np.full((n, 4), kind.light),
            look,
            np.zeros(n, np.int64),
        )
