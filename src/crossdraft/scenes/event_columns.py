"""The names under which files keep the four columns of an event stream."""

from __future__ import annotations

from collections.abc import Iterable

#: Column -> spellings met in files, our own first; compared without case.
SPELLINGS = {
    "x": ("x", "xs", "x_pos"),
    "y": ("y", "ys", "y_pos"),
    "t": ("t", "ts", "timestamp", "timestamps", "time", "times"),
    "p": ("p", "ps", "pol", "polarity", "polarities"),
}
EXPECTED = "the columns x, y, t and p (also as xs, timestamps, polarity and the like)"


def named_columns(names: Iterable[str]) -> dict[str, str] | None:
    """Map x, y, t, p to the names that hold them; None unless all four are there."""
    known = {name.lower(): name for name in names}
    found = {}
    for column, spellings in SPELLINGS.items():
        name = next((known[spelling] for spelling in spellings if spelling in known), None)
        if name is None:
            return None
        found[column] = name
    return found


def is_column(name: str) -> bool:
    """Whether this is a spelling of x, y, t or p."""
    return any(name.lower() in spellings for spellings in SPELLINGS.values())
