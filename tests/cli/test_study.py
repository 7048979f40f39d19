"""`crossdraft study` from the outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.lock import locked
from crossdraft.cli.study import study
from tests.cli.run import crossdraft
from tests.workflow.studies import STEPS, small_study

_PROGRAM = Path(sys.executable).with_name("crossdraft")


def test_runs_and_says_where_everything_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_study(tmp_path, folds=False)
    done = crossdraft("study", "study.yaml", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result == json.loads((tmp_path / "runs" / "small" / "result.json").read_text())
    assert result["command"] == "study"
    assert "a/train-token-adapter: epoch 3: loss" in done.stderr
    monkeypatch.chdir(tmp_path)
    study(Path("study.yaml"))
    shown, said = capsys.readouterr()
    for words in ("0 of 2 steps ran", "SUMMARY.md", "@shuffled", "95 % interval"):
        assert words in shown
    assert "…" not in shown, "nothing is cut to fit"
    assert said == "a/train-token-adapter: is done already\na/evaluate: is done already\n"
    study(Path("study.yaml"), dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:]] == [[name, "done"] for name in STEPS[:2]]


def test_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = small_study(tmp_path), tmp_path / "out"
    late = tmp_path / "train.jsonl"
    late.unlink()
    before = sorted(tmp_path.rglob("*"))
    study(config, out, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"in {out}:"
    assert lines[1].split()[0] == STEPS[0]
    assert lines[1].endswith(f"waiting for {late}: no such file")
    assert lines[3].split() == ["b/evaluate", "to", "do"]
    study(config, out, dry_run=True, as_json=True)
    plain = json.loads(capsys.readouterr().out)
    assert plain["folder"] == str(out)
    assert [(s["step"], s["state"]) for s in plain["steps"]] == list(
        zip(STEPS, ["waiting", "waiting", "to do"], strict=True)
    )
    assert sorted(tmp_path.rglob("*")) == before


def test_bad_study_exits_2_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: x\ndatasets: []\n")
    done = crossdraft("study", "study.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "study.yaml: datasets is []" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


def test_a_second_process_is_kept_out(tmp_path: Path) -> None:
    config = small_study(tmp_path)
    with (
        locked(tmp_path / "out"),
        pytest.raises(InputError, match="is running in this folder"),
    ):
        study(config, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


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
