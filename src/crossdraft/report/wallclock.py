"""The clock's verdict as RESULTS.md and figures: who answers how fast, with whose drafts.

The terminal shows the same numbers in narrower tables (`wallclock_tables`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_text
from crossdraft.report.markdown import markdown_table, provenance_lines
from crossdraft.report.wallclock_figures import draw_acceptance, draw_breakdown, draw_speedups
from crossdraft.report.wallclock_tables import (
    differences,
    main_table,
    passes,
    stages,
    tables,
)
from crossdraft.report.wallclock_timeline import draw_timeline
from crossdraft.report.wallclock_words import DEFINITIONS, headline, setting

__all__ = ["FIGURES", "TIMELINE", "describe", "results_markdown", "tables", "write_report"]

FIGURES = ("speedup_comparison.png", "timing_breakdown.png", "acceptance.png")
#: Drawn where the result holds an example.
TIMELINE = "timeline.png"


def write_report(result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the figures and write RESULTS.md from the content of result.json; the files written."""
    summary, *drawn = (folder / name for name in ("RESULTS.md", *FIGURES))
    for draw, path in zip((draw_speedups, draw_breakdown, draw_acceptance), drawn, strict=True):
        draw(result, path)
    if result.get("example") is not None:
        drawn.append(folder / TIMELINE)
        draw_timeline(result["example"], drawn[-1])
    write_text(summary, results_markdown(result))
    return [summary, *drawn]


def describe(result: Mapping[str, Any]) -> list[str]:
    """What was measured and what came out, in lines."""
    return [*setting(result), f"{headline(result)}."]


def results_markdown(result: Mapping[str, Any]) -> str:
    """RESULTS.md: headline, tables, figures, what to know, what words mean, provenance.

    Args:
        result: the content of result.json.
    """
    speedups, breakdown, acceptance = map(_picture, FIGURES)
    lines = ["# Drafting against the clock", "", f"**{headline(result)}.**", ""]
    lines += [*(f"- {said}" for said in setting(result)), ""]
    shown = [(main_table(result), speedups), (stages(result), breakdown)]
    shown += [(passes(result), acceptance)]
    for table, picture in shown:
        lines += [f"## {table.title}", "", *markdown_table(table.head, table.rows), ""]
        lines += [f"{table.note}.", "", picture, ""]
    if result.get("example") is not None:
        lines += ["## One answer", "", _picture(TIMELINE), ""]
    if (found := differences(result)) is not None:
        lines += [f"## {found.title}", "", *markdown_table(found.head, found.rows), ""]
        lines += [f"{found.note}.", ""]
    said = result["warnings"] or ["nothing to add"]
    lines += [
        "## Before using a number",
        "",
        *(f"- {sentence}" for sentence in said),
        "",
        "## What the words mean",
        "",
        *(f"- {word}: {meaning}" for word, meaning in DEFINITIONS.items()),
        "",
        *provenance_lines(result),
    ]
    return "\n".join(lines) + "\n"


def _picture(name: str) -> str:
    return f"![{name.removesuffix('.png').replace('_', ' ')}]({name})"
