"""Whole tunings: they learn, they write a pair, and a killed one ends in the same weights."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crossdraft.base.errors import InputError
from crossdraft.training.epochs import STATE
from crossdraft.training.tuning.settings import METHODS, Method
from crossdraft.training.tuning.tune import Tuned, tune
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.training.tuning.ground import QUESTIONS, Ground

methods = pytest.mark.parametrize(
    "method",
    [
        pytest.param(
            method,
            marks=pytest.mark.skipif(
                method == "lora" and importlib.util.find_spec("peft") is None,
                reason="PEFT is not installed (crossdraft[lora])",
            ),
        )
        for method in METHODS
    ],
)


class _Killed(BaseException):
    """As sudden as a signal."""


def _kill(record: dict[str, float]) -> None:
    if record["epoch"] == 1:
        raise _Killed


def _weights(tuned: Tuned) -> dict[str, torch.Tensor]:
    return load_file(tuned.folder / "drafter" / "model.safetensors")


@methods
def test_a_killed_tuning_ends_in_the_same_weights(
    ground: Ground, tmp_path: Path, method: Method
) -> None:
    config = ground.config(method, num_epochs=3)
    whole = tune(ground.pair, config, tmp_path / "whole")
    with pytest.raises(_Killed):
        tune(ground.pair, config, tmp_path / "killed", on_epoch=_kill)
    assert (tmp_path / "killed" / STATE).exists()
    again = tune(ground.pair, config, tmp_path / "killed")
    assert [r["val_loss"] for r in whole.history] == [r["val_loss"] for r in again.history]
    assert whole.before == again.before
    first, second = _weights(whole), _weights(again)
    assert all(torch.equal(first[name], second[name]) for name in first)
    losses = [record["train_loss"] for record in whole.history]
    assert losses[-1] < losses[0]


@methods
def test_what_comes_out_is_a_pair_wherever_it_lies(
    ground: Ground, tmp_path: Path, method: Method
) -> None:
    tuned = tune(ground.pair, ground.config(method), tmp_path / "tuned")
    moved = tuned.folder.rename(tmp_path / "moved")
    pair = ModelPair.find(str(moved))
    assert pair.name == f"tiny-{method}"
    assert Path(pair.target.model) == (ground.folder / "target").resolve()
    assert Path(pair.drafter.model).resolve() == moved / "drafter"
    with PairModels(pair) as models:
        scene = ground.read(ground.config())[1].val[0].scene
        assert models.drafter.open(scene).ask(QUESTIONS[0]).logits.isfinite().all()
    noted = json.loads((moved / "drafter" / "tuned.json").read_text())
    assert noted["format"] == "crossdraft.tuned/1" and noted["method"] == method
    assert len(noted["trained_on"]["drives"]) == 3 and len(noted["trained_on"]["clips"]) == 6
    assert (moved / "adapter" / "adapter_config.json").exists() == (method == "lora")


def test_another_call_in_the_same_folder_is_refused(ground: Ground, tmp_path: Path) -> None:
    tune(ground.pair, ground.config(), tmp_path)
    with pytest.raises(InputError, match="started with other options"):
        tune(ground.pair, ground.config(seed=1), tmp_path)


def test_a_loss_that_is_no_number_ends_it(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the loss is"):
        tune(ground.pair, ground.config(learning_rate=1e30), tmp_path)


@pytest.mark.parametrize(
    ("method", "values", "said"),
    [
        ("lm-head", {"rank": 4}, "--rank with --method lm-head"),
        ("lora", {"dropout": 1.0}, "--dropout"),
        ("lora", {"rank": 0}, "--rank"),
        ("lm-head", {"batch_size": 0}, "--batch-size"),
    ],
)
def test_options_that_make_no_sense(
    ground: Ground, method: Method, values: dict[str, float], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        ground.config(method, **values)
    assert said in str(caught.value)


def test_a_second_tuning_remembers_what_the_first_one_saw(ground: Ground, tmp_path: Path) -> None:
    first = tune(ground.pair, ground.config(num_epochs=1), tmp_path / "first")
    noted = first.folder / "drafter" / "tuned.json"
    kept = json.loads(noted.read_text())
    kept["trained_on"]["drives"].append("elsewhere")
    noted.write_text(json.dumps(kept))
    again = tune(
        ModelPair.find(str(first.folder)), ground.config(num_epochs=1), tmp_path / "second"
    )
    written = json.loads((again.folder / "drafter" / "tuned.json").read_text())
    assert written["trained_on"]["drives"] == sorted(kept["trained_on"]["drives"])
