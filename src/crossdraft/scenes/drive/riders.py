"""People: on a motorcycle, on a bicycle, on foot.

What carries the paint: the motorcycle and its rider's jacket, the bicycle and its rider's shirt,
the coat of one on foot.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from crossdraft.scenes.drive.light import Surface, surface
from crossdraft.scenes.drive.mesh import STEP_LEFT, STEP_RIGHT, WHOLE, Mesh
from crossdraft.scenes.drive.world import Kind

SKIN, HAIR, TROUSERS = surface(224, 172, 140), surface(58, 42, 34), surface(34, 36, 48)
RUBBER, METAL, HELMET = surface(20, 20, 22), surface(150, 152, 156), surface(235, 235, 232)
TAIL, HEADLAMP = surface(205, 12, 16), surface(255, 246, 222)


def _legs(
    mesh: Mesh, along: float, gap: float, up: tuple[float, float], width: float, moves: bool
) -> None:
    for side, step in ((-1.0, STEP_LEFT), (1.0, STEP_RIGHT)):
        inner, outer = side * gap, side * (gap + width)
        across = (min(inner, outer), max(inner, outer))
        mesh.box(
            (along - 0.11, along + 0.11), across, up, TROUSERS,
            step=step if moves else WHOLE,
        )  # fmt: skip


def _head(mesh: Mesh, along: float, up: float, radius: float, colour: Surface) -> None:
    """A ball, as two discs that cross."""
    mesh.disc((along - 0.02, 0.0, up), radius, colour, stretch=1.15)
    mesh.disc((along, 0.0, up), radius, colour, sideways=True, stretch=1.15)


def _lamp(mesh: Mesh, along: float, up: float, radius: float, colour: Surface, lit: bool) -> None:
    mesh.disc((along, 0.0, up), radius, colour, glow=1.0 if lit else 0.25)
    if lit:
        mesh.disc((along, 0.0, up), 1.9 * radius, colour, glow=1.0, opacity=0.35)


def _person(mesh: Mesh, coat: Surface, lit: bool, moves: bool) -> None:
    _legs(mesh, 0.2, 0.04, (0.0, 0.86), 0.18, moves)
    mesh.box((0.0, 0.4), (-0.31, 0.31), (0.82, 1.52), coat, top=(0.04, 0.04, 0.06))
    for side in (-1.0, 1.0):
        across = sorted((side * 0.32, side * 0.44))
        mesh.box((0.13, 0.27), (across[0], across[1]), (0.8, 1.42), coat)
    _head(mesh, 0.2, 1.68, 0.14, SKIN)
    mesh.disc((0.16, 0.0, 1.78), 0.13, HAIR, stretch=0.55)


def _motorcycle(mesh: Mesh, coat: Surface, lit: bool, moves: bool) -> None:
    for along in (0.36, 1.72):
        mesh.box((along - 0.3, along + 0.3), (-0.1, 0.1), (0.02, 0.64), RUBBER,
                 top=(0.12, 0.12, 0.0))  # fmt: skip
        for side in (-0.11, 0.11):
            mesh.disc((along, side, 0.34), 0.34, RUBBER, sideways=True)
            mesh.disc((along, 1.1 * side, 0.34), 0.15, METAL, sideways=True)
    mesh.box((0.45, 1.75), (-0.2, 0.2), (0.42, 0.92), coat, top=(0.0, 0.35, 0.03))
    for side in (-1.0, 1.0):  # panniers and boots
        across = sorted((side * 0.2, side * 0.46))
        mesh.box((0.05, 0.7), (across[0], across[1]), (0.42, 0.84), coat)
        across = sorted((side * 0.2, side * 0.34))
        mesh.box((0.95, 1.2), (across[0], across[1]), (0.2, 0.95), TROUSERS)
    mesh.box((0.6, 1.0), (-0.3, 0.3), (0.88, 1.48), coat, top=(0.1, -0.1, 0.04))
    mesh.box((1.25, 1.35), (-0.46, 0.46), (1.0, 1.1), RUBBER)
    mesh.box((1.5, 1.62), (-0.22, 0.22), (0.85, 1.25), RUBBER, top=(0.0, 0.06, 0.06))
    _head(mesh, 0.9, 1.66, 0.18, HELMET)
    _lamp(mesh, -0.02, 0.7, 0.11, TAIL, lit)
    _lamp(mesh, 1.8, 0.92, 0.15, HEADLAMP, lit)


def _tube(mesh: Mesh, low: tuple[float, float], high: tuple[float, float], tint: Surface) -> None:
    """A tube of the frame between two (along, up) places, seen from the side."""
    mesh.polygon(
        [(low[0], 0.0, low[1] - 0.04), (high[0], 0.0, high[1] - 0.04),
         (high[0], 0.0, high[1] + 0.04), (low[0], 0.0, low[1] + 0.04)], tint,
    )  # fmt: skip


def _bicycle(mesh: Mesh, coat: Surface, lit: bool, moves: bool) -> None:
    for along in (0.35, 1.45):
        if not moves:  # from behind a wheel is a thin upright line
            mesh.box((along - 0.3, along + 0.3), (-0.045, 0.045), (0.0, 0.7), RUBBER)
        _ring(mesh, along, 0.36)
    for low, high in (((0.35, 0.36), (0.62, 0.9)), ((0.35, 0.36), (0.8, 0.33)),
                      ((0.8, 0.33), (1.3, 0.82)), ((0.66, 0.8), (1.3, 0.86)),
                      ((0.8, 0.33), (0.6, 0.95)), ((1.45, 0.36), (1.28, 1.02))):  # fmt: skip
        _tube(mesh, low, high, coat)
    _legs(mesh, 0.74, 0.1, (0.22, 0.98), 0.13, moves)
    mesh.box((0.5, 0.8), (-0.24, 0.24), (0.92, 1.5), coat, top=(0.22, -0.22, 0.0))
    for side in (-1.0, 1.0):  # arms reach out to a wide handlebar
        mesh.polygon([(0.8, side * 0.2, 1.46), (0.8, side * 0.34, 1.46), (1.22, side * 0.52, 1.04),
                      (1.22, side * 0.4, 1.02)], coat)  # fmt: skip
    mesh.box((1.22, 1.28), (-0.54, 0.54), (1.0, 1.07), RUBBER)
    _head(mesh, 0.9, 1.68, 0.14, SKIN)
    mesh.disc((0.86, 0.0, 1.77), 0.15, HAIR, stretch=0.6)
    _lamp(mesh, 0.0, 0.62, 0.06, TAIL, lit)
    _lamp(mesh, 1.5, 0.95, 0.07, HEADLAMP, lit)


def _ring(mesh: Mesh, along: float, radius: float) -> None:
    """A wheel seen from the side: eight pieces of tyre, with air between the spokes."""

    def rim(corner: int, r: float) -> tuple[float, float, float]:
        angle = math.pi * corner / 4
        return along + r * math.cos(angle), 0.0, radius + r * math.sin(angle)

    for corner in range(8):
        inner = 0.78 * radius
        mesh.polygon(
            [rim(corner, radius), rim(corner + 1, radius), rim(corner + 1, inner),
             rim(corner, inner)], RUBBER,
        )  # fmt: skip


#: Builds one of a kind: mesh, paint, whether lamps burn, whether it walks.
RIDERS: dict[Kind, Callable[[Mesh, Surface, bool, bool], None]] = {
    "person": _person, "motorcycle": _motorcycle, "bicycle": _bicycle,
}  # fmt: skip
