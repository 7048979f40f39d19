"""A pair store in the seed study's formats: a folder of chunks with an index, or one file.

As there, both answers are cut to the shorter one, short ones are left out, and states are float32
with zeros behind them. A store that was made of such files gives the same files again, all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path, write_json
from crossdraft.base.new_folder import new_folder
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.pairs.seed_chunks import LENGTHS, METADATA, OWN, TARGET
from crossdraft.pairs.seed_index import CHUNKS, INDEX
from crossdraft.pairs.seed_origin import (
    about_of,
    before_of,
    config_of,
    created_of,
    extra_of,
    is_of_seed,
    lost_of,
)
from crossdraft.pairs.store.manifest import MANIFEST
from crossdraft.pairs.store.store import PairStore
from crossdraft.scenes.disk import format_bytes
from crossdraft.vlm.free_memory import available_bytes

#: The study's own settings: pairs of a chunk, states of the shortest answer that it keeps.
CHUNK_SIZE, MIN_LENGTH = 1000, 5


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        pairs: in the files.
        left_out: pairs whose shorter answer has fewer than `shortest` states.
        shortest: answer that is kept.
        files: of states.
        lost: what the store has and the format cannot hold, in words.
    """

    pairs: int
    left_out: int
    shortest: int
    files: int
    lost: tuple[str, ...]


@dataclass(frozen=True)
class _Kept:
    """One pair on its way: its place in the store, its states, what is said of it."""

    place: int
    length: int
    sample: Mapping[str, Any]


def write_chunks(
    store: PairStore,
    out: Path,
    *,
    chunk_size: int | None = None,
    min_length: int | None = None,
    progress: ProgressSink = silent,
) -> Exported:
    """Write a folder of chunks; `out` appears whole or not at all, its index is written last.

    Args:
        chunk_size: pairs of a chunk; None: as in the folder that the store was made of, else 1000.
        min_length: shortest answer that is kept, in states; None: 0 for a store that was made of
            the study's files, which are to come back as they were, else 5 as the study had it.

    Raises:
        InputError: the store has no states of one side, or of two widths; nothing is left; `out`
            is taken.
    """
    shortest = _shortest(store, min_length)
    kept, width = _plan(store, shortest)
    before = before_of(store, "chunks", len(kept)) if chunk_size is None else None
    about = about_of(store)
    config = config_of(store, "chunks", _asked(kept), width)
    size = chunk_size or about.get("chunk_size") or CHUNK_SIZE
    listed: list[dict[str, Any]] = []
    with new_folder(out) as folder:
        (folder / CHUNKS).mkdir()
        lots = _lots(kept, [one["n_samples"] for one in before] if before else size)
        start = 0
        for place, lot in enumerate(track(lots, "write", len(lots), progress)):
            was = before[place] if before else {}
            listed.append(_write_chunk(store, folder / CHUNKS, lot, width, start, was))
            start += len(lot)
        index = {
            **about,
            "total_samples": len(kept),
            "chunk_size": size,
            "chunks": listed,
            "config": config,
            "created": created_of(store)["created"],
        }
        write_json(folder / INDEX, index)
    return Exported(len(kept), len(store) - len(kept), shortest, len(listed), lost_of(store))


def write_single(
    store: PairStore,
    path: Path,
    *,
    min_length: int | None = None,
    progress: ProgressSink = silent,
) -> Exported:
    """Write one file, atomically. It is made in memory: the format pads all answers alike.

    Raises:
        InputError: as `write_chunks`, or memory is too small for the file.
    """
    shortest = _shortest(store, min_length)
    kept, width = _plan(store, shortest)
    before = before_of(store, "single", len(kept))
    longest = _longest(store, kept, before[0] if before else {})
    config = config_of(store, "single", _asked(kept), width)
    _refuse_large(len(kept), longest, width, path, "--to chunks writes it in pieces")
    data = _data(store, kept, longest, width, progress)
    config |= {"num_samples": len(kept), "max_seq_len": longest, **created_of(store)}
    _save({**data, "config": config}, path)
    return Exported(len(kept), len(store) - len(kept), shortest, 1, lost_of(store))


def _write_chunk(
    store: PairStore,
    folder: Path,
    kept: Sequence[_Kept],
    width: int,
    start: int,
    was: Mapping[str, Any],
) -> dict[str, Any]:
    """Write one chunk as it was, where it was one; its entry in the index."""
    path, start = was.get("path", f"chunk_{start:06d}.pt"), was.get("start_idx", start)
    longest = _longest(store, kept, was)
    _refuse_large(len(kept), longest, width, path, "a smaller --chunk-size")
    data = _data(store, kept, longest, width)
    if (chunk_id := was.get("chunk_id", start)) is not None:
        data |= {"chunk_id": chunk_id, "n_samples": len(kept)}
    _save(data, folder / path)
    extra = {key: value for key, value in was.items() if key not in ("longest", "chunk_id")}
    return {"path": path, "start_idx": start, "n_samples": len(kept), **extra}


