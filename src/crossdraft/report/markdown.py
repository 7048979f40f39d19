"""Pieces of Markdown that every report uses: tables, values with intervals, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def cell(estimate: Mapping[str, float | None], scale: float = 1, digits: int = 2) -> str:
    """`1.23 [1.00, 1.50]`, without brackets where there is no interval, a dash without a value."""
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    text = f"{scale * value:.{digits}f}"
    if low is None or high is None:
        return text
    return f"{text} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def provenance_lines(result: Mapping[str, Any]) -> list[str]:
    """Section that says when, with what and from what a result was made."""
    origin = result["provenance"]
    return [
        "## Provenance",
        "",
        f"- made {origin['created']} by `{' '.join(origin['command_line'])}`",
        f"- on {origin['machine']['cores']} cores of {origin['machine']['cpu']}, "
        f"python {origin['machine']['python']}",
        f"- source revision {origin['git_revision'] or 'unknown'}, "
        + ", ".join(f"{name} {number}" for name, number in origin["packages"].items()),
        *(f"- input {item['path']}, sha256 {item['sha256']}" for item in origin["inputs"]),
    ]
