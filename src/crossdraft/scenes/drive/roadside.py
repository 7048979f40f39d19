"""What stands beside the road as polygons: trees, bales, street lamps, sign bridges, the light.

Where each stands is a hash of the drive's seed and the place along the road, so that it is the
same tree in the next clip, nearer.
"""

from __future__ import annotations

from collections.abc import Iterator

from crossdraft.scenes.drive.layout import Layout
from crossdraft.scenes.drive.light import LAMP_LIGHT, LAMPS, Surface, linear, surface
from crossdraft.scenes.drive.mesh import Mesh, Polygons
from crossdraft.scenes.drive.pattern import hashed
from crossdraft.scenes.drive.world import Clip, TrafficLight

#: How far things beside the road are built, beyond what the clip drives.
SIGHT_M = 75.0
LEAVES = (surface(52, 96, 44), surface(74, 116, 48), surface(38, 82, 52))
BARK, STRAW, STEEL = surface(70, 52, 40), surface(206, 178, 96), surface(96, 100, 106)
SNOWY, SIGN, GLOW = surface(232, 237, 244), surface(24, 92, 168), surface(255, 226, 160)
HOUSING, OFF = surface(30, 31, 34), 0.035


def roadside(clip: Clip, layout: Layout, lit: bool) -> Polygons:
    """All that stands beside the road of a clip, z metres ahead of where it begins.

    Args:
        lit: whether street lamps burn.
    """
    mesh = Mesh(roof=SNOWY if layout.snow else None)
    for side, beside in ((-1, clip.left), (1, clip.right)):
        if beside == "trees":
            _trees(mesh, clip, layout, side)
        elif beside == "field":
            _bales(mesh, clip, layout, side)
        if clip.road == "city street":
            _street_lamps(mesh, clip, layout, side, lit)
    if clip.road == "highway":
        _sign_bridges(mesh, clip, layout)
    if clip.light is not None:
        _traffic_light(mesh, clip.light)
    return mesh.polygons()


