"""How figures look: one palette, one type size, one way to save.

Colours are Okabe and Ito's (2008), told apart by colour-blind readers; lines differ in dash and
marker as well, so that a grey print still works.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Wide enough for a page; the type stays legible when the figure is printed at half width.
SIZE_INCHES = (9.0, 5.2)

_SETTINGS: dict[Any, Any] = {
    "font.size": 15,
    "axes.titlesize": 16,
    "axes.labelsize": 15,
    "legend.fontsize": 13,
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
    place = order.index(name)
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
def panels(path: Path, columns: int) -> Iterator[tuple[Figure, list[Axes]]]:
    """The same with several sets of axes side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with matplotlib.rc_context(_SETTINGS):
        width, height = SIZE_INCHES
        canvas, axes = pyplot.subplots(1, columns, figsize=(width * columns, height), squeeze=False)
        try:
            yield canvas, list(axes[0])
            with atomic_path(path) as temporary:
                canvas.savefig(temporary, dpi=150, metadata={"Software": None})
        finally:
            pyplot.close(canvas)