def _shortest(store: PairStore, min_length: int | None) -> int:
    if min_length is not None:
        return min_length
    return 0 if is_of_seed(store) else MIN_LENGTH


def _longest(store: PairStore, kept: Sequence[_Kept], was: Mapping[str, Any]) -> int:
    """What a file is padded to: as it was, where it was one."""
    needed = max(one.length for one in kept)
    said: int = was.get("longest") or needed
    if said < needed:
        raise InputError(
            f"source.files: longest is {said}, one of its answers has {needed} states",
            where=store.folder / MANIFEST,
        )
    return said


def _refuse_large(count: int, longest: int, width: int, path: str | Path, hint: str) -> None:
    needed, free = 2 * 4 * count * longest * width, available_bytes("cpu")
    if free is not None and needed > free:
        raise InputError(
            f"the file is made in memory and takes {format_bytes(needed)}, "
            f"{format_bytes(free)} are free",
            where=path,
            hint=hint,
        )


def _plan(store: PairStore, min_length: int) -> tuple[list[_Kept], int]:
    """The pairs that are written, with what is said of each; and the width of their states."""
    kinds = {side: store.manifest.schema.kind(side) for side in ("own", "target")}
    missing = [side for side, kind in kinds.items() if kind is None]
    if missing:
        raise InputError(
            f"has no {' and no '.join(missing)} states",
            where=store.folder,
            expected="a store with the states of both answers",
            hint="crossdraft extract --states last",
        )
    widths = {side: kind.width for side, kind in kinds.items() if kind is not None}
    if widths["own"] != widths["target"]:
        raise InputError(
            f"own states have width {widths['own']}, target states {widths['target']}",
            where=store.folder,
            expected="one width: the seed study's format has no second one",
        )
    numbers = _numbers(store)
    kept = []
    for place, pair in enumerate(store.pairs()):
        length = min(store.count(place, "own"), store.count(place, "target"))
        if length < min_length:
            continue
        sample = {
            "sample_idx": numbers[place],
            "question_idx": pair.question_index,
            "question": pair.question,
            "egpt_text": pair.draft_text,
            "vl_text": pair.target_text,
            "seq_len": length,
            **extra_of(store, pair),
        }
        kept.append(_Kept(place, length, sample))
    if not kept:
        raise InputError(
            f"no pair has {min_length} states of both answers",
            where=store.folder,
            hint="--min-length",
        )
    return kept, widths["own"]


def _numbers(store: PairStore) -> list[int]:
    """A number per pair, equal for pairs of one clip: the clip's own where no two clips share
    theirs, else the clip's place among all clips."""
    clips: dict[str, int] = {}
    for pair in store.pairs():
        clips.setdefault(pair.clip, pair.index)
    if len(set(clips.values())) < len(clips):
        clips = {clip: place for place, clip in enumerate(clips)}
    return [clips[pair.clip] for pair in store.pairs()]


def _data(
    store: PairStore,
    kept: Sequence[_Kept],
    longest: int,
    width: int,
    progress: ProgressSink = silent,
) -> dict[str, Any]:
    """Padded states and what belongs to them."""
    data: dict[str, Any] = {}
    for key, kind in ((OWN, "own"), (TARGET, "target")):
        padded = torch.zeros(len(kept), longest, width)
        for row, one in enumerate(track(kept, key, len(kept), progress)):
            padded[row, : one.length] = store.states(one.place, kind)[: one.length]
        data[key] = padded
    data[LENGTHS] = torch.tensor([one.length for one in kept], dtype=torch.int64)
    data[METADATA] = [dict(one.sample) for one in kept]
    return data


def _save(data: Mapping[str, Any], path: Path) -> None:
    # Through a stream: given a path, torch writes its temporary name into the archive.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(dict(data), stream)


def _lots(kept: Sequence[_Kept], sizes: int | Sequence[int]) -> list[Sequence[_Kept]]:
    if isinstance(sizes, int):
        sizes = [sizes] * -(-len(kept) // sizes)
    lots, start = [], 0
    for size in sizes:
        lots.append(kept[start : start + size])
        start += size
    return lots


def _asked(kept: Sequence[_Kept]) -> int:
    """How many questions there are."""
    return len({one.sample["question_idx"] for one in kept})