def _spots(clip: Clip, layout: Layout, step_m: float) -> Iterator[tuple[int, float]]:
    """Number and distance ahead of things that stand every `step_m`, a crossing road spared."""
    number = int(clip.start_m // step_m)
    while (ahead := number * step_m - clip.start_m) < SIGHT_M + clip.speed_mps:
        inside = layout.crossing_m - 2.5 < ahead < layout.crossed_m + 2.5
        if not (layout.crossed_m > layout.crossing_m and inside):
            yield number, ahead
        number += 1


def _trees(mesh: Mesh, clip: Clip, layout: Layout, side: int) -> None:
    edge = layout.wall_right if side > 0 else layout.wall_left
    for number, ahead in _spots(clip, layout, 4.5):
        seed = layout.seed + side
        place = ahead + 2.0 * hashed(number, 1, seed)
        x = edge + side * (0.2 + 1.6 * hashed(number, 2, seed))
        height = 4.2 + 2.6 * hashed(number, 3, seed)
        leaf = LEAVES[int(3 * hashed(number, 4, seed))]
        _tree(mesh, place, x, height, SNOWY if layout.snow else leaf, leaf)
        if number % 2:  # a second row behind
            _tree(mesh, place + 1.5, x + side * 4.0, 1.2 * height, leaf, leaf)


def _tree(mesh: Mesh, z: float, x: float, height: float, crown: Surface, leaf: Surface) -> None:
    mesh.box((z - 0.13, z + 0.13), (x - 0.15, x + 0.15), (0.0, 0.5 * height), BARK)
    dark: Surface = (leaf[0] * 0.5, leaf[1] * 0.5, leaf[2] * 0.5, leaf[3] * 0.5)
    r = 0.27 * height
    mesh.disc((z, x, 0.62 * height), r, dark, stretch=1.1)
    mesh.disc((z - 0.15, x - 0.45 * r, 0.55 * height), 0.55 * r, leaf)
    mesh.disc((z - 0.2, x + 0.4 * r, 0.66 * height), 0.55 * r, crown)
    mesh.disc((z - 0.25, x - 0.1 * r, 0.82 * height), 0.5 * r, crown)


def _bales(mesh: Mesh, clip: Clip, layout: Layout, side: int) -> None:
    edge = layout.wall_right if side > 0 else layout.wall_left
    for number, ahead in _spots(clip, layout, 9.0):
        seed = layout.seed + 10 * side
        if hashed(number, 5, seed) < 0.7:
            place = ahead + 5.0 * hashed(number, 6, seed)
            x = edge + side * (0.5 + 5.0 * hashed(number, 7, seed))
            mesh.disc((place, x, 0.75), 0.75, SNOWY if layout.snow else STRAW)
            mesh.disc((place - 0.02, x, 0.72), 0.4, BARK)


def _street_lamps(mesh: Mesh, clip: Clip, layout: Layout, side: int, lit: bool) -> None:
    x = layout.verge_right + 0.35 if side > 0 else layout.verge_left - 0.35
    for number, ahead in _spots(clip, layout, 15.0):
        z = ahead + 7.0 * (number % 2 if side > 0 else 1 - number % 2)
        mesh.box((z - 0.08, z + 0.08), (x - 0.09, x + 0.09), (0.0, 4.6), STEEL)
        mesh.box(
            (z - 0.08, z + 0.08),
            (min(x, x - side * 1.1), max(x, x - side * 1.1)),
            (4.5, 4.64),
            STEEL,
        )
        head = (z - 0.1, x - side * 1.1, 4.45)
        mesh.disc(head, 0.26, GLOW, glow=1.0 if lit else 0.0, stretch=0.6)
        if lit:
            mesh.disc(head, 0.8, GLOW, glow=1.0, opacity=0.25)


def _sign_bridges(mesh: Mesh, clip: Clip, layout: Layout) -> None:
    left, right = layout.wall_left, layout.wall_right
    for _, z in _spots(clip, layout, 48.0):
        for x in (left, right):
            mesh.box((z - 0.15, z + 0.15), (x - 0.18, x + 0.18), (0.0, 6.2), STEEL)
        mesh.box((z - 0.15, z + 0.15), (left, right), (5.9, 6.3), STEEL)
        for middle in (-4.5, 0.6):
            mesh.box((z - 0.3, z - 0.2), (middle - 1.9, middle + 1.9), (4.5, 6.6), SIGN)
            board = mesh.box((z - 0.34, z - 0.3), (middle - 1.7, middle + 1.7), (4.7, 6.4), SIGN)
            mesh.panel(board.rear, (0.1, 0.7), (0.58, 0.78), SNOWY, glow=0.3)
            mesh.panel(board.rear, (0.1, 0.9), (0.22, 0.42), SNOWY, glow=0.3)


def _traffic_light(mesh: Mesh, light: TrafficLight) -> None:
    """Its lamps are larger than life, so that a small picture still shows which one burns."""
    z, x = light.distance_m, 2.95
    mesh.box((z + 0.1, z + 0.26), (x - 0.1, x + 0.1), (0.0, 2.8), STEEL)
    mesh.box((z, z + 0.3), (x - 0.5, x + 0.5), (2.8, 5.45), HOUSING)
    rim = surface(190, 190, 190)
    for across in (x - 0.5, x + 0.44):
        mesh.box((z - 0.02, z), (across, across + 0.06), (2.8, 5.45), rim)
    for up in (2.8, 5.39):
        mesh.box((z - 0.02, z), (x - 0.5, x + 0.5), (up, up + 0.06), rim)
    for up, state in zip((5.0, 4.13, 3.26), LAMPS, strict=True):
        red, green, blue = linear(*LAMPS[state])
        dim = 1.0 if state == light.state else OFF
        lamp: Surface = (dim * red, dim * green, dim * blue, LAMP_LIGHT)
        # Lit or not, lamp and halo are the same light to the event sensor.
        mesh.disc((z - 0.04, x, up), 0.39, lamp, glow=1.0)
        mesh.disc((z - 0.06, x, up), 0.6, lamp, glow=1.0, opacity=0.25)
