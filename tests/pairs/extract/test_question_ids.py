"""Extraction keeps what the target reads of each question behind the picture."""

from __future__ import annotations

from pathlib import Path

from crossdraft.decoding.models import prompt_of
from crossdraft.pairs.store import PairStore
from crossdraft.vlm.pair_models import PairModels
from tests.pairs.extract.ground import QUESTIONS, Ground


def test_they_are_the_targets_own(ground: Ground, tmp_path: Path, quick: None) -> None:
    out = tmp_path / "store"
    plan = ground.plan(out)
    ground.extract(out)
    models = PairModels(ground.pair)
    wanted = tuple(
        tuple(prompt_of(models.target, plan.scenes[0], question).question) for question in QUESTIONS
    )
    assert len(set(wanted)) == 2 and all(wanted)
    store = PairStore.open(out)
    assert store.manifest.question_ids == wanted
    for i in range(4):
        assert store.question_ids(i) == wanted[store.pair(i).question_index]
