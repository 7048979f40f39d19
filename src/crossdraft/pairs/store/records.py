"""What a shard says in words of its pairs: one column per field, as packed JSON.

Columns repeat themselves more than records do, so that they pack well; questions and prompts are
numbers into lists of those that occur.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import FREE_UNPACK_BYTES, parse_json
from crossdraft.pairs.pair_json import fields_of, pair_of
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store.kinds import SIDES, Side
from crossdraft.pairs.store.rows import Row, Said

#: Kept as tensors of ids.
_IDS = ("draft_tokens", "target_tokens")


def packed_records(rows: Sequence[Row], sides: Sequence[Side], note: Mapping[str, Any]) -> bytes:
    """The records of some pairs and a note; equal pairs give equal bytes.

    Raises:
        ValueError: something in them is no JSON.
    """
    fields = [fields_of(row.pair) for row in rows]
    columns: dict[str, Any] = {
        key: [one[key] for one in fields]
        for key in (fields[0] if fields else {})
        if key not in _IDS
    }
    if columns:
        columns["question"] = _listed(columns["question"])
    said = {
        side: {
            "end": [row.said[side].end for row in rows],
            "prompt": _listed([row.said[side].prompt for row in rows]),
        }
        for side in sides
    }
    value = {"count": len(rows), "columns": columns, "said": said, "note": dict(note)}
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return zlib.compress(text.encode("utf-8"), 9)


def _listed(values: Sequence[str | None]) -> dict[str, Any]:
    """Values as numbers into the list of those that occur."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return {"list": list(places), "at": [places[value] for value in values]}


@dataclass(frozen=True, eq=False)
class Records:
    """The records of a shard, read.

    Attributes:
        sides: whose answers are there.
        note: what the writer noted.
    """

    path: Path
    count: int
    sides: tuple[Side, ...]
    note: Mapping[str, Any]
    _columns: Mapping[str, list[Any]]
    _said: Mapping[Side, Mapping[str, list[Any]]]

    @classmethod
    def read(cls, data: bytes | memoryview, path: Path) -> Records:
        """Unpack and check the records of a shard.

        Raises:
            InputError: they are damaged.
        """
        unpacking = zlib.decompressobj()
        try:
            text = unpacking.decompress(data, FREE_UNPACK_BYTES).decode("utf-8")
        except (zlib.error, UnicodeError) as error:
            raise _damaged(path, f"cannot be unpacked ({error})") from error
        if not unpacking.eof:
            raise _damaged(path, "are cut, or unpack to too much")
        top = Item(parse_json(text, path), path, "records")
        count, columns, said = top.whole("count", -1), top.mapping("columns"), top.mapping("said")
        if columns:
            columns["question"] = _unlisted(top.sub("columns").sub("question"))
        told: dict[Side, dict[str, Any]] = {}
        for side in SIDES:
            if side in said:
                one = top.sub("said").sub(side)
                told[side] = {"end": one.value.get("end"), "prompt": _unlisted(one.sub("prompt"))}
        for column in (*columns.values(), *(c for one in told.values() for c in one.values())):
            if not isinstance(column, list) or len(column) != count:
                raise _damaged(path, f"have a column that is no list of {count} values")
        return cls(path, count, tuple(told), top.mapping("note"), columns, told)

    def pair(self, i: int, draft: Sequence[int], target: Sequence[int]) -> Pair:
        """Pair `i` of the shard, its ids given.

        Raises:
            InputError: a field of it is malformed.
        """
        fields = {key: column[i] for key, column in self._columns.items()}
        fields |= {"draft_tokens": list(draft), "target_tokens": list(target)}
        return pair_of(Item(fields, self.path, f"pair {i}"))

    def said(self, i: int, side: Side, count: int) -> Said:
        """How the answer of one side of pair `i` came about, `count` states long."""
        one = self._said[side]
        item = Item({key: column[i] for key, column in one.items()}, self.path, f"pair {i}.{side}")
        return Said(item.text("end"), item.text("prompt"), count)


def _unlisted(item: Item) -> list[Any]:
    listed, at = item.value.get("list"), item.value.get("at")
    if not isinstance(listed, list) or not isinstance(at, list):
        raise item.error("is no list with places in it")
    if not all(type(place) is int and 0 <= place < len(listed) for place in at):
        raise item.error("has a place that is not in its list")
    return [listed[place] for place in at]


def _damaged(path: Path, fault: str) -> InputError:
    return InputError(f"the records of its pairs {fault}", where=path)
