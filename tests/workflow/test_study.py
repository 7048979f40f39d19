"""A whole study with real steps: killed, resumed, changed, and what it says about itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.files import write_json
from crossdraft.drafters.checkpoint import load_drafter
from crossdraft.pairs.formats import read_pairs, write_pairs
from crossdraft.pairs.record import PairSet
from crossdraft.workflow.check import read_study
from crossdraft.workflow.engine import StudyError
from crossdraft.workflow.study import Study
from tests.make import recorded_pairs
from tests.workflow.studies import STEPS, small_study

TRAINED = "a/train-token-adapter"


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "study.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and its finished output in `out`; tests copy it."""
    folder = tmp_path_factory.mktemp("finished")
    Study(read_study(small_study(folder)), folder / "out").run()
    return folder


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def until(out: Path, reached: Callable[[dict[str, Any]], bool], config: Path) -> None:
    """Run the study in a process of its own and kill it once the log says so."""
    program = "import sys; from crossdraft.cli import main; sys.argv[0] = 'crossdraft'; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "study", str(config), "--out", str(out)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        seen = len(records(out)) if (out / "study.jsonl").exists() else 0
        while not (out / "study.jsonl").exists() or not any(map(reached, records(out)[seen:])):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        process.kill()


def test_killed_twice_it_ends_as_if_it_had_not_been(finished: Path, tmp_path: Path) -> None:
    config, out = small_study(tmp_path, folds=False), tmp_path / "out"
    until(out, lambda r: r["event"] == "epoch", config)
    assert not (out / TRAINED / "result.json").exists()
    until(out, lambda r: (r["event"], r.get("step")) == ("start", "a/evaluate"), config)
    assert not (out / "a/evaluate/result.json").exists()
    study = Study(read_study(config), out)
    result = study.run()
    assert study.engine.ran == ["a/evaluate"]
    whole = json.loads((finished / "out" / "result.json").read_text())
    assert result["datasets"] == whole["datasets"][:1]
    one, other = (load_drafter(f / TRAINED).drafter.tensors() for f in (out, finished / "out"))
    assert all(torch.equal(one[name], other[name]) for name in other)
    epochs = [r["epoch"] for r in records(out) if r["event"] == "epoch" and r["step"] == TRAINED]
    assert sorted(set(epochs)) == [1, 2, 3]
    assert not list(out.rglob("*.old-*")), "nothing was begun anew"


def test_second_call_runs_nothing_and_changes_nothing(done: Path) -> None:
    out = done / "out"
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != "study.jsonl"}
    study = Study(read_study(done / "study.yaml"), out)
    assert [state.state for state in study.states()] == ["done"] * 3
    result = study.run()
    assert study.engine.ran == []
    assert result == json.loads((out / "result.json").read_text())
    after = {p: p.stat().st_mtime_ns for p in out.rglob("*") if p.name != "study.jsonl"}
    # The folder itself and its lock are touched, no result is.
    assert {p for p in before if before[p] != after[p]} <= {out, out / ".lock"}
    assert before.keys() == after.keys()


def test_changed_evaluation_trains_nothing_anew(done: Path) -> None:
    out = done / "out"
    before = (out / "a" / "evaluate" / "result.json").read_bytes()
    study = Study(read_study(small_study(done, gamma=2)), out)
    result = study.run()
    assert study.engine.ran == STEPS[1:]
    assert result["datasets"][0]["evaluations"][0]["proposal"] == "chain of 2"
    assert (out / "a" / "evaluate.old-1" / "result.json").read_bytes() == before
    assert "chain of 3" in (out / "SUMMARY.md.old-1").read_text()
    assert "chain of 2" in (out / "SUMMARY.md").read_text()


