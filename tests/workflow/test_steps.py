"""Whole steps on a folder: what is in it afterwards, and what a second call does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import load_drafter
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import Pair, PairSet
from crossdraft.training.settings import TrainConfig, training_config
from crossdraft.workflow.steps import run_evaluation, run_training, task_name
from tests.make import recorded_pairs
from tests.tiny import tiny_options


def save(path: Path, pairs: tuple[Pair, ...]) -> Path:
    write_pairs(PairSet(pairs, "extraction"), path)
    return path


def config(pairs: Path, **options: Any) -> TrainConfig:
    values = {"num_epochs": 3, "batch_size": 8, "learning_rate": 1e-2, "device": "cpu"}
    return training_config(
        "token-adapter", {"pairs": pairs, **values, **tiny_options("token-adapter"), **options}
    )


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    return save(tmp_path / "answers.jsonl", recorded_pairs(80, timed=True))


def test_a_training_leaves_everything_in_its_folder(tmp_path: Path, answers: Path) -> None:
    folder = tmp_path / "run"
    result = run_training(config(answers), folder)
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "result.json", "RESULTS.md", "log.jsonl", "tensorboard",
        "best_model.safetensors", "final_model.safetensors",
        "training_curves.png", "loss_curve.png", "accuracy_curve.png",
    }  # fmt: skip
    assert json.loads((folder / "result.json").read_text()) == result
    stored = yaml.safe_load((folder / "config.yaml").read_text())
    assert stored["settings"]["num_epochs"] == 3
    assert result["model"]["parameters"] == sum(
        value.numel() for value in load_drafter(folder).drafter.tensors().values()
    )
    names = set(result["validation"])
    assert names == {"token-adapter", "token-adapter@shuffled", "none", "position", "suffix",
                     "drafter-text"}  # fmt: skip
    assert result["stages"]["videollava"]["stage4_ms"]["mean"] == pytest.approx(30.0)
    assert result["task"] == "1s"
    assert 0 < result["speed"]["validation_share"] < 1
    with pytest.raises(InputError, match="already holds a result"):
        run_training(config(answers), folder)


def test_validation_of_the_log_is_that_of_the_replay(tmp_path: Path, answers: Path) -> None:
    """Rollouts read all of the drafter's answer, the summary what had arrived; without a clock
    in the way (tokens that take no time) both are one number."""
    pairs = tuple(
        replace(p, draft_stages_ms=(0.0,) * 5, target_stages_ms=(0.0,) * 5)
        for p in recorded_pairs(80)
    )
    result = run_training(config(save(tmp_path / "a.jsonl", pairs)), tmp_path / "run")
    best = result["history"][result["best_epoch"] - 1]
    measured = result["validation"]["token-adapter"]
    assert measured["tau"]["value"] == pytest.approx(best["val_tau"], abs=1e-9)


def test_interrupted_training_goes_on_in_its_folder(tmp_path: Path, answers: Path) -> None:
    whole = run_training(config(answers), tmp_path / "whole")
    folder = tmp_path / "cut"

    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(config(answers), folder, on_epoch=stop)
    kept = (folder / "config.yaml").read_bytes()
    with pytest.raises(InputError, match="other options"):
        run_training(config(answers, dropout=0.4), folder)
    assert (folder / "config.yaml").read_bytes() == kept, "a refused call changes nothing"
    resumed = run_training(config(answers), folder)
    assert resumed["validation"] == whole["validation"]
    for model in ("best_model", "final_model"):
        assert (folder / f"{model}.safetensors").read_bytes() == (
            tmp_path / "whole" / f"{model}.safetensors"
        ).read_bytes()


def test_validation_answers_of_their_own(tmp_path: Path, answers: Path) -> None:
    other = save(
        tmp_path / "val.jsonl",
        tuple(replace(p, clip="v" + p.clip, dataset="v_1s") for p in recorded_pairs(30, seed=8)),
    )
    result = run_training(config(answers, val_pairs=other), tmp_path / "run")
    assert (result["data"]["train_pairs"], result["data"]["val_pairs"]) == (80, 30)
    with pytest.raises(InputError, match="share 80 clips"):
        run_training(config(answers, val_pairs=answers), tmp_path / "leak")
    assert not (tmp_path / "leak").exists(), "nothing is left of a refused call"


def test_fewer_samples(tmp_path: Path, answers: Path) -> None:
    result = run_training(config(answers, max_train_samples=40), tmp_path / "run")
    assert result["data"]["train_pairs"] + result["data"]["val_pairs"] <= 40


@pytest.mark.parametrize(
    ("dataset", "file", "given", "expected"),
    [
        ("my_egpt_dsec_train_1s", "answers.json", None, "1s"),
        ("/data/my_egpt_dsec_seq_500ms", "a.json", None, "500ms"),
        ("drives", "train_tokens_2s.json.gz", None, "2s"),
        ("drives", "answers.json", None, "token-adapter"),
        ("a_1s", "answers.json", "mine", "mine"),
        ("classes", "gas.json", None, "token-adapter"),
    ],
)
def test_task_is_named_by_the_data(
    tmp_path: Path, dataset: str, file: str, given: str | None, expected: str
) -> None:
    found = PairSet(tuple(replace(p, dataset=dataset) for p in recorded_pairs(2)), "extraction")
    assert task_name(config(tmp_path / file, task_name=given), found) == expected


def test_killed_evaluation_repeats_no_training(tmp_path: Path, answers: Path) -> None:
    asked = EvaluateConfig.parse(
        pairs=answers, drafters=("token-adapter",), folds=2,
        train={"num_epochs": 2, "device": "cpu", **tiny_options("token-adapter")},
    )  # fmt: skip
    folder = tmp_path / "evaluate"
    stages: list[str] = []

    def stop(progress: Any) -> None:
        stages.append(progress.stage)
        if progress.stage == "token-adapter@blind fold 1: epoch 1":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_evaluation(asked, folder, stop)
    assert "token-adapter fold 2: epoch 2" in stages
    stages.clear()
    result = run_evaluation(asked, folder, lambda progress: stages.append(progress.stage))
    assert not any(stage.startswith("token-adapter fold") for stage in stages)
    assert "token-adapter@blind" in result["drafters"]
    assert not (folder / "trained").exists(), "what only a resumption needs is gone"
    shared = tmp_path / "shared"
    run_evaluation(asked, tmp_path / "first", trained=shared)
    tree = asked.model_copy(update={"nodes": 8, "depth": 3})
    stages.clear()
    run_evaluation(tree, tmp_path / "second", lambda p: stages.append(p.stage), trained=shared)
    assert not any("epoch" in stage for stage in stages), "two tables, one set of trainings"
    assert "## Differences" in (folder / "RESULTS.md").read_text()
