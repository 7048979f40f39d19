"""`crossdraft study` from the outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossdraft.workflow.journal import locked
from tests.cli.run import crossdraft
from tests.workflow.studies import STEPS, small_study

_PROGRAM = Path(sys.executable).with_name("crossdraft")


def test_runs_and_says_where_everything_is(tmp_path: Path) -> None:
    small_study(tmp_path)
    done = crossdraft("study", "study.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "runs" / "small"
    result = json.loads(done.stdout)
    assert result == json.loads((out / "result.json").read_text())
    assert result["command"] == "study"
    assert "a/train-token-adapter: epoch 3: loss" in done.stderr
    again = crossdraft("study", "study.yaml", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    for words in ("0 of 3 steps ran", "SUMMARY.md", "token-adapter@shuffled", "95 % interval"):
        assert words in again.stdout
    assert max(map(len, again.stdout.splitlines())) <= 80 or "note:" in again.stdout
    planned = crossdraft("study", "study.yaml", "--dry-run", cwd=tmp_path)
    assert [line.split() for line in planned.stdout.splitlines()[1:]] == [
        [name, "done"] for name in STEPS
    ]


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    small_study(tmp_path)
    (tmp_path / "train.jsonl").unlink()
    before = sorted(tmp_path.rglob("*"))
    done = crossdraft("study", "study.yaml", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[1].endswith("waiting for train.jsonl: no such file")
    assert lines[3].split() == ["b/evaluate", "to", "do"]
    plain = json.loads(
        crossdraft("study", "study.yaml", "--dry-run", "--json", cwd=tmp_path).stdout
    )
    assert [step["state"] for step in plain["steps"]] == ["waiting", "waiting", "to do"]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda folder: (folder / "study.yaml").unlink(), "study.yaml: no such file"),
        (
            lambda folder: (folder / "study.yaml").write_text("name: x\ndatasets: []\n"),
            "datasets is []",
        ),
        (lambda folder: (folder / "test.jsonl").unlink(), "test.jsonl: no such file"),
        (
            lambda folder: (folder / "folds.jsonl").write_text(
                (folder / "folds.jsonl").read_text()[:-400]
            ),
            "folds.jsonl: ",
        ),
    ],
    ids=["absent", "bad", "missing file", "cut file"],
)
def test_wrong_input_exits_2_and_writes_nothing(tmp_path: Path, spoil: object, named: str) -> None:
    small_study(tmp_path)
    assert callable(spoil)
    spoil(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    done = crossdraft("study", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    small_study(tmp_path)
    with locked(tmp_path / "runs" / "small"):
        done = crossdraft("study", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "is running a study in this folder" in done.stderr


def test_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    small_study(tmp_path, epochs=5000)
    log = tmp_path / "out" / "study.jsonl"
    with subprocess.Popen(
        [str(_PROGRAM), "study", "study.yaml", "--out", "out"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while not log.exists() or '"epoch"' not in log.read_text():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with: crossdraft study study.yaml --out out" in errors
    assert "Traceback" not in errors
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["event"], last["reason"]) == ("stopped", "KeyboardInterrupt")