def test_changed_training_carries_its_evaluation_along(
    done: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def stop(config: Any, folder: Path, *_: Any) -> None:
        ran.append(folder.name)
        raise InputError("enough")

    monkeypatch.setattr("crossdraft.workflow.steps.run_training", stop)
    monkeypatch.setattr("crossdraft.workflow.steps.run_evaluation", stop)
    config = read_study(small_study(done, more="train_options: {}\n", epochs=2))
    states = Study(config, done / "out").states()
    assert [state.state for state in states] == ["to do"] * 3
    with pytest.raises(StudyError, match="3 of 3"):
        Study(config, done / "out").run()
    assert ran == ["train-token-adapter", "evaluate"], "one is blocked, folds train by themselves"


def test_summary_says_everything_in_short(finished: Path) -> None:
    text = (finished / "out" / "SUMMARY.md").read_text()
    for words in (
        "# Study small", "## a", "## b", "best epoch", "validation tau", "of 3 |",
        "| drafter | tau | alpha % | top-5 % | position match % |", "| token-adapter@shuffled |",
        "| token-adapter@blind |", "train.jsonl", "tested on test.jsonl", "split into folds",
    ):  # fmt: skip
        assert words in text
    for dataset in json.loads((finished / "out" / "result.json").read_text())["datasets"]:
        for part in [*dataset["trainings"], *dataset["evaluations"]]:
            assert f"({part['folder']}/)" in text
            assert (finished / "out" / part["folder"] / "result.json").exists()


def test_a_lost_summary_is_written_again(done: Path) -> None:
    before = (done / "out" / "SUMMARY.md").read_text()
    (done / "out" / "SUMMARY.md").unlink()
    Study(read_study(done / "study.yaml"), done / "out").run()
    assert (done / "out" / "SUMMARY.md").read_text() == before


def test_leaks_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    config = small_study(tmp_path, folds=False)
    shutil.copy(tmp_path / "train.jsonl", tmp_path / "test.jsonl")
    with pytest.raises(StudyError, match="a/train-token-adapter: train and test share 40 clips"):
        Study(read_study(config), tmp_path / "out").run()
    assert not list((tmp_path / "out" / "a").iterdir())


@pytest.mark.parametrize("size", [0, -300])
def test_an_unfinished_file_stops_the_study_before_it_begins(tmp_path: Path, size: int) -> None:
    config = read_study(small_study(tmp_path))
    path = tmp_path / "test.jsonl"
    path.write_text(path.read_text()[:size])
    with pytest.raises(InputError, match=r"test\.jsonl: (the file is empty|not valid|2. of 24)"):
        Study(config, tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def test_neighbours_of_the_test_are_warned_about(tmp_path: Path) -> None:
    config = small_study(tmp_path, folds=False)
    pairs = recorded_pairs(80)
    for name, part in (("train", pairs[:50]), ("test", pairs[50:])):
        write_pairs(PairSet(part, "extraction"), tmp_path / f"{name}.jsonl")
    result = Study(read_study(config), tmp_path / "out").run()
    (warning,) = result["warnings"]
    assert warning.startswith("a: 4 training clips stand within 4 places of a test clip")


def test_an_extraction_that_still_writes_is_waited_for(tmp_path: Path) -> None:
    config = small_study(tmp_path, more="wait_minutes: 1\n")
    path = tmp_path / "train.jsonl"
    whole = path.read_text()
    path.write_text(whole[: len(whole) // 2])
    os.utime(tmp_path / "folds.jsonl", (0, 0))  # long finished

    def listen(record: Any) -> None:
        # The study has done what it could: now the extraction ends.
        if record["event"] == "waiting":
            assert "announced pairs" in record["reason"] or "not valid JSON" in record["reason"]
            path.write_text(whole)

    study = Study(read_study(config), tmp_path / "out", listen=listen, poll_s=0.05)
    assert [s.state for s in study.states()] == ["waiting", "waiting", "to do"]
    result = study.run()
    assert study.engine.ran == ["b/evaluate", "a/train-token-adapter", "a/evaluate"]
    assert [dataset["name"] for dataset in result["datasets"]] == ["a", "b"]


def test_folders_of_other_commands_are_left_alone(tmp_path: Path) -> None:
    config, out = read_study(small_study(tmp_path)), tmp_path / "out"
    out.mkdir()
    write_json(out / "result.json", {"command": "evaluate"})
    with pytest.raises(InputError, match="result of another command"):
        Study(config, out).run()
    assert [path.name for path in out.iterdir()] == ["result.json"]


def test_validation_file_is_used(tmp_path: Path) -> None:
    config = small_study(tmp_path)
    other = [
        replace(p, clip="v" + p.clip, drive="v") for p in read_pairs(tmp_path / "test.jsonl").pairs
    ]
    write_pairs(PairSet(tuple(other), "extraction"), tmp_path / "val.jsonl")
    config.write_text(config.read_text().replace("test.jsonl}", "test.jsonl, val: val.jsonl}"))
    study = read_study(config)
    assert study.training(study.datasets[0], "token-adapter").val_pairs == tmp_path / "val.jsonl"
    (train, *_) = Study(study, tmp_path / "out").steps
    assert train.inputs == {"train": tmp_path / "train.jsonl", "val": tmp_path / "val.jsonl"}
