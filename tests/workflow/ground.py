"""A whole study at tiny size: a world of waves, a tiny pair, one network, the clock."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.workflow.check import read_study
from crossdraft.workflow.study import Study
from tests.bench.tiny_pair import write_pair
from tests.bench.wallclock.ground import stay_here
from tests.scenes.synth_world import draw_waves
from tests.tiny import tiny_options

WHOLE = [
    "scenes", "extract-train", "extract-test", "extract-shuffled-test",
    "tiny/train-token-adapter", "tiny/train-slow", "tiny/train-l1", "tiny/evaluate", "wallclock",
]  # fmt: skip
#: What is the same bytes however often a study was killed.
SAME = {".safetensors", ".npz", ".mp4"}
_NETWORK = {
    "num_epochs": 2, "batch_size": 4, "device": "cpu",
    "learning_rate": 0.01, "val_split": 0.4,
}  # fmt: skip


def sections(**changes: Any) -> dict[str, Any]:
    """A study from nothing to times; with None for a section, without it."""
    drives = {"drives": 2, "clips_per_drive": 2}
    whole = {
        "name": "whole",
        "scenes": {"train": drives, "test": drives, "size": 32, "events_fps": 40, "workers": 1},
        "extract": {
            "pair": "tiny.yaml", "max_questions": 2, "max_new_tokens": 5, "top_logits": 3,
            "workers": 1, "chunk_size": 4, "batch_clips": 1, "save_interval": 1,
            "splits": ["train", "test", "shuffled-test"],
        },
        "datasets": [{
            "name": "tiny", "train": "extract:train", "test": "extract:test",
            "shuffled": "extract:shuffled-test",
        }],
        "drafters": [
            "token-adapter", {"slow": {"drafter": "token-adapter", "learning_rate": 1e-5}},
            {"l1": {"drafter": "bottleneck", "bottleneck_dim": 4}},
        ],
        "train": _NETWORK,
        "train_options": {"token-adapter": tiny_options("token-adapter")},
        "evaluate": {"gamma": 2, "resamples": 100},
        "wallclock": {
            "configs": ["token-adapter", "seed-procedure=slow", "l1"],
            "questions": 2, "validation": 1, "learn_from": "extract:train", "alternations": 1,
            "warmup": 0, "max_new_tokens": 4, "kth": 2,
        },
    }  # fmt: skip
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def write(folder: Path, **changes: Any) -> Path:
    """Write pair and study."""
    if not (folder / "tiny.yaml").exists():
        write_pair(folder)
    path = folder / "study.yaml"
    path.write_text(json.dumps(sections(**changes)))  # JSON is YAML
    return path


def here(patch: pytest.MonkeyPatch) -> None:
    """Let everything happen in this process, and quickly."""
    draw_waves(patch)
    stay_here(patch)
    patch.setattr("crossdraft.bench.wallclock.placing._REPEATS", 2)
    patch.setattr("os.fsync", lambda _: None)


def run(path: Path, out: Path) -> tuple[list[str], dict[str, Any]]:
    """Names of the steps that ran, and the result."""
    study = Study(read_study(path), out)
    result = study.run()
    return study.engine.ran, result


def content(out: Path) -> dict[str, bytes]:
    """Every file that no clock shows in, by its name."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.suffix in SAME or path.name in ("scenes.json", "answers.jsonl")
    }
