"""`crossdraft pair tune`: a pair in, a pair out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.cli import pair_tune
from crossdraft.training.epochs import STATE
from tests.cli.run import crossdraft_here
from tests.training.tuning.ground import QUESTIONS, Ground, prepare


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepare(tmp_path_factory.mktemp("tune"))


def _call(ground: Ground, out: Path, *more: str) -> list[str | Path]:
    return [
        "pair", "tune", "--pair", ground.folder / "tiny.yaml", "--scenes", ground.folder / "world",
        "--pairs", ground.folder / "answers.json", "--out", out, "--num-epochs", "2", *more,
    ]  # fmt: skip


def test_the_tuned_pair_answers(ground: Ground, tmp_path: Path) -> None:
    done = crossdraft_here(*_call(ground, tmp_path / "mine", "--json"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "epoch 2/2" in done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "mine" / "result.json").read_text())
    # A tiny model, and no rate was given.
    assert result["config"]["settings"]["learning_rate"] == 3e-3
    assert result["made"]["train_answers"] + result["made"]["val_answers"] == 12
    _the_folder_says_what_it_is(tmp_path / "mine", result["made"]["trained_on"]["drives"])
    scene = f"{ground.folder / 'world'}/train-0000/0"
    said = crossdraft_here(
        "generate", "--pair", "mine", "--scene", scene, "-q", QUESTIONS[0], "--answer-with",
        "drafter", "--max-new-tokens", "4", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    again = crossdraft_here(*_call(ground, tmp_path / "mine"), cwd=tmp_path)
    assert again.returncode == 2 and "already holds a result" in again.stderr


def _the_folder_says_what_it_is(folder: Path, drives: list[str]) -> None:
    card = (folder / "drafter" / "README.md").read_text(encoding="utf-8")
    assert len(drives) == 3 and all(drive in card for drive in drives)
    assert "the output layer" in card and "| before |" in card
    assert (folder / "training_curves.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "config.yaml").exists() and not (folder / STATE).exists()


def test_what_came_out_is_shown(ground: Ground, tmp_path: Path) -> None:
    done = crossdraft_here(*_call(ground, tmp_path / "mine"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "before" in done.stdout and "simulated events" in done.stdout
    shown = crossdraft_here("pair", "show", "mine", cwd=tmp_path)
    assert shown.returncode == 0 and "tiny-lm-head" in shown.stdout


def test_an_interrupted_one_says_how_to_go_on(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pair_tune, "_epoch_line", lambda _: interrupt)
    done = crossdraft_here(*_call(ground, tmp_path / "mine"), cwd=tmp_path)
    assert done.returncode == 130 and "go on with" in done.stderr
    assert (tmp_path / "mine" / STATE).exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--rank", "4"), "--rank with --method lm-head"),
        (("--num-epochs", "0"), "--num-epochs"),
        (("--split", "test"), "no scene of the split 'test'"),
        (("--pairs", "absent.json"), "no such file"),
        (("--set", "drafter.model=absent"), "drafter.model"),
    ],
)
def test_bad_calls(ground: Ground, tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    done = crossdraft_here(*_call(ground, tmp_path / "mine", *more), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and not (tmp_path / "mine").exists()
