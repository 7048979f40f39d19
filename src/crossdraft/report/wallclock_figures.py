"""Figures of timed answers: speed-ups, where the time goes, how deep drafts were accepted."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.report import style
from crossdraft.report.wallclock_tables import stage_names
from crossdraft.report.wallclock_words import marks_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colour and hatch of a stage, the same in every figure; a hatch tells greys apart.
STAGE_LOOKS = {
    "sensor": ("#56B4E9", ""),
    "render": ("#56B4E9", "xx"),
    "pixels": ("#56B4E9", "//"),
    "vision": ("#009E73", ""),
    "prefill": ("#0072B2", ""),
    "decode": ("#BBBBBB", ""),
    "verify": ("#E69F00", ""),
    "draft": ("#CC79A7", ""),
    "commit": ("#8C6D31", ""),
    "event model": ("#D55E00", "//"),
    "read": ("#56B4E9", ".."),
    "other": ("#FFFFFF", ".."),
}
#: In a bar of the answer's time it is no work of that model.
_WAITED = {"event model": "event model, waited for"}
_ROW_INCHES, _AROUND_INCHES = 0.46, 2.6
_NAME_POINTS, _NAME_LETTERS = 13, 34


def stage_look(name: str) -> dict[str, Any]:
    """How a bar of this stage is drawn."""
    colour, hatch = STAGE_LOOKS.get(name, STAGE_LOOKS["other"])
    return {"facecolor": colour, "hatch": hatch, "edgecolor": "black", "linewidth": 0.5}


def draw_speedups(result: Mapping[str, Any], path: Path) -> None:
    """Speed-up over the baseline with its interval; a note where there is none."""
    rows = result["configurations"]
    with style.figure(path) as (figure, axes):
        figure.set_size_inches(style.SIZE_INCHES[0], _height(len(rows)))
        ends = [_draw_speedup(axes, place, row) for place, row in enumerate(rows)]
        axes.axvline(1.0, color="black", linestyle="--", linewidth=1.2)
        axes.set(
            title=f"Speed-up over {result['baseline']}, {result['answers']} answers\n"
            "95 % interval over drives; dashed: as fast",
            xlabel="times as fast, to the last token",
            xlim=(0, max([1.0, *ends]) * 1.18),
        )
        _name_rows(axes, [row["name"] for row in rows])
        _legend_of_marks(figure, rows)


def draw_breakdown(result: Mapping[str, Any], path: Path) -> None:
    """Stacked stages, total behind each bar."""
    rows = result["configurations"]
    names = stage_names(result)
    with style.figure(path) as (figure, axes):
        figure.set_size_inches(style.SIZE_INCHES[0], _height(len(rows)) + 0.5)
        left = [0.0] * len(rows)
        for name in names:
            width = [row["stages_ms"].get(name, 0.0) for row in rows]
            axes.barh(range(len(rows)), width, left=left, height=0.66,
                      label=_WAITED.get(name, name), **stage_look(name))  # fmt: skip
            left = [a + b for a, b in zip(left, width, strict=True)]
        for place, row in enumerate(rows):
            _write_behind(axes, left[place], place, f"{row['total_ms']:.0f}")
        axes.set(
            title="Where the time to the last token goes",
            xlabel="ms, mean over questions",
            xlim=(0, max(left) * 1.12),
        )
        _name_rows(axes, [row["name"] for row in rows])
        figure.legend(loc="outside lower center", ncols=4, frameon=False)


def draw_acceptance(result: Mapping[str, Any], path: Path) -> None:
    """Share of the passes with drafts that accepted at least d of them."""
    rows = [row for row in result["configurations"] if row["depth"] and row["depth"]["passes"]]
    deepest = max((len(row["depth"]["share"]) for row in rows), default=0)
    with style.figure(path) as (figure, axes):
        width, height = style.SIZE_INCHES
        figure.set_size_inches(width, max(height, _height(len(rows))))
        for place, row in enumerate(rows):
            share = row["depth"]["share"]
            # Depth 0 is reached by every pass; behind the deepest none is.
            values = [100.0, *(100 * one for one in share), *[0.0] * (deepest - len(share))]
            axes.plot(
                range(deepest + 1), values, label=row["name"], linewidth=2, markersize=7,
                **_line_look(place),
            )  # fmt: skip
        axes.set(
            title="Passes with drafts that accepted at least d of them",
            xlabel="d, drafts accepted",
            ylabel="passes (%)",
            xlim=(0, max(deepest, 1)),
            ylim=(0, 102),
        )
        axes.locator_params(axis="x", integer=True)
        if rows:  # lines meet at 0: names at their ends would say little
            figure.legend(loc="outside lower center", ncols=2, frameon=False, handlelength=4)
        else:
            axes.text(0.5, 0.5, "no pass had drafts", transform=axes.transAxes, ha="center")


def _draw_speedup(axes: Axes, place: int, row: Mapping[str, Any]) -> float:
    """One bar, or a note; returns how far it reaches."""
    if row["speedup"] is None or row["speedup"]["value"] is None:
        why = f"no speed-up: {row['no_speedup'] or 'not measured'}".partition(";")[0]
        why = textwrap.shorten(why, 62, placeholder=" …")
        _write_behind(axes, 0.0, place, why, style="italic")
        return 0.0
    value, low, high = (row["speedup"][key] for key in ("value", "low", "high"))
    reach = None if low is None else [[max(0.0, value - low)], [max(0.0, high - value)]]
    axes.barh(
        place, value, height=0.62, xerr=reach, capsize=4, edgecolor="black", linewidth=0.5,
        **_bar_look(row),
    )  # fmt: skip
    end = float(value if high is None else max(value, high))
    _write_behind(axes, end, place, f"{value:.2f}")
    return end


def _bar_look(row: Mapping[str, Any]) -> dict[str, Any]:
    """By what a configuration is: hatches mark what is no ordinary candidate."""
    if row["lossy"]:
        return {"facecolor": style.COLOURS[1], "hatch": "xx"}
    if row["shuffled"]:
        return {"facecolor": "#BBBBBB", "hatch": "//"}
    kinds = {
        "hf": (style.COLOURS[4], "--"),
        "seed-procedure": (style.COLOURS[3], ".."),
        "plain": ("#EEEEEE", ""),
    }
    colour, hatch = kinds.get(row["kind"], (style.COLOURS[0], ""))
    return {"facecolor": colour, "hatch": hatch}


def _legend_of_marks(figure: Any, rows: list[Mapping[str, Any]]) -> None:
    """Names of the looks that are in the figure."""
    from matplotlib.patches import Patch

    found: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["speedup"] is not None:
            look = _bar_look(row)
            said = ", ".join(marks_of(row)) or row["kind"]
            found.setdefault((look["facecolor"], look["hatch"]), said)
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.5, label=said)
        for (colour, hatch), said in found.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)


def _write_behind(axes: Axes, x: float, y: float, text: str, **look: Any) -> None:
    """Text that lines do not run through."""
    axes.annotate(
        text, (x, y), (7, 0), textcoords="offset points", va="center", fontsize=_NAME_POINTS,
        parse_math=False, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0}, **look,
    )  # fmt: skip


def _name_rows(axes: Axes, names: list[str]) -> None:
    """Names on the left, the first on top."""
    shown = [in_lines(name) for name in names]
    points = _NAME_POINTS if all(one.count("\n") < 2 for one in shown) else _NAME_POINTS - 4
    axes.set_yticks(range(len(names)), shown, fontsize=points)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def in_lines(name: str) -> str:
    """A name such as the place of a checkpoint, broken where its parts meet."""
    lines = [""]
    for part in re.split(r"(?<=[/:+=])", name):
        if lines[-1] and len(lines[-1]) + len(part) > _NAME_LETTERS:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _line_look(place: int) -> dict[str, Any]:
    """Lines differ in marker and dash as well; the second eight wear another marker."""
    turn = place // len(style.COLOURS)
    return {
        "color": style.COLOURS[place % len(style.COLOURS)],
        "marker": style.MARKERS[(place + 3 * turn) % len(style.MARKERS)],
        "linestyle": ("-", "--", "-.", ":")[(place + turn) % 4],
    }


def _height(rows: int) -> float:
    return _AROUND_INCHES + _ROW_INCHES * max(rows, 4)
