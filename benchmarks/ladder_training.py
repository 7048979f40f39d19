"""Whether the ladder trains as quickly as a plain loop in the seed study's way.

The plain loop: states as float32 in chunk files, each padded to its longest answer, or all in one
file and in memory; batches of 64 inside a chunk, loss `seed` over all padded positions, AdamW,
clipping, a cosine rate by epoch. Ours: `fit` on a pair store, which reads, pads and shuffles over
all pairs anew in each epoch. Same network, same pairs; epochs take turns, so that a busy machine
slows all. What counts is the time of an epoch's steps for each valid position; no loop is charged
for validation.

    crossdraft extract --pair embedded --scenes DIR --split train --out store
    python benchmarks/ladder_training.py --store store [--pairs 2000] [--epochs 6] [--json OUT]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
from measuring import Record, in_turns, refuse_below_one, reported, spread
from torch import Tensor, nn
from torch.nn import functional

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine, package_versions
from crossdraft.drafters.ladder.attention import AttentionDrafter
from crossdraft.drafters.ladder.bottleneck import (
    BottleneckDrafter,
    MultiBottleneckDrafter,
    WideBottleneckDrafter,
)
from crossdraft.drafters.ladder.inputs import Inputs
from crossdraft.drafters.ladder.learning import LearningLevel
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import hold_out
from crossdraft.pairs.store import PairStore
from crossdraft.training.loop import fit
from crossdraft.training.settings import TrainSettings

_BATCH, _CHUNK = 64, 1000
LEVELS: dict[str, type[LearningLevel]] = {
    "L1": BottleneckDrafter,
    "L2": MultiBottleneckDrafter,
    "L3": WideBottleneckDrafter,
    "L4": AttentionDrafter,
}
Chunk = dict[str, Tensor]


def chunks_of(store: PairStore, pairs: Sequence[Pair], size: int) -> Iterator[Chunk]:
    """States of both models side by side as the seed study kept them: float32, zeros behind."""
    rows = store.rows_of(pairs)
    for first in range(0, len(rows), size):
        own = [store.states(row, "own") for row in rows[first : first + size]]
        target = [store.states(row, "target") for row in rows[first : first + size]]
        lengths = [min(len(one), len(other)) for one, other in zip(own, target, strict=True)]
        yield {
            "egpt_hidden": _padded([one[:n] for one, n in zip(own, lengths, strict=True)]),
            "vl_hidden": _padded([one[:n] for one, n in zip(target, lengths, strict=True)]),
            "seq_lens": torch.tensor(lengths),
        }


def _padded(rows: list[Tensor]) -> Tensor:
    return nn.utils.rnn.pad_sequence(rows, batch_first=True)


def plain_loop(
    network: nn.Module, chunks: Callable[[], Iterator[Chunk]], count: int
) -> Callable[[Callable[[Record], None]], None]:
    """A training of `count` epochs in the seed study's way."""

    def train(told: Callable[[Record], None]) -> None:
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, count, 1e-6)
        network.train()
        for _ in range(count):
            started_ms, valid, total = now_ms(), 0, 0.0
            for chunk in chunks():
                for rows in torch.split(torch.randperm(len(chunk["seq_lens"])), _BATCH):
                    loss, positions = _plain_loss(network, *(one[rows] for one in chunk.values()))
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                    optimizer.step()
                    valid, total = valid + positions, total + float(loss.detach()) * positions
            schedule.step()
            told({"train_ms": now_ms() - started_ms, "valid": valid, "train_loss": total / valid})

    return train


def _plain_loss(
    network: nn.Module, own: Tensor, target: Tensor, lengths: Tensor
) -> tuple[Tensor, int]:
    """Mean squared error + 0.5 (1 - cosine) over what is not padding, and its positions."""
    aligned = network(Inputs(own)).states
    mask = (torch.arange(own.shape[1]) < lengths[:, None]).float()
    count = mask.sum()
    errors = ((aligned - target) ** 2 * mask[..., None]).sum() / (count * own.shape[2])
    cosine = (functional.cosine_similarity(aligned, target, dim=-1) * mask).sum() / count
    return errors + 0.5 * (1 - cosine), int(lengths.sum())


