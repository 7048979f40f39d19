"""Reading any known pair file, writing ours and the seed study's extraction format.

Ours is JSON Lines: a header line that names the schema and the number of pairs, then one pair per
line. The number makes a cut file visible.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text, write_text
from crossdraft.pairs.foreign import checked, read_cached_directory, read_items
from crossdraft.pairs.pair_json import fields_of, pair_of
from crossdraft.pairs.record import PairSet
from crossdraft.pairs.store.manifest_file import is_store
from crossdraft.pairs.stored import read_store

FORMAT = "crossdraft.pairs"
VERSION = 1


def read_pairs(path: Path, head_file: Path | None = None) -> PairSet:
    """Read pairs in any known format, plain or gzip, or of a pair store; recognised by structure.

    Args:
        head_file: the target's head, where a store does not hold it.

    Raises:
        InputError: missing, cut, malformed or unknown; the item is named.
    """
    if path.is_dir() and is_store(path):
        return read_store(path, head_file)
    if path.is_dir():
        return read_cached_directory(path)
    text = read_text(path)
    first, _, rest = text.lstrip().partition("\n")
    if _opens_own_file(first):
        return _read_own(parse_json(first, path, line=1), rest, path)
    return read_items(parse_json(text, path), path)


def write_pairs(found: PairSet, path: Path) -> None:
    """Write pairs in our format, atomically; gzipped if the name ends in `.gz`."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "count": len(found.pairs),
        "source_format": found.format,
        "source_header": dict(found.header),
        "skipped": dict(found.skipped),
    }
    lines = [header, *(fields_of(pair) for pair in found.pairs)]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def write_extraction(found: PairSet, path: Path) -> None:
    """Write pairs in the seed study's extraction format, atomically.

    Stage times and drives have no place in that format and are left out. What else is said of a
    pair never stands in for what the pair is.
    """
    questions = _questions(found)
    header: dict[str, Any] = {
        "timestamp": None,
        "dataset_dir": found.pairs[0].dataset,
        "total_samples": len({pair.clip for pair in found.pairs}),
        "num_questions": len(questions),
        "questions": questions,
        "eventgpt_success": len(found.pairs),
        "videollava_success": len(found.pairs),
    }
    if found.format == "extraction":
        # A file that was an extraction keeps its own header, counters included.
        header |= dict(found.header)
    results: list[dict[str, Any]] = [
        {
            "sample_idx": pair.index,
            "question_idx": pair.question_index,
            "sample_id": pair.clip,
            "query": pair.question,
            "egpt_tokens": list(pair.draft_tokens),
            "egpt_text": pair.draft_text,
            "vl_tokens": list(pair.target_tokens),
            "vl_text": pair.target_text,
            **({"simulated": True} if pair.simulated else {}),
        }
        for pair in found.pairs
    ]
    for item, pair in zip(results, found.pairs, strict=True):
        taken = {*item, "simulated"}
        item |= {key: value for key, value in pair.extra.items() if key not in taken}
    write_text(path, json.dumps({**header, "results": results}, ensure_ascii=False) + "\n")


def _opens_own_file(line: str) -> bool:
    """Whether this line is the header of a file of ours."""
    if f'"{FORMAT}"' not in line:
        return False
    try:
        value = json.loads(line)
    except ValueError:
        return False
    return isinstance(value, dict) and value.get("format") == FORMAT


def _read_own(header: Mapping[str, Any], body: str, path: Path) -> PairSet:
    if header.get("version") != VERSION:
        raise InputError(
            f"pairs version {header.get('version')!r}",
            where=path,
            expected=f"version {VERSION}",
            hint="update crossdraft",
        )
    pairs = [
        pair_of(Item(parse_json(line, path, line=number), path, f"line {number}"))
        for number, line in enumerate(body.split("\n"), start=2)
        if line.strip()
    ]
    if len(pairs) != header.get("count"):
        raise InputError(
            f"{len(pairs)} pairs but the header announces {header.get('count')}",
            where=path,
            hint="was the file cut while it was written or copied?",
        )
    head = Item(header, path, "line 1")
    skips = Item(head.mapping("skipped"), path, "line 1.skipped")
    return checked(
        PairSet(
            tuple(pairs),
            head.text("source_format") or FORMAT,
            head.mapping("source_header"),
            Counter({reason: skips.whole(reason, 0) for reason in skips.value}),
            path,
        )
    )


def _questions(found: PairSet) -> list[str]:
    by_index = {pair.question_index: pair.question for pair in found.pairs}
    return [by_index[index] for index in sorted(by_index)]
