"""What int8 states cost: one adapter trained on each of two stores, judged on test drives.

The adapter is a residual bottleneck from one state of the drafter to the target's state at the same
position, trained by cross-entropy through the target's frozen head. Window regime: it reads the
drafter's own states before the target has said anything; what counts is how many tokens from the
first on are right. Following regime: it reads forced states; what counts is the share of tokens
that are right given what was read. Both stores hold the same answers; seeds, batches and steps are
the same. Intervals: 95 %, bootstrapped over drives; differences on the same draws.

    crossdraft extract --pair embedded --scenes DIR --out bf16 --dtype bf16
    crossdraft extract --pair embedded --scenes DIR --out int8 --dtype int8
    python benchmarks/store_precision.py --stores bf16 int8 --pair embedded --json precision.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from crossdraft.base.errors import InputError
from crossdraft.base.files import output_path, write_json
from crossdraft.base.result import machine, package_versions
from crossdraft.evaluation.bootstrap import BlockBootstrap, few_blocks
from crossdraft.pairs.store import PairStore
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.vlm.lm_head import LMHead, lm_head_of
from crossdraft.vlm.pair import ModelPair

#: What the adapter reads in each regime.
READS = {"window": "own", "following": "forced"}
_RESAMPLES = 2000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Course:
    """How an adapter is trained."""

    epochs: int
    batch: int = 64
    width: int = 128
    rate: float = 1e-3
    seed: int = 0


class Adapter(nn.Module):
    """x + up(gelu(down(norm(x)))), through one projection where the widths differ."""

    def __init__(self, reads: int, gives: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Identity() if reads == gives else nn.Linear(reads, gives)
        self.norm = nn.LayerNorm(gives)
        self.down, self.up = nn.Linear(gives, width), nn.Linear(width, gives)
        # Begins as the identity, as far as widths allow.
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, states: Tensor) -> Tensor:
        """[..., reads] -> [..., gives]."""
        entered: Tensor = self.enter(states)
        mapped: Tensor = self.up(functional.gelu(self.down(self.norm(entered))))
        return entered + mapped


def trained(store: PairStore, kind: str, rows: Sequence[int], head: LMHead, how: Course) -> Adapter:
    """Fit an adapter on some rows of a store."""
    torch.manual_seed(how.seed)
    stored = store.manifest.schema.kind(kind)
    assert stored is not None
    adapter = Adapter(stored.width, head.facts.hidden, how.width)
    optimizer = torch.optim.AdamW(adapter.parameters(), lr=how.rate)
    for epoch in range(how.epochs):
        for batch in store.batches((kind,), how.batch, rows=rows, seed=how.seed, epoch=epoch):
            states = batch.states[kind]
            wanted = batch.tokens["target"]
            both = min(states.shape[1], wanted.shape[1])
            there = torch.arange(both) < torch.minimum(
                batch.lengths["own" if kind == "own" else "target"], batch.lengths["target"]
            ).unsqueeze(1)
            logits = head.logits(adapter(states[:, :both])[there])
            loss = functional.cross_entropy(logits, wanted[:, :both][there])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return adapter


@torch.no_grad()
def judged(
    store: PairStore, kind: str, rows: Sequence[int], head: LMHead, adapter: Adapter
) -> tuple[Floats, Floats]:
    """[rows] what is right, and of how many: tokens of the answer in the following regime, answers
    in the window regime, whose numerator is the number of right tokens from the first on."""
    right, of = [], []
    for row in rows:
        wanted = torch.tensor(store.pair(row).target_tokens)
        states = store.states(row, kind)[: len(wanted)]
        same = head.logits(adapter(states)).argmax(-1) == wanted[: len(states)]
        if kind == "own":
            right.append(float(same.long().cumprod(0).sum()))
            of.append(1.0)
        else:
            right.append(float(same.sum()))
            of.append(float(len(wanted)))
    return np.array(right)[:, None], np.array(of)[:, None]


def compared(
    stores: Sequence[PairStore],
    head: LMHead,
    train: Sequence[int],
    test: Sequence[int],
    how: Course,
) -> dict[str, Any]:
    """Each regime: what every store's adapter reaches, and the last less the first."""
    drives = [str(stores[0].pair(row).drive) for row in test]
    groups = [[i for i, one in enumerate(drives) if one == name] for name in sorted(set(drives))]
    bootstrap = BlockBootstrap(groups, _RESAMPLES, how.seed)
    found: dict[str, Any] = {}
    for regime, kind in READS.items():
        counts = [
            judged(store, kind, test, head, trained(store, kind, train, head, how))
            for store in stores
        ]
        found[regime] = {
            "reads": kind,
            "values": [bootstrap.ratio(*one)[0].to_json() for one in counts],
            "difference": bootstrap.difference(counts[-1], counts[0])[0].to_json(),
        }
    return found


