"""How quickly a training gets its batches: from a pair store, and from the seed study's chunks.

Theirs: chunks of float32 states padded to 50, saved by torch.save, one chunk after the other, pairs
shuffled within a chunk, the next chunk loaded by a thread meanwhile; a batch is 64 of its rows and
their mask. Ours: a store in bf16 (and one in int8), every pass shuffled over all pairs, the same
two kinds of states as padded float32. Same pairs, same lengths (20 to 50 tokens), files in the
system's cache, passes of both in alternation. Also: what memory a pass takes over a store of N and
of 4 N pairs, and how long a store that lists 10,000 shards takes to open.

The ratio of the median passes is what to look at. Run it alone. Needs 6 GB of disk in --folder and
12 GB of memory.

    python benchmarks/store_loader.py [--pairs 1200] [--passes 5] [--folder DIR] [--json OUT]
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.clock import now_ms
from crossdraft.base.files import write_json
from crossdraft.base.result import machine
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store import PairStore
from crossdraft.pairs.store.manifest import (
    MANIFEST,
    SHARDS,
    Manifest,
    Schema,
    ShardInfo,
    StoredKind,
)
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Row, Said
from crossdraft.pairs.store.shard import write_shard

KINDS = ("own", "target")
LONGEST, SHORTEST, BATCH = 50, 20, 64
#: Pairs of a chunk at width 4096; narrower ones hold as many bytes.
CHUNK = 400


def lengths_of(pairs: int) -> list[int]:
    """Tokens of each pair."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(SHORTEST, LONGEST + 1, (pairs,), generator=generator).tolist()


@cache
def noise(width: int) -> Tensor:
    """What states are cut out of: making them anew for each pair takes longer than all passes."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2000, width, generator=generator).bfloat16().float()


def states_of(i: int, kind: str, n: int, width: int) -> Tensor:
    """[n, width] made-up states of a pair."""
    first = (37 * i + 911 * KINDS.index(kind)) % (2000 - LONGEST)
    return noise(width)[first : first + n]


def write_chunks(folder: Path, lengths: list[int], width: int, chunk: int) -> list[Path]:
    """The pairs as the seed study saved them."""
    folder.mkdir()
    paths = []
    for first in range(0, len(lengths), chunk):
        part = lengths[first : first + chunk]
        data: dict[str, Tensor] = {"seq_lens": torch.tensor(part)}
        for kind, name in zip(KINDS, ("egpt_hidden", "vl_hidden"), strict=True):
            data[name] = torch.zeros(len(part), LONGEST, width)
            for row, n in enumerate(part):
                data[name][row, :n] = states_of(first + row, kind, n, width)
        paths.append(folder / f"chunk_{first:06d}.pt")
        torch.save(data, paths[-1])
    return paths


def write_store(folder: Path, lengths: list[int], width: int, dtype: str, shard: int) -> PairStore:
    """The pairs as a store."""
    (folder / SHARDS).mkdir(parents=True)
    kinds = tuple(StoredKind(kind, width, dtype) for kind in KINDS)
    schema = Schema(kinds, 0, {"own": "generated", "target": "generated"})
    infos: list[ShardInfo] = []
    for first in range(0, len(lengths), shard):
        rows = [
            Row(
                Pair(f"{i}", i, "What?", 0, tuple(range(n)), tuple(range(n))),
                {"own": Said("eos", None, n), "target": Said("eos", None, n)},
                {kind: pack(states_of(i, kind, n, width), dtype) for kind in KINDS},
            )
            for i, n in enumerate(lengths[first : first + shard], start=first)
        ]
        infos.append(write_shard(folder / SHARDS / f"{len(infos):06d}.safetensors", rows, schema))
    write_json(folder / MANIFEST, Manifest(schema, tuple(infos)).to_json())
    return PairStore.open(folder)


def chunk_batches(paths: list[Path], epoch: int) -> Iterator[tuple[Tensor, ...]]:
    """Batches as the seed study's trainings had them."""
    ready: Queue[dict[str, Tensor] | None] = Queue(maxsize=1)

    def load() -> None:
        for path in paths:
            ready.put(torch.load(path, weights_only=True))
        ready.put(None)

    Thread(target=load, daemon=True).start()
    generator = torch.Generator().manual_seed(epoch)
    while (chunk := ready.get()) is not None:
        order = torch.randperm(len(chunk["seq_lens"]), generator=generator)
        for first in range(0, len(order), BATCH):
            rows = order[first : first + BATCH]
            mask = torch.arange(LONGEST) < chunk["seq_lens"][rows, None]
            yield chunk["egpt_hidden"][rows], chunk["vl_hidden"][rows], mask


