"""Small made-up studies for tests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import PairSet
from tests.make import recorded_pairs
from tests.tiny import tiny_options

STEPS = ["a/train-token-adapter", "a/evaluate", "b/evaluate"]


def answers(path: Path, clips: int, seed: int) -> Path:
    """Answers of three drives of their own."""
    name = path.name.partition(".")[0]
    pairs = tuple(
        replace(pair, clip=f"{name}-{pair.clip}", drive=f"{name}-{pair.drive}", dataset=name)
        for pair in recorded_pairs(clips, seed=seed, drives=3)
    )
    write_pairs(PairSet(pairs, "extraction"), path)
    return path


def small_study(
    folder: Path, *, epochs: int = 3, gamma: int = 3, folds: bool = True, more: str = ""
) -> Path:
    """One data set with a test file, one without (if `folds`); one tiny network."""
    for number, (name, clips) in enumerate((("train", 40), ("test", 24), ("folds", 60))):
        if not (folder / f"{name}.jsonl").exists():
            answers(folder / f"{name}.jsonl", clips, number)
    options = {
        **tiny_options("token-adapter"), "num_epochs": epochs, "batch_size": 8, "device": "cpu",
        "learning_rate": 0.01,
    }  # fmt: skip
    path = folder / "study.yaml"
    path.write_text(
        "name: small\n"
        "datasets:\n"
        "  - {name: a, train: train.jsonl, test: test.jsonl}\n"
        + ("  - {name: b, train: folds.jsonl}\n" if folds else "")
        + "drafters: [token-adapter]\n"
        f"train: {json.dumps(options)}\n"
        f"evaluate: {{gamma: {gamma}, folds: 2, resamples: 100}}\n" + more
    )
    return path
