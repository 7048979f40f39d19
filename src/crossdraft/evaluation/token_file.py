"""The file behind `crossdraft analyze --tokens`: rows of token ids for drafter, adapter, target.

One sample, a list of samples, or {"samples": [...]}; the seed study's names of the rows are
understood. Also the numbers behind `--samples`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text

ROWS = ("drafter", "adapter", "target")
#: Ours first, then what the seed study called the same row.
_NAMES = {
    "drafter": ("drafter", "egpt", "egpt_tokens"),
    "adapter": ("adapter", "adapted", "adapter_tokens"),
    "target": ("target", "vl", "vl_tokens"),
}
_EXPECTED = '{"drafter": [ids], "adapter": [ids], "target": [ids]}, a list of these, or ' \
    '{"samples": [...]}'  # fmt: skip


@dataclass(frozen=True)
class TokenSample:
    """Three rows of token ids, aligned position by position as given.

    Attributes:
        name: of the sample, for a reader; empty where the file gives none.
        rows: name of the row -> ids.
        texts: name of the row -> its text, where the file has it.
    """

    name: str
    rows: Mapping[str, tuple[int, ...]]
    texts: Mapping[str, str] = field(default_factory=dict)


def read_token_file(path: Path) -> list[TokenSample]:
    """Read samples.

    Raises:
        InputError: unreadable, no samples, an unknown or missing field, ids that are no whole
            numbers, an empty target row; the sample is named.
    """
    value = parse_json(read_text(path), path)
    found: Any = value
    if isinstance(value, Mapping) and "samples" in value:
        _refuse_unknown(Item(value, path, "the file"), {"samples"})
        found = value["samples"]
    if isinstance(found, Mapping) and found is value:
        return [_sample(Item(found, path, "the sample"))]
    if not isinstance(found, list) or not found:
        raise InputError("no samples in this file", where=path, expected=_EXPECTED)
    return [_sample(Item(item, path, f"samples[{i}]")) for i, item in enumerate(found)]


def _sample(item: Item) -> TokenSample:
    _refuse_unknown(item, {"name", "texts", *(name for known in _NAMES.values() for name in known)})
    rows = {row: _row(item, row) for row in ROWS}
    if not rows["target"]:
        raise item.error("the target row is empty", "at least one token id")
    given = item.sub("texts") if item.value.get("texts") is not None else Item({}, item.where, "")
    _refuse_unknown(given, set(ROWS))
    texts = {row: text for row in ROWS if (text := given.text(row)) is not None}
    return TokenSample(item.text("name") or "", rows, texts)


def _row(item: Item, row: str) -> tuple[int, ...]:
    present = [name for name in _NAMES[row] if item.value.get(name) is not None]
    if len(present) > 1:
        raise item.error(f"the {row} row stands twice ({' and '.join(present)})", "one of them")
    tokens = item.tokens(present[0]) if present else None
    if tokens is None:
        raise item.error(f"lacks the {row} row", _EXPECTED)
    return tokens


def _refuse_unknown(item: Item, known: set[str]) -> None:
    unknown = sorted(item.value.keys() - known)
    if unknown:
        raise item.error(f"has an unknown field {unknown[0]!r}", ", ".join(sorted(known)))


def chosen_samples(wanted: str, count: int, where: Path) -> list[int]:
    """Sample numbers of a list such as `0,1,2` or `0-4,9`, in the order named, each once.

    Args:
        count: samples that there are, numbered from 0.
        where: their file.

    Raises:
        InputError: not such a list, or a sample that does not exist.
    """
    chosen: dict[int, None] = {}
    for part in wanted.split(","):
        ends = [end.strip() for end in part.split("-")]
        # At most 15 digits: longer ones are typing errors, and Python refuses the longest.
        if len(ends) > 2 or not all(e.isascii() and e.isdigit() and len(e) < 16 for e in ends):
            raise InputError(
                f"{part.strip()!r} names no sample", where="--samples", expected="0,1,2 or 0-4,9"
            )
        first, last = int(ends[0]), int(ends[-1])
        if first > last:
            raise InputError(
                f"{part.strip()} runs backwards", where="--samples", expected=f"{last}-{first}"
            )
        if last >= count:
            raise InputError(
                f"there is no sample {last}",
                where="--samples",
                expected=f"0 to {count - 1}: {where} holds {count}",
            )
        chosen |= dict.fromkeys(range(first, last + 1))
    return list(chosen)
