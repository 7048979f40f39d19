"""Cars, trucks and buses, and which way each agent heads.

Shapes are a little larger than life in what tells them apart: a truck's tall box over bare wheels,
a bus's rows of windows, a car's low cabin. Lamps look the same whatever the paint.
"""

from __future__ import annotations

from crossdraft.scenes.drive.light import Surface, paint, surface
from crossdraft.scenes.drive.mesh import Mesh, Point, Polygons, Turn, as_is
from crossdraft.scenes.drive.riders import RIDERS
from crossdraft.scenes.drive.world import SIZE_M, Agent, Kind

GLASS, TYRE, TRIM = surface(38, 46, 58), surface(22, 22, 24), surface(52, 52, 56)
PLATE, HEADLAMP = surface(225, 222, 205), surface(255, 246, 222)
TAIL = surface(205, 12, 16)
STRIPE = surface(236, 236, 232)
SNOW = surface(238, 242, 248)
#: People are drawn a little larger than life.
_LARGER: dict[Kind, float] = {"motorcycle": 1.15, "bicycle": 1.15, "person": 1.15}


def agent_polygons(agent: Agent, owner: int, lit: bool, snow: bool) -> Polygons:
    """An agent as seen from the own car, standing at x = 0 with its nearest face at z = 0.

    Args:
        lit: whether its lamps burn.
        snow: whether snow lies on roofs.
    """
    mesh = Mesh(owner, _grown(agent), SNOW if snow else None)
    coat = paint(agent.colour)
    if agent.kind == "car":
        _car(mesh, coat, lit)
    elif agent.kind == "truck":
        _truck(mesh, coat, lit)
    elif agent.kind == "bus":
        _bus(mesh, coat, lit)
    else:
        RIDERS[agent.kind](mesh, coat, lit, agent.motion == "crossing")
    scale = _LARGER.get(agent.kind, 1.0)
    length, width = (side / scale for side in SIZE_M[agent.kind])
    shadow: list[Point] = [
        (0.0, -width / 2, 0.02), (0.0, width / 2, 0.02),
        (length, width / 2, 0.02), (length, -width / 2, 0.02),
    ]  # fmt: skip
    mesh.polygon(shadow, (0.0, 0.0, 0.0, 0.0), opacity=0.55)
    return mesh.polygons()


def _grown(agent: Agent) -> Turn:
    turn, scale = _heading(agent), _LARGER.get(agent.kind, 1.0)
    return lambda along, across, up: turn(along * scale, across * scale, up * scale)


def _heading(agent: Agent) -> Turn:
    length, width = SIZE_M[agent.kind]
    if agent.motion == "crossing":
        if agent.drift_mps >= 0:
            return lambda along, across, up: (along - length / 2, up, width / 2 - across)
        return lambda along, across, up: (length / 2 - along, up, width / 2 + across)
    if agent.motion == "oncoming":
        return lambda along, across, up: (-across, up, length - along)
    return as_is


def _wheels(mesh: Mesh, places: tuple[float, ...], half: float, radius: float) -> None:
    """Wheels on both sides, and tyres as seen from behind and in front."""
    for along in places:
        for side in (-1.0, 1.0):
            mesh.disc((along, side * (half + 0.02), radius), radius, TYRE, sideways=True)
            mesh.disc((along, side * (half + 0.035), radius), 0.5 * radius, PLATE, sideways=True)
            inner = side * (half - 0.28)
            across = (min(inner, side * half), max(inner, side * half))
            mesh.box((along - radius * 0.8, along + radius * 0.8), across, (0.0, radius), TYRE)


def lamps(
    mesh: Mesh, along: float, half: float, up: float, radius: float, colour: Surface, lit: bool
) -> None:
    """A pair of lamps, or one where `half` is 0, with a halo where they burn."""
    for side in (-1.0, 1.0) if half else (0.0,):
        centre = (along, side * half, up)
        mesh.disc(centre, radius, colour, glow=1.0 if lit else 0.25)
        if lit:
            mesh.disc(centre, 1.7 * radius, colour, glow=1.0, opacity=0.3)


