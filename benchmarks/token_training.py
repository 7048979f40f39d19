"""How much quicker the token adapter trains than in the seed study's setting, and at what price.

The seed's setting: every answer padded to 128 tokens, embedding and head over all 32,000 ids, no
padding mask. Ours: padded to the longest answer of the batch, rows only for ids that occur. Same
answers, same optimizer, same seed; epochs of both in alternation, so that a busy machine slows
both. The ratio of the median epoch and the validation top-1 are what to look at.

    python benchmarks/token_training.py --pairs answers.json.gz [--epochs 10] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import torch
from measuring import Record, in_turns

from crossdraft.base.result import machine
from crossdraft.decoding.answers import read_answers
from crossdraft.drafters.token_adapter import TokenAdapterConfig, TokenAdapterDrafter
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import hold_out, in_recording_order
from crossdraft.training.loop import fit
from crossdraft.training.settings import TrainSettings

SETTINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "seed study": ({"draft_vocab": "full", "padding_mask": False}, {"padding": "full"}),
    "ours": ({"draft_vocab": "auto"}, {"padding": "longest"}),
}


def training(
    options: dict[str, Any], loop: dict[str, Any], train: list[Pair], val: list[Pair], count: int
) -> Iterator[Record]:
    """Records of a training, one epoch at a time."""
    drafter = TokenAdapterDrafter(TokenAdapterConfig(**options))
    settings = TrainSettings(num_epochs=count, early_stopping=count, **loop)
    return in_turns(lambda told: fit(drafter, train, val, settings, on_epoch=told), count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--answers", type=int, default=200, help="to train on, as the seed study")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    pairs = in_recording_order(read_answers(arguments.pairs, 2).pairs)
    fold = hold_out(pairs, 0.3, 4)
    train, val = list(fold.train[: arguments.answers]), list(fold.test)
    print(f"{len(train)} answers to learn from, {len(val)} to validate on, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    runs = {
        name: training(options, loop, train, val, arguments.epochs)
        for name, (options, loop) in SETTINGS.items()
    }
    history: dict[str, list[Record]] = {name: [] for name in runs}
    for _ in range(arguments.epochs):
        for name, run in runs.items():
            history[name].append(next(run))
        shown = [f"{name} {r[-1]['train_ms'] / 1000:6.1f} s top-1 {100 * r[-1]['val_top1']:5.2f} %"
                 for name, r in history.items()]  # fmt: skip
        print(f"epoch {len(history['ours'])}: " + ", ".join(shown), flush=True)
    ratios = [
        seed["train_ms"] / ours["train_ms"]
        for seed, ours in zip(history["seed study"], history["ours"], strict=True)
    ]
    best = {name: max(r["val_top1"] for r in records) for name, records in history.items()}
    share = sum(r["validation_ms"] for r in history["ours"]) / sum(
        r["validation_ms"] + r["train_ms"] for r in history["ours"]
    )
    print(f"an epoch is {statistics.median(ratios):.1f}x as quick (median of {len(ratios)})")
    print(f"best validation top-1: seed study {100 * best['seed study']:.2f} %, "
          f"ours {100 * best['ours']:.2f} %")  # fmt: skip
    print(f"validation and rollouts take {100 * share:.1f} % of an epoch of ours, with "
          f"{len(val)} answers held out beside {len(train)}")  # fmt: skip
    if arguments.json:
        about = {
            "machine": machine(),
            "threads": torch.get_num_threads(),
            "date": date.today().isoformat(),
            "answers": {"train": len(train), "validation": len(val)},
            "epoch_ratio_median": statistics.median(ratios),
            "epoch_ratios": ratios,
            "best_val_top1": best,
            "validation_share": share,
            "history": history,
        }
        arguments.json.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