def halves(store: PairStore, scenes: Path) -> tuple[list[int], list[int]]:
    """Rows of training and test drives, as the dataset splits them.

    Raises:
        InputError: one of the two is empty.
    """
    split = {scene.id: scene.split for scene in SceneDataset.open(scenes)}
    sides: dict[str | None, list[int]] = {"train": [], "test": []}
    for row, pair in enumerate(store.pairs()):
        sides.setdefault(split.get(pair.clip), []).append(row)
    if not sides["train"] or not sides["test"]:
        raise InputError("no drives to train on or none to test on", where=scenes)
    return sides["train"], sides["test"]


def same_answers(stores: Sequence[PairStore]) -> None:
    """Refuse stores that do not hold the same answers in the same order.

    Raises:
        InputError: naming the first pair that differs.
    """
    for number, pairs in enumerate(zip(*(store.pairs() for store in stores), strict=True)):
        if any(one != pairs[0] for one in pairs):
            raise InputError(
                f"pair {number} differs", where=stores[-1].folder, expected="the same answers"
            )


def measured(folders: Sequence[Path], pair: ModelPair, scenes: Path, how: Course) -> dict[str, Any]:
    """The whole measurement.

    Raises:
        InputError: a store that cannot be read, or stores of different answers.
    """
    stores = [PairStore.open(folder) for folder in folders]
    same_answers(stores)
    head = lm_head_of(pair.target.place("target")).to(torch.float32)
    train, test = halves(stores[0], scenes)
    return {
        "benchmark": "store_precision",
        "pair": pair.name,
        "stores": [
            {
                "kinds": {kind.name: kind.dtype for kind in store.manifest.schema.kinds},
                "bytes": sum(shard.bytes for shard in store.manifest.shards),
            }
            for store in stores
        ],
        "pairs": {"train": len(train), "test": len(test)},
        "drives": {
            side: len({stores[0].pair(row).drive for row in rows})
            for side, rows in (("train", train), ("test", test))
        },
        "course": vars(how),
        "regimes": compared(stores, head, train, test, how),
        "warnings": few_blocks(sorted({str(stores[0].pair(row).drive) for row in test})),
        "packages": package_versions(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


def lines(result: dict[str, Any]) -> list[str]:
    """What is printed."""
    shown = []
    what = {"window": "right tokens from the first on", "following": "share of tokens right"}
    for regime, found in result["regimes"].items():
        for store, value in zip(result["stores"], found["values"], strict=True):
            dtype = store["kinds"][found["reads"]]
            shown.append(f"{regime:<10}{dtype:<6}{what[regime]} {_shown(value)}")
        shown.append(f"{regime:<10}last less first {_shown(found['difference'])}")
    return [*shown, *(f"warning: {text}" for text in result["warnings"])]


def _shown(value: dict[str, float | None]) -> str:
    low, high = value["low"], value["high"]
    between = "" if low is None or high is None else f" [{low:.4f}, {high:.4f}]"
    return f"{value['value']:.4f}{between}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stores", type=Path, nargs="+", required=True)
    parser.add_argument("--pair", default="embedded", help="a shipped pair, or a pair's file")
    parser.add_argument("--scenes", type=Path, required=True, help="their dataset, for its split")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    try:
        if arguments.epochs < 1:
            raise InputError(f"{arguments.epochs}", where="--epochs", expected="1 or more")
        out = None if arguments.json is None else output_path(arguments.json)
        pair = ModelPair.find(arguments.pair)
        how = Course(arguments.epochs)
        result = measured(arguments.stores, pair, arguments.scenes, how)
        if out is not None:
            write_json(out, result)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print("\n".join(lines(result)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
