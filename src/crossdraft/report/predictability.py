"""The table of predictability: a row per number, a column per source of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = tuple[str, ...]


def table(sources: Sequence[Mapping[str, Any]]) -> tuple[Row, list[Row]]:
    """Head and rows; a row that no source has a number for is left out.

    Args:
        sources: `result["sources"]`.
    """
    rows = [(name, *(cell(source) for source in sources)) for name, cell in _ROWS]
    head = ("", *(str(source["name"]) for source in sources))
    return head, [row for row in rows if any(cell != "–" for cell in row[1:])]


def about(sources: Sequence[Mapping[str, Any]]) -> list[str]:
    """What each source is, a line each."""
    lines = []
    for source in sources:
        data = source["data"]
        count = data["drives"]
        drives = f" of {count} drive{'s' if count > 1 else ''}" if count else ""
        entries = source["vocabulary"]
        words = f"; vocabulary of {entries:,} entries" if entries else ""
        lines.append(
            f"{source['name']}: {source['voice']} voice, {data['test_answers']:,} answers{drives} "
            f"tested; {source['split']}{words}"
        )
    return lines


def _number(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda source: _shown(source[key], 1, "{:.2f}")


def _percent(key: str) -> Callable[[Mapping[str, Any]], str]:
    return lambda source: _shown(source[key], 100, "{:.1f}")


def _shown(estimate: Mapping[str, float | None] | None, scale: float, digits: str) -> str:
    """`2.94 [2.80, 3.10]`, the value alone without an interval."""
    if estimate is None or estimate["value"] is None:
        return "–"
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    said = digits.format(scale * float(value or 0))
    if low is None or high is None:
        return said
    return f"{said} [{digits.format(scale * low)}, {digits.format(scale * high)}]"


def _length(source: Mapping[str, Any]) -> str:
    tokens = source["tokens"]
    return f"{tokens['mean']:.1f} ({tokens['min']} to {tokens['max']})"


def _per_word(source: Mapping[str, Any]) -> str:
    per_word = source["tokens"]["per_word"]
    return "–" if per_word is None else f"{per_word:.2f}"


_ROWS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("tau of a 12-gram table", _number("tau")),
    ("position match %", _percent("position_match")),
    ("next token % by 12-gram", _percent("twelve_gram")),
    ("next token % by 5-gram", _percent("five_gram")),
    ("… and what events show", _percent("with_seen")),
    ("   gain in points", _percent("gain_seen")),
    ("… and all attributes", _percent("with_all")),
    ("   gain in points", _percent("gain_all")),
    ("camera-only tokens %", _percent("camera_tokens")),
    ("tokens per answer", _length),
    ("tokens per word", _per_word),
    ("distinct answers %", lambda source: f"{100 * source['distinct']:.1f}"),
)
