"""One answer on a time axis: what the target and the event model did, plain and with drafts.

Both halves share one axis, so that what was saved is a distance; the text below says whose tokens
the answer is made of.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.report import style
from crossdraft.report.wallclock_figures import stage_look
from crossdraft.report.wallclock_text import draw_text, rows_of_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Rows from top to bottom: who, what the row is called, the spans on it.
_ROWS = (
    ("target", "sensor", ("sensor", "read")),
    ("target", "pixels", ("render", "pixels")),
    ("target", "vision", ("vision",)),
    ("target", "prefill", ("prefill",)),
    ("target", "decode, verify", ("decode", "verify")),
    ("target", "draft", ("draft", "event model")),
    ("target", "commit", ("commit",)),
    ("event model", "sensor", ("sensor", "read")),
    ("event model", "render", ("render", "pixels")),
    ("event model", "vision", ("vision",)),
    ("event model", "prefill", ("prefill",)),
    ("event model", "its tokens", ("decode", "verify")),
)
_ROW_INCHES, _AROUND_INCHES, _TEXT_INCHES = 0.34, 1.5, 0.34
_POINTS = 13
#: Bars below this share of the axis are drawn without an edge.
_THIN = 0.005

Spans = Sequence[Mapping[str, Any]]


def draw_timeline(example: Mapping[str, Any], path: Path) -> None:
    """Draw the example of a result.

    Args:
        example: `scene`, `question`, and `baseline` and `configuration` with `configuration` (its
            name), `spans` by track, `total_ms`; the latter with `tokens`: `text`, `by`, `kind`
            (`accepted`, `corrected`, `bonus` or `plain`) and `pass`.
    """
    above, below = example["baseline"], example["configuration"]
    right = 1.03 * max(_end(above), _end(below))
    lanes = [_lanes(one["spans"]) for one in (above, below)]
    tokens = below["tokens"]
    heights = [_AROUND_INCHES + _ROW_INCHES * len(lane) for lane in lanes]
    heights.append(_AROUND_INCHES + _TEXT_INCHES * rows_of_text(tokens))
    with style.panels(path, 3) as (figure, axes):
        figure.set_size_inches(style.SIZE_INCHES[0] * 1.2, sum(heights))
        grid = axes[0].get_gridspec()
        assert grid is not None  # they were made as a column
        grid.set_height_ratios(heights)
        for panel, lane, one in zip(axes, lanes, (above, below), strict=False):
            _draw_lanes(panel, lane, one, right)
        axes[1].set_xlabel("ms since the moment before the first sensor file was opened")
        asked = textwrap.fill(f"{example['scene']}: {example['question']}", 84)
        figure.suptitle(asked, parse_math=False)
        draw_text(axes[2], tokens, below["configuration"])


def leaves(spans: Spans) -> list[Mapping[str, Any]]:
    """Spans that no other lies in: a `read` around a `sensor` goes.

    Args:
        spans: in order of start; of two over the same stretch the inner stands first.
    """
    kept = []
    for place, outer in enumerate(spans):
        inside = any(
            outer["start_ms"] <= inner["start_ms"] < inner["end_ms"] <= outer["end_ms"]
            and (_ms(inner) < _ms(outer) or other < place)
            for other, inner in enumerate(spans)
            if other != place
        )
        if not inside:
            kept.append(outer)
    return kept


def _lanes(tracks: Mapping[str, Spans]) -> list[tuple[str, str, list[Mapping[str, Any]]]]:
    """Track, name and spans of each row that has any; odd spans have a row of their own."""
    drawn = {track: leaves(spans) for track, spans in tracks.items()}
    lanes = []
    for track in drawn:
        known = [(name, names) for who, name, names in _ROWS if who == track]
        listed = {name for _, names in known for name in names}
        odd = {span["name"]: None for span in drawn[track] if span["name"] not in listed}
        for row, names in (*known, *((name, (name,)) for name in odd)):
            on_it = [span for span in drawn[track] if span["name"] in names]
            if on_it:
                lanes.append((track, row, on_it))
    return lanes


def _draw_lanes(
    axes: Axes,
    lanes: Sequence[tuple[str, str, list[Mapping[str, Any]]]],
    one: Mapping[str, Any],
    right: float,
) -> None:
    """Rows of bars; a line under the target's rows parts it from the event model."""
    for place, (_, _, spans) in enumerate(lanes):
        for span in spans:
            look = stage_look(span["name"])
            if _ms(span) < _THIN * right:  # an edge would be all that is seen
                look |= {"edgecolor": look["facecolor"], "hatch": ""}
            axes.barh(place, _ms(span), left=span["start_ms"], height=0.7, **look)
    for place, (before, here) in enumerate(pairwise(lanes)):
        if before[0] != here[0]:
            axes.axhline(place + 0.5, color="black", linewidth=0.8)
    for track in dict.fromkeys(lane[0] for lane in lanes):
        rows = [place for place, lane in enumerate(lanes) if lane[0] == track]
        axes.text(
            1.01, sum(rows) / len(rows), track, transform=axes.get_yaxis_transform(), rotation=90,
            va="center", fontsize=_POINTS,
        )  # fmt: skip
    axes.axvline(one["total_ms"], color="black", linestyle="--", linewidth=1.2)
    axes.set_yticks(range(len(lanes)), [name for _, name, _ in lanes], fontsize=_POINTS)
    axes.set(xlim=(0, right), ylim=(len(lanes) - 0.4, -0.6))
    axes.set_title(
        f"{one['configuration']}: last token after {one['total_ms']:.0f} ms (dashed)", loc="left"
    )
    axes.grid(axis="y", visible=False)


def _end(one: Mapping[str, Any]) -> float:
    """When the last of it ended, what runs beside the target included."""
    ends = (span["end_ms"] for spans in one["spans"].values() for span in spans)
    return float(max([one["total_ms"], *ends]))


def _ms(span: Mapping[str, Any]) -> float:
    return float(span["end_ms"] - span["start_ms"])
