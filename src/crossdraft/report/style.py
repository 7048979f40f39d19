"""How figures look: one palette, one type size, one way to save.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers; lines differ in dash and
marker as well, so that a grey print still works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Wide enough for a page; the type stays legible when the figure is printed at half width.
SIZE_INCHES = (9.0, 5.2)

_LABEL_POINTS = 13

_SETTINGS: dict[Any, Any] = {
    "font.size": 15,
    "axes.titlesize": 16,
    "axes.labelsize": 15,
    "legend.fontsize": _LABEL_POINTS,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "crossdraft",
}
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_DASHES = ("-", "--", "-.", ":")
#: Controls keep their look in every figure, whatever runs beside them.
_FIXED = ("suffix", "position", "drafter-text", "drafter-text@shuffled", "none")


def look(name: str, others: list[str]) -> dict[str, Any]:
    """Colour, marker and dash of a drafter; `others` are all names in the figure."""
    order = [*_FIXED, *(other for other in others if other not in _FIXED)]
    return line(order.index(name))


def line(place: int) -> dict[str, Any]:
    """Colour, marker and dash of the line of this number."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": _DASHES[place % len(_DASHES)],
    }


@contextlib.contextmanager
def figure(path: Path) -> Iterator[tuple[Figure, Axes]]:
    """A figure with one set of axes, written to `path` atomically when the block ends.

    No window system is used and no time stamp written: the same result gives the same bytes.
    """
    with panels(path, 1) as (canvas, axes):
        yield canvas, axes[0]


@contextlib.contextmanager
def panels(path: Path, rows: int, columns: int = 1) -> Iterator[tuple[Figure, list[Axes]]]:
    """The same with several sets of axes, one below the other: the type keeps its size on a page.

    Args:
        rows, columns: how many; the figure grows with them. The axes come row by row.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(_SETTINGS):
        width, height = SIZE_INCHES
        size = (width * columns, height * rows)
        canvas, axes = pyplot.subplots(rows, columns, figsize=size, squeeze=False)
        try:
            yield canvas, list(axes.flat)
            with atomic_path(path) as temporary:
                canvas.savefig(temporary, dpi=150, metadata={"Software": None})
        finally:
            pyplot.close(canvas)


@dataclass(frozen=True)
class LineEnd:
    """Where a line ends on the right, and what it is; `x` None is the edge of the axes."""

    x: float | None
    y: float
    text: str
    colour: str


#: Distance of two labels as a share of the axes' height: one line of legend type and some air.
_LABEL_GAP = 0.075


def label_ends(axes: Axes, ends: Sequence[LineEnd]) -> None:
    """Name lines to the right of the axes, each joined to its line; no two names overlap.

    Nobody has to match dashes with a legend, also in grey. Call it when the limits are final.
    """
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    shares = [(end.y - low) / (high - low) for end in ends]
    mixed = axes.get_yaxis_transform()  # x as a share of the axes, y in data
    for end, place in zip(ends, spread(shares, _LABEL_GAP), strict=True):
        level = low + place * (high - low)
        if end.x is not None:
            axes.plot([end.x, right], [end.y, end.y], color=end.colour, linewidth=0.9)
        axes.plot(
            [1.0, 1.04], [end.y, level],
            transform=mixed, color=end.colour, linewidth=0.9, clip_on=False,
        )  # fmt: skip
        axes.text(1.05, level, end.text, transform=mixed, va="center", fontsize=_LABEL_POINTS)
    axes.set(xlim=(axes.get_xlim()[0], right), ylim=(low, high))


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places moved as little as possible (least squares) until they are `gap` apart.

    Args:
        places: shares of a height, in any order; the result keeps their order.
        gap: least distance. Where all fit, the result lies in 0..1.

    Returns:
        The moved places, in the order of `places`.
    """
    order = sorted(range(len(places)), key=lambda item: places[item])
    # Less `gap` for each one below, "gap apart" is "not falling": pool neighbours that fall.
    pools: list[list[float]] = []
    for rank, item in enumerate(order):
        pools.append([places[item] - rank * gap])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            pools[-2:] = [pools[-2] + pools[-1]]
    levels = [_mean(pool) for pool in pools for _ in pool]
    top = max(0.0, 1.0 - (len(places) - 1) * gap)
    moved = [0.0] * len(places)
    for rank, (item, level) in enumerate(zip(order, levels, strict=True)):
        moved[item] = min(max(level, 0.0), top) + rank * gap
    return moved


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
