"""Trainings on a pair store with states: what is read, what is written, what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.drafters.checkpoint import load_drafter
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.pairs.store.kinds import Side
from crossdraft.pairs.store.manifest import Schema, StoredKind
from crossdraft.pairs.store.packing import pack
from crossdraft.pairs.store.rows import Row, Said
from crossdraft.pairs.store.thoughts import HEAD_FILE
from crossdraft.pairs.thoughts import thoughts_of
from crossdraft.training.loop import BEST, FINAL, fit
from crossdraft.training.settings import training_config
from crossdraft.vlm.lm_head import write_lm_head
from crossdraft.workflow.steps import run_training
from tests.drafters.ladder.made import HIDDEN, TOP, made_head, made_pairs
from tests.pairs.store.stores import KNOWN, write_store
from tests.tiny import tiny, tiny_options
from tests.training.test_loop import same, settings, without_times

PAIRS = made_pairs(48, drives=6)


def stored(
    folder: Path, *, head: bool = True, kinds: tuple[str, ...] = ("forced", "own", "target")
) -> Path:
    """The pairs as `crossdraft extract` writes them."""
    known: dict[Side, str] = KNOWN
    schema = Schema(
        tuple(StoredKind(kind, HIDDEN, "fp32") for kind in kinds), TOP if kinds else 0, known
    )
    rows = [
        Row(
            replace(pair, thoughts=None),
            {"target": Said("eos", None, len(pair.target_tokens)),
             "own": Said("eos", None, len(pair.draft_tokens))},
            {kind: pack(thoughts_of(pair).states(kind).contiguous(), "fp32") for kind in kinds},
            {reading: thoughts_of(pair).top() for reading in ("target",)} if kinds else {},
        )
        for pair in PAIRS
    ]  # fmt: skip
    write_store(folder, rows, schema)
    if head:
        write_lm_head(made_head(), folder / HEAD_FILE)
    return folder


def config(store: Path, name: str = "bottleneck", **options: Any) -> Any:
    given = {
        **tiny_options(name), "num_epochs": 3, "batch_size": 8, "learning_rate": 1e-2,
        "device": "cpu", "val_split": 0.3, "pairs": store,
    }  # fmt: skip
    return training_config(name, {**given, **options})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("pairs") / "store")


@pytest.mark.parametrize("loss", ["token", "seed"])
def test_a_run_leaves_the_seed_studys_files_beside_ours(
    store: Path, tmp_path: Path, loss: str
) -> None:
    result = run_training(config(store, "eagle", loss=loss), tmp_path / "run")
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    assert {
        "train_loss", "train_cos_sim", "val_loss", "val_cos_sim",
        "val_accept_80", "val_accept_85", "val_accept_90", "val_accept_95",
    } <= history.keys()  # fmt: skip
    assert {len(values) for values in history.values()} == {3}
    assert history["val_loss"] == [record["val_loss"] for record in result["history"]]
    assert ("train_top1" in history) == (loss == "token")
    said = json.loads((tmp_path / "run" / "config.json").read_text())
    assert said.keys() >= {
        "task", "vlm_only", "adapter", "data", "training", "timestamp", "best_val_loss"
    }  # fmt: skip
    assert (said["adapter"]["level"], said["adapter"]["name"]) == ("L5", "EAGLE")
    assert said["adapter"]["hidden_dim"] == HIDDEN
    assert said["adapter"]["params"] == result["model"]["trained_parameters"]
    assert said["data"]["alignment"] == ("forced" if loss == "token" else "own")
    assert said["best_val_loss"] == min(history["val_loss"]) and not said["vlm_only"]
    assert said["training"]["batch_size"] == 8 and said["training"]["loss"] == loss
    report = (tmp_path / "run" / "RESULTS.md").read_text()
    assert ("| 1 |" in report or "| **1** |" in report) and "training_curves.png" in report


def test_b1_says_that_it_reads_the_target_alone(store: Path, tmp_path: Path) -> None:
    run_training(config(store, "target-eagle", num_epochs=1), tmp_path / "run")
    said = json.loads((tmp_path / "run" / "config.json").read_text())
    assert said["vlm_only"] and said["adapter"]["level"] == "B1"


def test_a_store_trains_as_pairs_in_memory_do(store: Path, tmp_path: Path) -> None:
    run_training(config(store), tmp_path / "run")
    again = run_training(config(store), tmp_path / "again")
    one, other = (load_drafter(tmp_path / name / BEST).drafter for name in ("run", "again"))
    assert same(one.tensors(), other.tensors())
    assert again["history"][-1]["train_loss"] < again["history"][0]["train_loss"]


def test_each_step_reads_what_its_loss_needs_and_validation_is_read_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[frozenset[str], int]] = []
    real = TokenBatch.of.__func__  # type: ignore[attr-defined]

    def noted(
        cls: Any, pairs: Any, length: int, pad_to: Any = None, needs: Any = frozenset()
    ) -> Any:
        asked.append((needs, len(pairs)))
        return real(cls, pairs, length, pad_to, needs)

    monkeypatch.setattr(TokenBatch, "of", classmethod(noted))
    drafter = tiny("bottleneck", loss="seed")
    fit(drafter, PAIRS[:32], PAIRS[40:], settings(num_epochs=2, batch_size=8))
    lean, whole = drafter.loss_needs, drafter.batch_needs
    assert "forced_states" in whole and not lean & {"forced_states", "head", "target_logits"}
    per_epoch = [(lean, 8)] * 4 + [(whole, 8)]
    assert sorted(asked, key=repr) == sorted(per_epoch * 2, key=repr)


_KILLED = """
import sys
from pathlib import Path
from crossdraft.workflow.steps import run_training
from tests.training.test_states import config
def line(record): print(record["epoch"], flush=True)
run_training(config(Path(sys.argv[1]), "fused-eagle", num_epochs=30, early_stopping=30), Path(sys.argv[2]), on_epoch=line)
"""  # noqa: E501


def test_killed_it_ends_as_if_it_had_not_been(store: Path, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(store), str(tmp_path / "cut")],
        stdout=subprocess.PIPE, text=True, cwd=root,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 3:
                break
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "cut" / "result.json").exists()
    asked = config(store, "fused-eagle", num_epochs=30, early_stopping=30)
    threads = torch.get_num_threads()
    seen: list[float] = []
    cut = run_training(asked, tmp_path / "cut", on_epoch=lambda r: seen.append(r["epoch"]))
    whole = run_training(asked, tmp_path / "whole")
    assert threads == torch.get_num_threads() and seen[0] > 3
    assert without_times(cut["history"]) == without_times(whole["history"])
    for model in (BEST, FINAL):
        one, other = (load_drafter(tmp_path / run / model).drafter for run in ("cut", "whole"))
        assert same(one.tensors(), other.tensors())


@pytest.mark.parametrize(
    ("made", "options", "said"),
    [
        ({"kinds": ()}, {}, "only words of clip"),
        ({"head": False}, {}, "--lm-head FILE"),
        ({"kinds": ("own", "target")}, {}, "--alignment: no states of the event model"),
        ({"kinds": ("forced", "own")}, {}, "target"),
        ({}, {"kl_weight": -1.0}, "kl_weight is -1.0"),
        ({}, {"num_heads": 5, "name": "eagle"}, "5 heads over a width of 16"),
        ({}, {"loss": "seed", "alignment": "forced", "name": "attention"}, "is a leak"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_before_anything_is_written(
    tmp_path: Path, made: dict[str, Any], options: dict[str, Any], said: str
) -> None:
    folder = stored(tmp_path / "store", **made)
    options = dict(options)
    name = options.pop("name", "bottleneck")
    with pytest.raises(InputError, match=said):
        run_training(config(folder, name, **options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_head_may_lie_elsewhere(tmp_path: Path) -> None:
    folder = stored(tmp_path / "store", head=False)
    write_lm_head(made_head(), tmp_path / "head.safetensors")
    run_training(config(folder, lm_head=tmp_path / "head.safetensors"), tmp_path / "run")
    assert (tmp_path / "run" / BEST).is_file()


def test_the_same_words_with_other_states_are_another_training(tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(record: dict[str, float]) -> None:
        raise StopError

    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(StopError):
        fit(tiny("bottleneck"), PAIRS[:32], PAIRS[40:], settings(), folder=folder, on_epoch=stop)
    louder = [
        replace(pair, thoughts=replace(pair.thoughts, noise=0.5))  # type: ignore[type-var]
        for pair in PAIRS
    ]
    with pytest.raises(InputError, match="other options, other data"):
        fit(tiny("bottleneck"), louder[:32], louder[40:], settings(), folder=folder)
