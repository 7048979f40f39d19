"""Reading `store.json`: checked field by field, since everything else is found through it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import MAX_WHOLE, Item, shown
from crossdraft.base.files import parse_json, read_text
from crossdraft.pairs.store.kinds import DTYPES, SIDES, Kind, Side
from crossdraft.pairs.store.manifest import (
    FORMAT,
    MANIFEST,
    SHARDS,
    VERSION,
    Manifest,
    Missing,
    Schema,
    ShardInfo,
    StoredKind,
)

#: What extraction leaves in a folder while its store is not finished.
UNFINISHED = (".extract.json", "open")
_FILE = re.compile(r"[\w-][\w.-]*\.safetensors", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CRC_END = 2**32


def is_store(folder: Path) -> bool:
    """Whether a folder holds a store, finished or not."""
    return (folder / MANIFEST).is_file() or is_unfinished(folder)


def is_unfinished(folder: Path) -> bool:
    """Whether a store is being made in a folder, or was until something stopped it."""
    return not (folder / MANIFEST).exists() and any((folder / n).exists() for n in UNFINISHED)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a store.

    Raises:
        InputError: there is none, it is not finished, of another version, or malformed.
    """
    if is_unfinished(folder):
        raise InputError(
            "this store is not finished",
            where=folder,
            expected=f"a folder with {MANIFEST}, which is written when all pairs are there",
            hint="go on with the same `crossdraft extract` call: what is done is kept",
        )
    path = folder / MANIFEST
    if folder.is_dir() and not path.exists():
        raise InputError(
            "this is no pair store",
            where=folder,
            expected=f"a folder with {MANIFEST}, as crossdraft extract and convert write it",
        )
    top = Item(parse_json(read_text(path), path), path, "manifest")
    if top.value.get("format") != FORMAT:
        raise top.error(f"format is {shown(top.value.get('format'))}", repr(FORMAT))
    if top.value.get("version") != VERSION:
        raise InputError(
            f"a store of version {shown(top.value.get('version'))}",
            where=path,
            expected=f"version {VERSION}",
            hint="update crossdraft",
        )
    manifest = Manifest(
        schema=_schema(top.sub("schema")),
        shards=tuple(_shard(item) for item in _items(top, "shards")),
        questions=_texts(top, "questions"),
        question_ids=_id_lists(top, "question_ids"),
        source=top.mapping("source"),
        provenance=top.mapping("provenance"),
        missing=tuple(_missing(item) for item in _items(top, "missing")),
    )
    if top.value.get("pairs") != manifest.pairs:
        raise top.error(
            f"pairs is {shown(top.value.get('pairs'))}, its shards hold {manifest.pairs}"
        )
    names = [shard.file for shard in manifest.shards]
    if len(set(names)) != len(names):
        raise top.error("lists a shard twice", "every shard once")
    return manifest


def _schema(item: Item) -> Schema:
    kinds = tuple(_kind(one) for one in _items(item, "kinds"))
    names = [kind.name for kind in kinds]
    if names != sorted(set(names)):
        raise item.error(f"kinds are {', '.join(names)}", "each once, sorted by name")
    told = item.sub("tokens")
    tokens: dict[Side, str] = {side: _text(told, side) for side in SIDES if side in told.value}
    if len(tokens) != len(told.value):
        raise item.error(f"tokens of {', '.join(told.value)}", f"of {' and '.join(SIDES)}")
    return Schema(kinds, _count(item, "top"), tokens)


def _kind(item: Item) -> StoredKind:
    name, dtype, width = _text(item, "name"), _text(item, "dtype"), _count(item, "width")
    try:
        Kind.parse(name)
    except InputError as error:
        raise item.error(error.found, error.expected) from error
    if dtype not in DTYPES:
        raise item.error(f"dtype is {shown(dtype)}", f"one of {', '.join(DTYPES)}")
    if width == 0:
        raise item.error("width is 0", "one or more")
    return StoredKind(name, width, dtype)


def _shard(item: Item) -> ShardInfo:
    file, sha256, crc = _text(item, "file"), _text(item, "sha256"), _count(item, "index_crc")
    if _FILE.fullmatch(file) is None:
        raise item.error(f"file is {shown(file)}", f"the name of a file below {SHARDS}/")
    if _SHA256.fullmatch(sha256) is None or crc >= _CRC_END:
        raise item.error("holds a digest that is none", "64 hex digits, and a CRC-32")
    return ShardInfo(
        file=file,
        pairs=_count(item, "pairs"),
        positions=_by_side(item.sub("positions")),
        longest=_by_side(item.sub("longest")),
        bytes=_count(item, "bytes"),
        sha256=sha256,
        index_crc=crc,
    )


def _missing(item: Item) -> Missing:
    return Missing(_text(item, "clip"), _text(item, "reason"), _count(item, "tries"))


def _by_side(item: Item) -> dict[Side, int]:
    found: dict[Side, int] = {side: _count(item, side) for side in SIDES if side in item.value}
    if len(found) != len(item.value):
        raise item.error(f"sides {', '.join(item.value)}", f"{' and '.join(SIDES)}")
    return found


def _items(item: Item, key: str) -> list[Item]:
    return [
        Item(value, item.where, f"{item.name}.{key}[{place}]")
        for place, value in enumerate(_list(item, key))
    ]


def _texts(item: Item, key: str) -> tuple[str, ...]:
    values = _list(item, key)
    if not all(isinstance(value, str) for value in values):
        raise item.error(f"{key} holds what is no text", "a list of texts")
    return tuple(values)


def _id_lists(item: Item, key: str) -> tuple[tuple[int, ...], ...]:
    """Lists of ids; none in manifests that do not name the key."""
    lists = _list(item, key) if key in item.value else []
    for ids in lists:
        if not isinstance(ids, list) or not all(
            type(one) is int and 0 <= one <= MAX_WHOLE for one in ids
        ):
            raise item.error(f"{key} holds {shown(ids)}", "lists of ids")
    return tuple(tuple(ids) for ids in lists)


def _list(item: Item, key: str) -> list[Any]:
    value = item.value.get(key)
    if not isinstance(value, list):
        raise item.error(f"{key} is {shown(value)}", "a list")
    return value


def _text(item: Item, key: str) -> str:
    value = item.text(key)
    if value is None:
        raise item.error(f"{key} is missing", "text")
    return value


def _count(item: Item, key: str) -> int:
    value = item.value.get(key)
    if type(value) is int and 0 <= value <= MAX_WHOLE:
        return value
    raise item.error(f"{key} is {shown(value)}", "a whole number, zero or more")
