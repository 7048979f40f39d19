"""A tiny pair, a tiny world, and made-up answers of the pair's target about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossdraft.pairs.formats import write_extraction
from crossdraft.pairs.record import Pair, PairSet
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.training.tuning.lessons import Lessons, read_lessons
from crossdraft.training.tuning.reader import Reader
from crossdraft.training.tuning.settings import TuneConfig, tune_config
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import write_pair
from tests.scenes.synth_world import draw_waves, make

QUESTIONS = ("What is ahead?", "Where is the bus going?")


@dataclass(frozen=True)
class Ground:
    """Where `tiny.yaml`, `world` and `answers.json` lie: six clips of three drives, two questions
    each."""

    folder: Path

    @property
    def pair(self) -> ModelPair:
        return ModelPair.find(str(self.folder / "tiny.yaml"))

    def config(self, method: Any = "lm-head", **values: Any) -> TuneConfig:
        """Two epochs of batches of three, if nothing else is said."""
        given = {
            "scenes": self.folder / "world", "pairs": self.folder / "answers.json",
            "num_epochs": 2, "batch_size": 3, "learning_rate": 0.01, "device": "cpu",
        }  # fmt: skip
        return tune_config(method, given | values)

    def read(self, config: TuneConfig, **overrides: str) -> tuple[Reader, Lessons]:
        """The drafter as it reads, and what it learns."""
        pair = self.pair
        for key, value in overrides.items():
            pair = pair.with_value(f"drafter.{key}={value}")
        model: Any = PairModels(pair).drafter
        return Reader(model.model, model.prompts), read_lessons(pair, model.prompts, 500, config)


def prepare(folder: Path) -> Ground:
    """Write pair, world and answers."""
    write_pair(folder)
    with pytest.MonkeyPatch.context() as patched:
        draw_waves(patched)
        make(folder / "world", drives=3, clips=2)
    random = np.random.default_rng(0)
    pairs = [
        Pair(
            clip=scene.id, index=scene.clip, question=question, question_index=number,
            draft_tokens=(5, 2), drive=scene.drive,
            target_tokens=(*random.integers(3, 40, int(random.integers(1, 6))).tolist(), 2),
        )
        for scene in SceneDataset.open(folder / "world")
        for number, question in enumerate(QUESTIONS)
    ]  # fmt: skip
    write_extraction(PairSet(tuple(pairs), "extraction"), folder / "answers.json")
    return Ground(folder)
