"""Tables that fit a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; two-word titles and intervals stand on two lines: side by side they fit no
    terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for place, title in enumerate(head):
        table.add_column(
            title.replace(" ", "\n", 1), justify="left" if place == 0 else "right", no_wrap=True
        )
    for row in rows:
        table.add_row(*(_two_lines(text) for text in row))
    Console().print(table)


def _two_lines(text: str) -> str:
    """`1.23 [1.00, 1.50]` as the value above its interval, `drafter@twin` as two words."""
    return text.replace(" [", "\n").replace(", ", "–").rstrip("]").replace("@", "\n  @")
