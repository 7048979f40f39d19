"""The seed study's hidden states as a pair store, chunk by chunk.

Two rounds over the files: the first checks everything and finds the smallest number format that
holds every value, the second writes. Token ids are not in those files; a model's head recovers them
from its states, which is how the study did it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.files import write_json
from crossdraft.base.new_folder import new_folder
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.pairs.record import Pair
from crossdraft.pairs.seed_chunks import Chunk, Sample, check_bytes
from crossdraft.pairs.seed_index import SeedStates
from crossdraft.pairs.seed_survey import KEYS, Survey, blocks, look
from crossdraft.pairs.store.kinds import SIDES, Side
from crossdraft.pairs.store.manifest import (
    MANIFEST,
    SHARDS,
    Manifest,
    Schema,
    ShardInfo,
    StoredKind,
)
from crossdraft.pairs.store.packing import bytes_per_position, pack
from crossdraft.pairs.store.rows import Packed, Row, Said
from crossdraft.pairs.store.shard import write_shard
from crossdraft.scenes.disk import format_bytes, free_bytes
from crossdraft.vlm.lm_head import LMHead

#: How a source made of states of the seed study calls itself in a manifest.
FORMAT = "seed-states"
#: When the files were made: two runs alike differ in it.
_WHEN = ("created", "date")
#: States of a shard, as they are stored.
_SHARD_BYTES = 256 << 20
#: States whose logits are computed at once.
_HEAD_ROWS = 512


@dataclass(frozen=True)
class SideHead:
    """A model's head, which recovers its ids, and the name that the store calls it by."""

    name: str
    head: LMHead


def convert_states(
    source: SeedStates,
    out: Path,
    *,
    dtype: str = "auto",
    heads: Mapping[Side, SideHead] | None = None,
    provenance: Mapping[str, Any] | None = None,
    progress: ProgressSink = silent,
) -> Manifest:
    """Write a pair store of the states; `out` appears whole or not at all.

    What the files hold beyond the study's fields is left out; `source["dropped"]` names it.

    Args:
        source: the files; each is read twice, one chunk at a time.
        out: a free name, or an empty folder.
        dtype: one of `kinds.DTYPES`, or `auto`: of each kind the smallest of bf16, fp16 and fp32
            that holds every value exactly.
        heads: whose ids are recovered, as the argmax of this head over the states.
        provenance: when and by which call.

    Raises:
        InputError: a file is missing or damaged, files contradict each other, a state is not
            finite, a clip and question stands twice; `out` is taken, or too large for its disk.
    """
    heads = heads or {}
    survey = Survey()
    with new_folder(out) as folder:
        for chunk in track(source.chunks(), "check", source.files, progress):
            check_bytes(chunk.path)
            look(chunk, survey)
            if source.layout == "chunks" and chunk.config:
                survey.unknown.add("config")  # a folder's stands in its index
        _refuse_empty(survey, source, heads)
        kinds = tuple(
            StoredKind(side, survey.width, survey.exact[side][0] if dtype == "auto" else dtype)
            for side in sorted(SIDES)
        )
        tokens = {side: f"argmax of {one.name} over the states" for side, one in heads.items()}
        schema = Schema(kinds, tokens=tokens)
        _refuse_full(survey, schema, out)
        (folder / SHARDS).mkdir()
        shards: list[ShardInfo] = []
        listed: list[dict[str, Any]] = []
        for chunk in track(source.chunks(), "write", source.files, progress):
            for rows in _shards(_rows(chunk, source.dataset, schema, heads)):
                path = folder / SHARDS / f"{len(shards):06d}.safetensors"
                shards.append(write_shard(path, rows, schema))
            listed.append(_listed(chunk, source, len(listed)))
        manifest = Manifest(
            schema,
            tuple(shards),
            survey.question_list(),
            _about(source, listed, heads, survey.unknown),
            {**(provenance or {}), "source": _when(source)},
        )
        write_json(folder / MANIFEST, manifest.to_json())
    return manifest


def _refuse_empty(survey: Survey, source: SeedStates, heads: Mapping[Side, SideHead]) -> None:
    if not survey.seen:
        raise InputError("holds no pair", where=source.path)
    for side, one in heads.items():
        if one.head.facts.hidden != survey.width:
            raise InputError(
                f"a head for states of width {one.head.facts.hidden}, "
                f"{KEYS[side]} has width {survey.width}",
                where=one.name,
                expected="the head of the model that the states are of",
            )


