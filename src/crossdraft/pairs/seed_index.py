"""The seed study's hidden states as one: a folder of chunks with an index, or a single file.

An index lists its chunks in order. What it says of them must be true, and they must follow each
other; a folder that was cut while it was written or copied is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item, shown
from crossdraft.base.files import parse_json, read_text
from crossdraft.pairs.seed_chunks import Chunk, read_chunk

Layout = Literal["chunks", "single"]

#: Bytes of the longest file name.
_MOST_NAME = 200
#: Names in a folder: the index, and the folder of the chunks.
INDEX, CHUNKS = "index.json", "chunks"


@dataclass(frozen=True)
class Entry:
    """A chunk as the index lists it: its file name, its first pair, how many it has."""

    path: str
    start: int
    pairs: int
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SeedStates:
    """States of the seed study, whose files are opened one after the other.

    Attributes:
        path: folder or file.
        layout: `chunks` (a folder with an index) or `single` (one file).
        about: the index without its list of chunks, or the file's `config`.
        entries: chunks of the index; none for a single file.
    """

    path: Path
    layout: Layout
    about: Mapping[str, Any]
    entries: tuple[Entry, ...] = ()

    @property
    def files(self) -> int:
        """How many files of states there are."""
        return len(self.entries) if self.layout == "chunks" else 1

    @property
    def config(self) -> Mapping[str, Any]:
        """What the states were made with, as far as the study says."""
        return self.about.get("config") or {} if self.layout == "chunks" else self.about

    @property
    def dataset(self) -> str:
        """Name of the clips' data set: equal for every quantisation and rendering of one set."""
        parts = [self.config.get(key) for key in ("split", "duration")]
        if all(isinstance(part, str) and part for part in parts):
            return "_".join(map(str, parts))
        return self.path.name if self.layout == "chunks" else self.path.stem

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, checked against the index; its states stay in the file until they are read.

        Raises:
            InputError: a file is missing, damaged, or contradicts itself, the index or the config.
        """
        if self.layout == "single":
            yield read_chunk(self.path)
            return
        for place, entry in enumerate(self.entries):
            yield self._chunk(place, entry)

    def _chunk(self, place: int, entry: Entry) -> Chunk:
        path = self.path / CHUNKS / entry.path
        if not path.is_file():
            raise InputError(
                f"no such file; {INDEX} lists it with {entry.pairs:,} pairs",
                where=path,
                expected=f"every chunk of {self.path / INDEX}",
                hint="copy the folder again",
            )
        chunk = read_chunk(path)
        width = self.config.get("hidden_dim", chunk.own.shape[2])
        for what, found, said in (
            ("pairs", len(chunk.lengths), (entry.pairs,)),
            ("chunk_id", entry.start if chunk.id is None else chunk.id, (entry.start, place)),
            ("width", chunk.own.shape[2], (width,)),
        ):
            if found not in said:
                raise InputError(
                    f"{what} {found}, {INDEX} says {said[0]}",
                    where=path,
                    expected="the chunk that the index was written with",
                )
        return chunk


def open_states(path: Path) -> SeedStates:
    """The states of a folder or a file; of a folder only the index is read.

    Raises:
        InputError: not such a folder or file, or its index is malformed or contradicts itself.
    """
    if path.is_dir():
        return _read_index(path)
    return SeedStates(path, "single", read_chunk(path).config)


def _read_index(folder: Path) -> SeedStates:
    path = folder / INDEX
    if not path.is_file():
        raise InputError(
            f"no {INDEX}" + (", only chunks" if (folder / CHUNKS).is_dir() else ""),
            where=folder,
            expected=f"a folder of the seed study: {INDEX} and {CHUNKS}/",
        )
    item = Item(parse_json(read_text(path), path), path, "index")
    try:
        json.dumps(item.value, allow_nan=False)
    except ValueError as error:
        raise item.error("holds a number that is not finite", "numbers of JSON") from error
    listed = item.value.get("chunks")
    if not isinstance(listed, list):
        raise item.error("chunks is no list", "path, start_idx and n_samples of every chunk")
    entries = tuple(
        entry_of(Item(value, path, f"chunks[{place}]")) for place, value in enumerate(listed)
    )
    check_order(item, entries)
    about = {key: value for key, value in item.value.items() if key != "chunks"}
    item.mapping("config")
    return SeedStates(folder, "chunks", about, entries)


def entry_of(item: Item) -> Entry:
    """A chunk of an index.

    Raises:
        InputError: a field is missing or of another type.
    """
    name = item.text("path") or ""
    # Whatever the index says, a chunk lies among the chunks.
    if not _is_file_name(PurePath(name).name):
        raise item.error(f"path is {shown(item.value.get('path'))}", "the name of a file")
    start, pairs = item.whole("start_idx", -1), item.whole("n_samples", -1)
    if start < 0 or pairs < 1:
        raise item.error(f"start_idx {start}, n_samples {pairs}", "0 or more, 1 or more")
    known = ("path", "start_idx", "n_samples")
    extra = {key: value for key, value in item.value.items() if key not in known}
    return Entry(PurePath(name).name, start, pairs, extra)


def _is_file_name(name: str) -> bool:
    """Whether a file can be called this."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= _MOST_NAME and name != ".." and "\0" not in name


def check_order(item: Item, entries: tuple[Entry, ...]) -> None:
    """The chunks of an index follow each other, and add up to what it says.

    Raises:
        InputError: they do not; the chunk is named.
    """
    if not entries:
        raise item.error("lists no chunk", "at least one")
    size = item.whole("chunk_size", 0)
    if size < 0:
        raise item.error(f"chunk_size is {size}", "1 or more")
    end = 0
    for place, entry in enumerate(entries):
        # A chunk that was made of another may have lost pairs: the next begins behind a gap.
        gap_allowed = "source_chunk" in entry.extra
        if entry.start < end or (entry.start > end and not gap_allowed):
            raise item.error(
                f"chunks[{place}] ({entry.path}) begins at pair {entry.start}",
                f"{end}, where the chunk before it ends",
            )
        if 0 < size < entry.pairs:
            raise item.error(f"chunks[{place}] has {entry.pairs} pairs, chunk_size is {size}")
        end = entry.start + entry.pairs
    if len({entry.path for entry in entries}) != len(entries):
        raise item.error("lists one file twice", "every chunk once")
    total = sum(entry.pairs for entry in entries)
    said = item.whole("total_samples", total)
    if said != total:
        raise item.error(f"total_samples is {said}, its chunks have {total}")
