"""Building things from flat polygons: panels, boxes, discs, each in one colour.

A thing is built along its own axes (`along` from its rear, `across` to its right, `up`), turned the
way it heads, and handed to `raster` as arrays. Places in metres; z is ahead of the camera, x right
of the own lane's middle line (before the road bends), y above the road.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crossdraft.scenes.drive.light import Surface

Point = tuple[float, float, float]
#: Turns (along, across, up) of a thing into (x, y, z).
Turn = Callable[[float, float, float], Point]
#: Corners of a polygon at most.
CORNERS = 8
#: How far a panel stands out, so that it wins against the face it lies on.
_PROUD_M = 0.015
WHOLE = 0
STEP_LEFT, STEP_RIGHT = 1, -1


class Polygons(NamedTuple):
    """Polygons as the rasteriser reads them.

    Attributes:
        corners: float64 [n, 8, 3] x, y, z in metres.
        used: int64 [n] corners in use.
        colours: float64 [n, 4] linear red, green, blue, and what the event sensor sees.
        look: float64 [n, 3] share that glows by itself, opacity, sign of the leg it belongs to.
        owner: int64 [n] whose place moves it.
    """

    corners: npt.NDArray[np.float64]
    used: npt.NDArray[np.int64]
    colours: npt.NDArray[np.float64]
    look: npt.NDArray[np.float64]
    owner: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Box:
    """Faces of a box, each as four corners: bottom left, bottom right, top right, top left."""

    rear: tuple[Point, ...]
    front: tuple[Point, ...]
    left: tuple[Point, ...]
    right: tuple[Point, ...]
    top: tuple[Point, ...]


def as_is(along: float, across: float, up: float) -> Point:
    """Heads away from the camera."""
    return across, up, along


class Mesh:
    """Polygons of one owner, collected one by one."""

    def __init__(self, owner: int = 0, turn: Turn = as_is, roof: Surface | None = None) -> None:
        """`roof` is what lies on every top face, such as snow."""
        self.owner, self.turn, self.roof = owner, turn, roof
        self._corners: list[list[Point]] = []
        self._colours: list[Surface] = []
        self._look: list[tuple[float, float, float]] = []

    def polygon(
        self,
        points: Sequence[Point],
        colour: Surface,
        shade: float = 1.0,
        glow: float = 0.0,
        opacity: float = 1.0,
        step: int = WHOLE,
    ) -> None:
        """A convex polygon of (along, across, up) corners."""
        turned = [self.turn(*point) for point in points]
        self._corners.append(turned + [turned[0]] * (CORNERS - len(turned)))
        red, green, blue, i = colour
        self._colours.append((red * shade, green * shade, blue * shade, i * shade))
        self._look.append((glow, opacity, float(step)))

    def box(
        self,
        along: tuple[float, float],
        across: tuple[float, float],
        up: tuple[float, float],
        colour: Surface,
        top: tuple[float, float, float] | None = None,
        step: int = WHOLE,
    ) -> Box:
        """A box, narrower at its top where `top` says (rear, front, side, in metres)."""
        (l0, l1), (w0, w1), (y0, y1) = along, across, up
        rear, front, side = top or (0.0, 0.0, 0.0)
        a, b = l0 + rear, l1 - front
        low = [(l0, w0, y0), (l0, w1, y0), (l1, w1, y0), (l1, w0, y0)]
        high = [(a, w0 + side, y1), (a, w1 - side, y1), (b, w1 - side, y1), (b, w0 + side, y1)]
        box = Box(
            rear=(low[0], low[1], high[1], high[0]),
            front=(low[2], low[3], high[3], high[2]),
            left=(low[3], low[0], high[0], high[3]),
            right=(low[1], low[2], high[2], high[1]),
            top=(high[0], high[1], high[2], high[3]),
        )
        shades = ((box.rear, 1.0), (box.front, 1.0), (box.left, 0.72), (box.right, 0.72))
        for face, shade in shades:
            self.polygon(face, colour, shade, step=step)
        self.polygon(box.top, self.roof or colour, 1.15, step=step)
        return box

    def panel(
        self,
        face: tuple[Point, ...],
        across: tuple[float, float],
        up: tuple[float, float],
        colour: Surface,
        glow: float = 0.0,
    ) -> None:
        """Part of a box's face, as shares of its width and height, a little in front of it."""
        corners = np.asarray(face)
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        # Along axes (along, across, up), a face seen from outside runs clockwise.
        proud = -_PROUD_M * normal / max(float(np.linalg.norm(normal)), 1e-9)
        points: list[Point] = []
        for a, b in ((across[0], up[0]), (across[1], up[0]), (across[1], up[1]),
                     (across[0], up[1])):  # fmt: skip
            low = corners[0] * (1 - a) + corners[1] * a
            high = corners[3] * (1 - a) + corners[2] * a
            along, right, height = (low * (1 - b) + high * b + proud).tolist()
            points.append((along, right, height))
        self.polygon(points, colour, glow=glow)

    def disc(
        self,
        centre: Point,
        radius: float,
        colour: Surface,
        sideways: bool = False,
        glow: float = 0.0,
        opacity: float = 1.0,
        stretch: float = 1.0,
    ) -> None:
        """An upright eight-cornered disc: seen from behind, or `sideways` from its side."""
        along, across, up = centre
        points: list[Point] = []
        for corner in range(CORNERS):
            angle = math.pi * (2 * corner + 1) / CORNERS
            flat, high = radius * math.cos(angle), radius * stretch * math.sin(angle)
            points.append(
                (along + flat, across, up + high) if sideways else (along, across + flat, up + high)
            )
        self.polygon(points, colour, glow=glow, opacity=opacity)

    def polygons(self) -> Polygons:
        """What was collected, as arrays."""
        n = len(self._corners)
        corners = np.array(self._corners, np.float64).reshape(n, CORNERS, 3)
        used = [len(dict.fromkeys(points)) for points in self._corners]
        return Polygons(
            corners,
            np.array(used, np.int64),
            np.array(self._colours, np.float64).reshape(n, 4),
            np.array(self._look, np.float64).reshape(n, 3),
            np.full(n, self.owner, np.int64),
        )


def joined(parts: Sequence[Polygons]) -> Polygons:
    """All polygons in order; what lets light through goes last, as it must be drawn last."""
    opacity = np.concatenate([part.look[:, 1] for part in parts])
    order = np.argsort(opacity < 1.0, kind="stable")
    return Polygons(
        np.concatenate([part.corners for part in parts])[order],
        np.concatenate([part.used for part in parts])[order],
        np.concatenate([part.colours for part in parts])[order],
        np.concatenate([part.look for part in parts])[order],
        np.concatenate([part.owner for part in parts])[order],
    )