def _refuse_full(survey: Survey, schema: Schema, out: Path) -> None:
    """Refuse what the disk cannot take, before the long part of the work."""
    each = sum(bytes_per_position(kind.width, kind.dtype) for kind in schema.kinds)
    needed, free = each * survey.positions, free_bytes(out)
    if needed > free:
        raise InputError(
            f"the store takes {format_bytes(needed)}, {format_bytes(free)} are free",
            where=out,
            hint="another disk, or --dtype int8",
        )


def _rows(
    chunk: Chunk, dataset: str, schema: Schema, heads: Mapping[Side, SideHead]
) -> Iterator[Row]:
    """The pairs of a chunk, a block of states in memory at a time."""
    for (start, own), (_, target) in zip(blocks(chunk.own), blocks(chunk.target), strict=True):
        padded: dict[Side, Tensor] = {"own": own, "target": target}
        lengths = chunk.lengths[start : start + len(own)]
        ids = {side: _argmax(one.head, padded[side], lengths) for side, one in heads.items()}
        for place, length in enumerate(lengths):
            said = {side: Said(None, None, length) for side in SIDES}
            states = {side: block[place, :length] for side, block in padded.items()}
            packed = {
                kind.name: _packed(states[kind.kind.side], kind, chunk, start + place)
                for kind in schema.kinds
            }
            spoken = {side: tokens[place] for side, tokens in ids.items()}
            yield Row(_pair(chunk.samples[start + place], dataset, spoken), said, packed)


def _packed(states: Tensor, kind: StoredKind, chunk: Chunk, place: int) -> Packed:
    try:
        return pack(states, kind.dtype)
    except ValueError as error:
        raise InputError(
            f"{KEYS[kind.kind.side]}, pair {place}: {error}", where=chunk.path, hint="--dtype auto"
        ) from error


def _pair(sample: Sample, dataset: str, ids: Mapping[Side, tuple[int, ...]]) -> Pair:
    return Pair(
        clip=f"{dataset}/{sample.index}",
        index=sample.index,
        question=sample.question,
        question_index=sample.question_index,
        draft_tokens=ids.get("own", ()),
        target_tokens=ids.get("target", ()),
        draft_text=sample.own_text,
        target_text=sample.target_text,
        dataset=dataset,
        extra=sample.extra,
    )


def _argmax(head: LMHead, padded: Tensor, lengths: Sequence[int]) -> list[tuple[int, ...]]:
    """The ids that a head gives padded states [n, longest, hidden], of each pair."""
    states = torch.cat([block[:length] for block, length in zip(padded, lengths, strict=True)])
    ids: list[int] = []
    for start in range(0, len(states), _HEAD_ROWS):
        rows = states[start : start + _HEAD_ROWS].to(head.weight)
        ids += head.logits(rows).argmax(dim=1).tolist()
    bounds = pairwise(accumulate(lengths, initial=0))
    return [tuple(ids[begin:end]) for begin, end in bounds]


def _shards(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows in lots of about `_SHARD_BYTES`."""
    lot: list[Row] = []
    size = 0
    for row in rows:
        lot.append(row)
        size += sum(packed.codes.nbytes for packed in row.states.values())
        if size >= _SHARD_BYTES:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot


def _listed(chunk: Chunk, source: SeedStates, place: int) -> dict[str, Any]:
    """What the way back needs of a chunk, so that its file becomes the same again."""
    known = {"chunk_id": chunk.id, "longest": chunk.own.shape[1]}
    if source.layout == "single":
        return known
    entry = source.entries[place]
    return {
        "path": entry.path,
        "start_idx": entry.start,
        "n_samples": entry.pairs,
        **entry.extra,
        **known,
    }


def _about(
    source: SeedStates,
    listed: list[dict[str, Any]],
    heads: Mapping[Side, SideHead],
    unknown: set[str],
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "layout": source.layout,
        "dataset": source.dataset,
        "about": {key: value for key, value in source.about.items() if key not in _WHEN},
        "files": listed,
        "heads": {side: one.head.facts.source for side, one in sorted(heads.items())},
        **({"dropped": sorted(unknown)} if unknown else {}),
    }


def _when(source: SeedStates) -> dict[str, Any]:
    return {key: source.about[key] for key in _WHEN if key in source.about}
