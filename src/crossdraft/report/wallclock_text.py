"""An answer's text in a figure, each token marked by who proposed it.

Marks differ without colour: a line below, a box, bold type. Drafts that were rejected are not
shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from crossdraft.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Characters of a line, and of the legend's.
COLUMNS = 76
_POINTS = 15
_CORRECTED = style.COLOURS[1]
_DASHES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
_SOURCE_COLOURS = (style.COLOURS[0], style.COLOURS[2], style.COLOURS[3], style.COLOURS[7])
_SAID = {
    "corrected": "the target's own, where a draft was rejected",
    "bonus": "the target's own, behind accepted drafts",
    "plain": "the target's own, nothing was drafted",
}

Token = Mapping[str, Any]


def rows_of_text(tokens: Sequence[Token]) -> int:
    """Lines that the legend and the text take."""
    return len(_legend(tokens)) + 1 + 1 + max((row for row, _, _, _ in _placed(tokens)), default=0)


def draw_text(axes: Axes, tokens: Sequence[Token], name: str) -> None:
    """Write an answer into empty axes, its legend above it.

    Args:
        tokens: `text`, `by`, `kind`.
        name: of the configuration.
    """
    rows = rows_of_text(tokens)
    axes.set(xlim=(0, COLUMNS), ylim=(rows, -0.5))
    axes.set_axis_off()
    axes.set_title(f"The answer, and who proposed its tokens: {name}", loc="left")
    sources = _sources(tokens)
    legend = _legend(tokens)
    for row, (kind, source) in enumerate(legend):
        said = f"drafted by {source}, accepted" if kind == "accepted" else _SAID[kind]
        _write(axes, 0, row, "token", kind, sources.get(source, 0))
        axes.text(7, row, said, fontsize=_POINTS - 2, va="center", parse_math=False)
    for row, column, text, token in _placed(tokens):
        place = sources.get(str(token["by"]), 0)
        _write(axes, column, row + len(legend) + 1, text, token["kind"], place)


def _write(axes: Axes, column: int, row: int, text: str, kind: str, source: int) -> None:
    """One piece of text with its mark. Each character has a column of its own, so that marks and
    the next token stand where they should in any size."""
    colour = {"accepted": _SOURCE_COLOURS[source % 4], "corrected": _CORRECTED}.get(kind, "black")
    look: dict[str, Any] = {
        "color": colour, "fontsize": _POINTS, "family": "monospace", "va": "center",
        "ha": "center", "parse_math": False, "weight": "bold" if kind == "corrected" else "normal",
        "style": "italic" if kind == "bonus" else "normal",
    }  # fmt: skip
    for place, character in enumerate(text):
        axes.text(column + place + 0.5, row, character, **look)
    ends = column + len(text.rstrip(" "))
    left, right = min(ends, column + len(text) - len(text.lstrip(" "))) + 0.05, ends - 0.05
    if left >= right:  # blank
        return
    if kind == "accepted":
        axes.plot(
            [left, right], [row + 0.4, row + 0.4], color=colour, linewidth=2,
            linestyle=_DASHES[source % 4],
        )  # fmt: skip
    elif kind == "corrected":
        left, right, top, bottom = left - 0.15, right + 0.15, row - 0.42, row + 0.42
        axes.plot(
            [left, right, right, left, left], [top, top, bottom, bottom, top], color=colour,
            linewidth=1.4, clip_on=False,
        )  # fmt: skip


def _placed(tokens: Sequence[Token]) -> list[tuple[int, int, str, Token]]:
    """Row, column, text and token of each piece; a token that fits on no line is cut."""
    placed = []
    row = column = 0
    for token in tokens:
        text = _readable(token["text"])
        for piece in _pieces(text):
            if column and column + len(piece) > COLUMNS:
                row, column = row + 1, 0
                piece = piece.lstrip(" ") or piece
            placed.append((row, column, piece, token))
            column += len(piece)
            if piece.endswith("↵"):
                row, column = row + 1, 0
    return placed


def _pieces(text: str) -> list[str]:
    """Lines of a token, each no longer than a line of the figure."""
    lines = text.replace("↵", "↵\n").split("\n")
    return [
        line[at : at + COLUMNS] for line in lines if line for at in range(0, len(line), COLUMNS)
    ]


def _readable(text: str) -> str:
    """What the figure's type can show; a newline is an arrow, a token without text a dot."""
    from matplotlib.font_manager import findfont, get_font

    font = get_font(findfont("DejaVu Sans Mono"))
    shown = text.replace("\r", "").replace("\n", "↵").replace("\t", " ")
    return "".join(one if font.get_char_index(ord(one)) else "□" for one in shown) or "·"


def _sources(tokens: Sequence[Token]) -> dict[str, int]:
    """Who drafted what was accepted, numbered."""
    names = dict.fromkeys(str(one["by"]) for one in tokens if one["kind"] == "accepted")
    return {name: place for place, name in enumerate(names)}


def _legend(tokens: Sequence[Token]) -> list[tuple[str, str]]:
    """Kind and source of each line of the legend: what the answer has, and no more."""
    there = {one["kind"] for one in tokens}
    accepted = [("accepted", source) for source in _sources(tokens)]
    return [*accepted, *((kind, "") for kind in _SAID if kind in there)]
