"""Small stores of made-up pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from crossdraft.base.files import write_json
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store.kinds import Side
from crossdraft.pairs.store.manifest import (
    MANIFEST,
    SHARDS,
    Manifest,
    Missing,
    Schema,
    ShardInfo,
    StoredKind,
)
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Row, Said, Top
from crossdraft.pairs.store.shard import write_shard
from crossdraft.pairs.store.store import PairStore

KNOWN: dict[Side, str] = {"target": "generated", "own": "generated"}
SCHEMA = Schema(
    (
        StoredKind("forced", 6, "bf16"),
        StoredKind("own", 130, "int8"),
        StoredKind("target", 6, "bf16"),
    ),
    2,
    KNOWN,
)


def make_row(
    i: int, schema: Schema = SCHEMA, counts: tuple[int, int] | None = None, *, drives: int = 3
) -> Row:
    """Pair `i`; `counts`: tokens of the target and of the drafter."""
    generator = torch.Generator().manual_seed(i)
    target, own = (2 + i % 5, 1 + i % 3) if counts is None else counts
    length: dict[Side, int] = {"target": target, "own": own}
    known = {side: tuple(range(n)) if side in schema.tokens else () for side, n in length.items()}
    return Row(
        Pair(
            f"drive_{i % drives}/{i:06d}", i, f"What about {i % 2}?", i % 2, known["own"],
            known["target"], f"own answer {i}", None, f"drive_{i % drives}", "data",
            draft_stages_ms=(0.0, 1.5, 2.25, 3.0, i / 7), extra={"note": i},
        ),
        {side: Said("eos", f"{i:016x}", n) for side, n in length.items()},
        {
            kind.name: pack(
                torch.randn(length[kind.kind.side], kind.width, generator=generator), kind.dtype
            )
            for kind in schema.kinds
        },
        {"target": make_top(target, schema.top)} if schema.top else {},
    )  # fmt: skip


def make_top(n: int, k: int) -> Top:
    """Logits of `n` rows."""
    logits = torch.arange(n * k, 0, -1, dtype=torch.float32).view(n, k)
    return Top(torch.arange(n * k, dtype=torch.int32).view(n, k), logits, logits.logsumexp(1))


def write_store(
    folder: Path,
    rows: Sequence[Row],
    schema: Schema = SCHEMA,
    *,
    per_shard: int = 4,
    missing: tuple[Missing, ...] = (),
    max_open: int | None = None,
) -> PairStore:
    """A store of these rows."""
    (folder / SHARDS).mkdir(parents=True)
    infos: list[ShardInfo] = []
    for first in range(0, len(rows), per_shard):
        path = folder / SHARDS / f"{len(infos):06d}.safetensors"
        infos.append(write_shard(path, rows[first : first + per_shard], schema))
    manifest = Manifest(
        schema, tuple(infos), ("What about 0?", "What about 1?"), {"made": "up"}, missing=missing
    )
    write_json(folder / MANIFEST, manifest.to_json())
    opened = PairStore.open(folder)
    return opened if max_open is None else PairStore(folder, opened.manifest, max_open)


def same_rows(found: Row, wanted: Row) -> bool:
    """Whether two rows are equal to the last bit."""
    if found.pair != wanted.pair or found.said != wanted.said:
        return False
    if (found.states.keys(), found.top.keys()) != (wanted.states.keys(), wanted.top.keys()):
        return False
    tensors = []
    for kind in wanted.states:
        ours, theirs = found.states[kind], wanted.states[kind]
        tensors.append((ours.codes, theirs.codes))
        if ours.scale is None or theirs.scale is None:
            if ours.scale is not theirs.scale:
                return False
        else:
            tensors.append((ours.scale, theirs.scale))
    for reading in wanted.top:
        a, b = found.top[reading], wanted.top[reading]
        tensors += [(a.ids, b.ids), (a.logits, b.logits), (a.total, b.total)]
    return all(ours.dtype == theirs.dtype and ours.equal(theirs) for ours, theirs in tensors)