def _car(mesh: Mesh, coat: Surface, lit: bool) -> None:
    body = mesh.box((0.0, 3.9), (-0.9, 0.9), (0.26, 0.86), coat, top=(0.06, 0.12, 0.05))
    cabin = mesh.box((0.1, 2.95), (-0.8, 0.8), (0.86, 1.46), coat, top=(0.4, 0.75, 0.16))
    _wheels(mesh, (0.72, 3.1), 0.9, 0.33)
    mesh.panel(cabin.rear, (0.1, 0.9), (0.12, 0.86), GLASS)
    mesh.panel(cabin.front, (0.07, 0.93), (0.06, 0.92), GLASS)
    for face in (cabin.left, cabin.right):
        mesh.panel(face, (0.1, 0.48), (0.1, 0.84), GLASS)
        mesh.panel(face, (0.53, 0.9), (0.1, 0.84), GLASS)
    mesh.panel(body.rear, (0.0, 1.0), (0.0, 0.24), TRIM)
    mesh.panel(body.rear, (0.36, 0.64), (0.3, 0.58), PLATE)
    mesh.panel(body.front, (0.0, 1.0), (0.0, 0.22), TRIM)
    mesh.panel(body.front, (0.3, 0.7), (0.34, 0.7), TRIM)
    lamps(mesh, -0.03, 0.72, 0.68, 0.12, TAIL, lit)
    lamps(mesh, 3.93, 0.66, 0.62, 0.15, HEADLAMP, lit)


def _truck(mesh: Mesh, coat: Surface, lit: bool) -> None:
    mesh.box((0.1, 5.5), (-0.6, 0.6), (0.45, 0.8), TYRE)
    load = mesh.box((0.0, 4.0), (-1.15, 1.15), (0.82, 3.1), coat)
    cab = mesh.box((4.25, 5.6), (-1.05, 1.05), (0.5, 2.45), coat, top=(0.0, 0.22, 0.06))
    _wheels(mesh, (0.75, 4.75), 1.08, 0.47)
    for face in (load.left, load.right):
        mesh.panel(face, (0.03, 0.97), (0.0, 0.05), STRIPE)
        for rib in (0.25, 0.5, 0.75):
            mesh.panel(face, (rib - 0.012, rib + 0.012), (0.06, 0.97), TRIM)
    mesh.panel(load.rear, (0.47, 0.53), (0.04, 0.97), TRIM)
    mesh.panel(load.rear, (0.03, 0.97), (0.93, 0.99), STRIPE)
    for hinge in (0.36, 0.66):
        mesh.panel(load.rear, (0.06, 0.94), (hinge, hinge + 0.03), TRIM)
    bumper = mesh.box((-0.04, 0.1), (-1.1, 1.1), (0.5, 0.8), TRIM)
    mesh.panel(bumper.rear, (0.4, 0.6), (0.2, 0.85), PLATE)
    mesh.panel(cab.front, (0.08, 0.92), (0.52, 0.9), GLASS)
    mesh.panel(cab.front, (0.2, 0.8), (0.18, 0.42), TRIM)
    mesh.panel(cab.front, (0.0, 1.0), (0.0, 0.12), TRIM)
    for face in (cab.left, cab.right):
        mesh.panel(face, (0.2, 0.75), (0.52, 0.88), GLASS)
    lamps(mesh, -0.06, 0.88, 0.66, 0.13, TAIL, lit)
    lamps(mesh, 5.63, 0.78, 0.78, 0.16, HEADLAMP, lit)


def _bus(mesh: Mesh, coat: Surface, lit: bool) -> None:
    body = mesh.box((0.0, 6.2), (-1.15, 1.15), (0.32, 2.85), coat, top=(0.08, 0.06, 0.1))
    _wheels(mesh, (1.2, 4.9), 1.13, 0.44)
    for face in (body.left, body.right):
        for window in range(5):
            left = 0.04 + 0.19 * window
            mesh.panel(face, (left, left + 0.16), (0.5, 0.86), GLASS)
        mesh.panel(face, (0.0, 1.0), (0.36, 0.42), STRIPE)
    mesh.panel(body.rear, (0.1, 0.9), (0.52, 0.86), GLASS)
    mesh.panel(body.rear, (0.0, 1.0), (0.36, 0.42), STRIPE)
    mesh.panel(body.rear, (0.3, 0.7), (0.08, 0.26), TRIM)
    mesh.panel(body.front, (0.05, 0.95), (0.34, 0.82), GLASS)
    mesh.panel(body.front, (0.2, 0.8), (0.86, 0.97), STRIPE, glow=0.3)
    mesh.panel(body.front, (0.0, 1.0), (0.0, 0.1), TRIM)
    lamps(mesh, -0.03, 0.96, 0.62, 0.14, TAIL, lit)
    lamps(mesh, 6.23, 0.92, 0.7, 0.16, HEADLAMP, lit)
