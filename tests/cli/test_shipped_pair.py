"""The pair that comes with the package: it sees what it speaks of, and drafts change no word."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from crossdraft.bench.score import Outcome, score
from crossdraft.bench.score_source import read_asked
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.scenes.synth import plan_synth, run_synth
from crossdraft.scenes.synth_settings import SynthSettings
from crossdraft.vlm.model_spec import ROLES
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.shipped import EMBEDDED, FOLDER
from tests.cli.run import crossdraft_here as here

#: Neither the seed of the training nor that of the published scores.
WORLD = SynthSettings(seed=77)
WORDS = ("--drafter", "drafter-text", "--gamma", "4", "--overlap", "sequential")
DRAFTERS = ((), ("--drafter", "suffix"), WORDS)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of drives that nobody was trained on, and one of them as a plain video."""
    folder = tmp_path_factory.mktemp("shipped")
    run_synth(plan_synth(folder / "world", WORLD, drives=4, clips_per_drive=1, split="test"))
    video = SceneDataset.open(folder / "world")[0].video_path
    assert video is not None
    shutil.copy(video, folder / "clip.mp4")
    return folder


@pytest.fixture(scope="module")
def scored(place: Path) -> Outcome:
    asked = read_asked(place / "world", "test", ROLES)
    with PairModels(ModelPair.find(EMBEDDED)) as models:
        return score(models, asked, ROLES)


def _right(scored: Outcome, role: str, attribute: str, what: str = "accuracy") -> float:
    return float(scored.payload[role]["attributes"][attribute][what]["value"])


SEEN = [
    *(("target", name) for name in ("road", "time", "vehicle", "colour", "motion")),
    *(("drafter", name) for name in ("vehicle", "motion")),
]


@pytest.mark.parametrize(("role", "attribute"), SEEN)
def test_both_say_what_is_there(scored: Outcome, role: str, attribute: str) -> None:
    """Few clips, so below what the cards say."""
    right = _right(scored, role, attribute)
    assert right >= 0.8
    assert right >= _right(scored, role, attribute, "swapped") + 0.3


def test_the_drafter_names_no_paint(scored: Outcome) -> None:
    told = [said for one in scored.said["drafter"] for said in one.answers.values()]
    assert len(told) == 40
    assert not any("colour" in said.values for said in told)
    assert any("colour" in s.values for one in scored.said["target"] for s in one.answers.values())


def test_answers_end_by_themselves(scored: Outcome) -> None:
    for said in scored.said.values():
        assert all(s.end == "eos" and s.text for one in said for s in one.answers.values())


@pytest.mark.parametrize("scene", ["dataset", "clip.mp4"])
def test_drafts_change_no_word(place: Path, scene: str) -> None:
    if scene == "dataset":
        scene = f"world/{SceneDataset.open(place / 'world')[0].id}"
    question = DEFAULT_QUESTIONS[0].text
    said = list[dict[str, Any]]()
    for words in DRAFTERS:
        call = ("generate", "--scene", scene, "-q", question, "--set", "target.dtype=float64")
        done = here(*call, *words, "--json", cwd=place)
        assert done.returncode == 0, done.stderr
        said.append(json.loads(done.stdout))
    assert len({one["text"] for one in said}) == 1 and said[0]["text"].endswith(".")
    # A drive's events are simulated, whoever reads them; of a plain video they are where one does.
    simulated = [scene != "clip.mp4" or "drafter-text" in words for words in DRAFTERS]
    assert [one["simulated"] for one in said] == simulated


@pytest.mark.parametrize("role", ROLES)
def test_a_card_and_a_history_come_with_each_model(role: str) -> None:
    folder = FOLDER / EMBEDDED / role
    card = (folder / "README.md").read_text(encoding="utf-8")
    history = json.loads((folder / "history.json").read_text(encoding="utf-8"))
    assert f"{history['made']['parameters']:,} parameters" in card
    assert f"epoch {history['best_epoch']}, the lowest validation loss" in card
    assert len(history["tower"]) and len(history["epochs"])
