"""`crossdraft train` as a user calls it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import PairSet
from tests.cli.run import crossdraft
from tests.make import recorded_pairs
from tests.tiny import tiny_options

TINY = [
    word
    for name, value in {
        **tiny_options("token-adapter"), "num_epochs": 2, "learning_rate": 0.01, "batch_size": 8,
    }.items()
    for word in ("--" + name.replace("_", "-"), str(value))
]  # fmt: skip


def test_trains_shows_and_evaluates(tmp_path: Path, extraction_file: Path) -> None:
    done = crossdraft("train", "token-adapter", "--pairs", extraction_file, *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("1s_")
    assert f"model, curves and every table: runs/{run.name}" in done.stdout
    assert "epoch 2/2" in done.stderr
    for word in ("token-adapter", "@shuffled", "position", "drafter-text"):
        assert word in done.stdout
    leaking = crossdraft("evaluate", run, "--pairs", extraction_file, cwd=tmp_path)
    assert leaking.returncode == 2
    assert "was trained on" in leaking.stderr
    other = tmp_path / "other.jsonl"
    strangers = (
        replace(p, clip="o" + p.clip, dataset="other_1s") for p in recorded_pairs(30, seed=5)
    )
    write_pairs(PairSet(tuple(strangers), "extraction"), other)
    tested = crossdraft(
        "evaluate", run, "--pairs", other, "--train-pairs", extraction_file, "--json", cwd=tmp_path
    )
    assert tested.returncode == 0, tested.stderr
    assert json.loads(tested.stdout)["drafters"]["token-adapter"]["tau"]["value"] >= 1


def test_json_is_the_result_alone(tmp_path: Path, extraction_file: Path) -> None:
    done = crossdraft(
        "train", "token-adapter", "--pairs", extraction_file, *TINY, "--task-name", "mine",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert (result["command"], result["task"]) == ("train", "mine")
    assert len(result["history"]) == 2


def test_interrupt_says_how_to_go_on(tmp_path: Path, extraction_file: Path) -> None:
    program = Path(sys.executable).with_name("crossdraft")
    call = [str(program), "train", "token-adapter", "--pairs", str(extraction_file), *TINY,
            "--num-epochs", "2000", "--early-stopping", "2000", "--out", "here"]  # fmt: skip
    with subprocess.Popen(call, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch 3/"):
                process.send_signal(signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.returncode == 130, rest
    assert "go on with the same call and --out here" in rest
    assert "Traceback" not in rest
    assert (tmp_path / "here" / "state.safetensors").exists()


def test_help_shows_the_options_of_the_drafter(tmp_path: Path) -> None:
    listed = crossdraft("train", "--help", cwd=tmp_path).stdout
    assert "token-adapter" in listed and "suffix" not in listed
    shown = crossdraft("train", "token-adapter", "--help", cwd=tmp_path).stdout
    for flag in ("--pairs", "--num-epochs", "--num-layers", "--no-padding-mask", "--draft-vocab"):
        assert flag in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["telepathy"], "telepathy"),
        (["token-adapter"], "--pairs"),
        (["token-adapter", "--pairs", "absent.json"], "no such file"),
        (["token-adapter", "--pairs", "FILE", "--num-epochs", "0"], "--num-epochs"),
        (["token-adapter", "--pairs", "FILE", "--embed-dim", "30"], "no multiple of 8 heads"),
        (["token-adapter", "--pairs", "FILE", "--device", "abacus"], "--device"),
        (["token-adapter", "--pairs", "FILE", "--width", "3"], "--width"),
    ],
)
def test_wrong_calls_exit_2_and_leave_nothing(
    tmp_path: Path, extraction_file: Path, words: list[str], message: str
) -> None:
    given = [str(extraction_file) if word == "FILE" else word for word in words]
    empty = tmp_path / "here"
    empty.mkdir()
    done = crossdraft("train", *given, cwd=empty)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert list(empty.iterdir()) == []