def store_batches(store: PairStore, epoch: int) -> Iterator[tuple[Tensor, ...]]:
    """The same of a store."""
    for batch in store.batches(KINDS, BATCH, epoch=epoch):
        yield batch.states["own"], batch.states["target"], batch.mask("target")


def pairs_per_s(batches: Iterator[tuple[Tensor, ...]]) -> float:
    """How many pairs come in a second. Each batch is looked at once, as a training's first layer
    would, so that nobody is paid for pages that were not touched."""
    start, pairs = now_ms(), 0
    for own, target, mask in batches:
        own.sum()
        target.sum()
        pairs += len(mask)
    return 1000 * pairs / (now_ms() - start)


def compare(folder: Path, width: int, pairs: int, passes: int) -> dict[str, Any]:
    """Pairs per second of every loader, and of ours by theirs."""
    lengths, chunk = lengths_of(pairs), CHUNK * 4096 // width
    paths = write_chunks(folder / f"chunks{width}", lengths, width, chunk)
    loaders: dict[str, Callable[[int], Iterator[tuple[Tensor, ...]]]] = {
        "chunks": lambda epoch: chunk_batches(paths, epoch)
    }
    for dtype in ("bf16", "int8"):
        store = write_store(folder / f"{dtype}-{width}", lengths, width, dtype, chunk // 2)
        loaders[dtype] = lambda epoch, store=store: store_batches(store, epoch)  # type: ignore[misc]
        # A store that was just opened looks at the checksum of each slice.
        loaders[f"{dtype}, first pass"] = lambda epoch, place=store.folder: store_batches(  # type: ignore[misc]
            PairStore.open(place), epoch
        )
    speeds: dict[str, list[float]] = {name: [] for name in loaders}
    for epoch in range(-1, passes):
        for name, loader in loaders.items():
            gc.collect()
            speed = pairs_per_s(loader(epoch + 1))
            if epoch >= 0:  # the first round fills the cache, and checks the stores that stay open
                speeds[name].append(speed)
    ratios = {
        name: [ours / theirs for ours, theirs in zip(speeds[name], speeds["chunks"], strict=True)]
        for name in loaders
        if name != "chunks"
    }
    return {
        "width": width,
        "pairs": pairs,
        "pairs_per_s": {name: statistics.median(all_) for name, all_ in speeds.items()},
        "ratio": {name: statistics.median(all_) for name, all_ in ratios.items()},
        "ratio_range": {name: [min(all_), max(all_)] for name, all_ in ratios.items()},
    }


def anonymous_mb() -> float:
    """Memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024


def most_anonymous_mb(folder: Path) -> list[float]:
    """Of a process that does nothing else: before two passes over a store, and at most in them."""
    store, before = PairStore.open(folder), anonymous_mb()
    seen = [anonymous_mb() for epoch in range(2) for _ in store_batches(store, epoch)]
    return [before, max(seen)]


def memory(folder: Path, pairs: int) -> dict[str, Any]:
    """What passes over a store of N and of 4 N pairs take, and what the states would take."""
    found = {}
    for count in (pairs, 4 * pairs):
        place = folder / f"memory-{count}"
        store = write_store(place, lengths_of(count), 512, "bf16", 100)
        with get_context("spawn").Pool(1) as pool:
            before, most = pool.apply(most_anonymous_mb, (place,))
        stored = sum(shard.bytes for shard in store.manifest.shards) / 2**20
        found[f"{count} pairs"] = {"before": before, "most": most, "store": stored}
    return found


def open_ms(folder: Path, shards: int) -> float:
    """The median time to open a store of so many shards; the files are empty but for their size."""
    store = write_store(folder / "many", lengths_of(1), 8, "bf16", 1)
    (info,) = store.manifest.shards
    infos = []
    for number in range(shards):
        infos.append(replace(info, file=f"{number:06d}.safetensors"))
        with (folder / "many" / SHARDS / infos[-1].file).open("r+b" if number == 0 else "wb") as f:
            f.truncate(info.bytes)
    write_json(folder / "many" / MANIFEST, replace(store.manifest, shards=tuple(infos)).to_json())
    times = []
    for _ in range(7):
        start = now_ms()
        PairStore.open(folder / "many")
        times.append(now_ms() - start)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=1200, help="at width 4096; 4 times at 256")
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where to write; emptied afterwards")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="store_loader", dir=options.folder))
    try:
        found = {
            "date": date.today().isoformat(),
            "machine": machine(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "open_10000_shards_ms": open_ms(place, 10_000),
            "memory_mb": memory(place, 2000),
            "loaders": [
                compare(place, 256, 4 * options.pairs, options.passes),
                compare(place, 4096, options.pairs, options.passes),
            ],
        }
    finally:
        shutil.rmtree(place)
    print(json.dumps(found, indent=2))
    if options.json is not None:
        write_json(options.json, found)


if __name__ == "__main__":
    main()