def made(level: str, pairs: Sequence[Pair]) -> LearningLevel:
    """A level as the seed study trained it, not yet trained."""
    kind = LEVELS[level]
    made = kind(kind.config_from({"loss": "seed", "alignment": "own"}))
    made.build(pairs, seed=0)
    return made


def compared(store: PairStore, level: str, train: list[Pair], val: list[Pair], count: int) -> Any:
    """All loops of one level, in turns: time for each valid position, and how they learn."""
    drafter = made(level, train)
    settings = TrainSettings(
        num_epochs=count, early_stopping=count, batch_size=_BATCH, learning_rate=1e-3
    )
    with tempfile.TemporaryDirectory() as place:
        files = []
        for number, chunk in enumerate(chunks_of(store, train, _CHUNK)):
            files.append(Path(place) / f"chunk_{number:06d}.pt")
            torch.save(chunk, files[-1])
        whole = list(chunks_of(store, train, len(train)))
        positions = int(whole[0]["seq_lens"].sum())
        loops = {
            "chunks": plain_loop(
                made(level, train).network,
                lambda: (torch.load(file, weights_only=True) for file in files),
                count,
            ),
            "memory": plain_loop(made(level, train).network, lambda: iter(whole), count),
            "ours": lambda told: fit(drafter, train, val, settings, on_epoch=told),
        }
        runs = {name: in_turns(loop, count) for name, loop in loops.items()}
        history: dict[str, list[Record]] = {name: [] for name in runs}
        for epoch in range(count):
            # Nobody always comes first.
            for name in sorted(runs, key=lambda one: (one == "ours") != bool(epoch % 2)):
                history[name].append(next(runs[name]))
    for run in runs.values():
        next(run, None)
    times = {name: [one["train_ms"] for one in records] for name, records in history.items()}
    return {
        "parameters": drafter.parameters,
        "valid_positions": positions,
        "us_per_position": {
            name: spread([1000 * one / positions for one in found]) for name, found in times.items()
        },
        "plain_to_ours": {
            name: spread(
                [theirs / ours for theirs, ours in zip(times[name], times["ours"], strict=True)]
            )
            for name in ("chunks", "memory")
        },
        "train_loss": {
            name: [one["train_loss"] for one in found] for name, found in history.items()
        },
    }


def measured(folder: Path, levels: Sequence[str], most: int, epochs: int) -> dict[str, Any]:
    """The whole measurement, of at most so many pairs.

    Raises:
        InputError: no store, or one without the states of both models.
    """
    store = PairStore.open(folder)
    store.require("own", "target")
    fold = hold_out(list(store.pairs()), 0.1, 0)
    train, val = list(fold.train[:most]), list(fold.test[:_BATCH])
    return {
        "benchmark": "ladder_training",
        "threads": torch.get_num_threads(),
        "pairs": len(train),
        "epochs": epochs,
        "levels": {level: compared(store, level, train, val, epochs) for level in levels},
        "packages": package_versions(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--store", type=Path, required=True, help="a pair store with states")
    parser.add_argument(
        "--levels", nargs="+", default=["L1", "L4"], choices=["L1", "L2", "L3", "L4"]
    )
    parser.add_argument("--pairs", type=int, default=2000, help="to train on")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)

    def measure() -> dict[str, Any]:
        refuse_below_one(arguments, ["pairs", "epochs"])
        return measured(arguments.store, arguments.levels, arguments.pairs, arguments.epochs)

    return reported(measure, arguments.json, lines)


def lines(result: dict[str, Any]) -> Iterator[str]:
    """What is printed."""
    yield f"{result['pairs']:,} pairs, {result['epochs']} epochs in turns"
    for level, found in result["levels"].items():
        for name, took in found["us_per_position"].items():
            said = f"{level} {name:<7} {took['median']:7.2f} us a valid position"
            if (ratio := found["plain_to_ours"].get(name)) is not None:
                said += (f", {ratio['median']:.2f} [{ratio['low']:.2f}, {ratio['high']:.2f}] "
                         "times ours")  # fmt: skip
            yield f"{said}; loss {found['train_loss'][name][-1]:.4f} in the end"


if __name__ == "__main__":
    raise SystemExit(main())
