"""`crossdraft pair score` from the outside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from crossdraft.bench import score
from crossdraft.scenes.answers import ANSWERS
from tests.bench.test_score import write_world
from tests.bench.tiny_pair import write_pair
from tests.cli.run import crossdraft_here


@dataclass(frozen=True)
class Folder:
    """A pair `tiny.yaml` and a drive `world` in one folder."""

    path: Path

    def score(self, *arguments: str) -> CompletedProcess[str]:
        called = ("pair", "score", "tiny.yaml", "--scenes", "world", *arguments)
        return crossdraft_here(*called, cwd=self.path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    path = tmp_path_factory.mktemp("score")
    write_pair(path)
    write_world(path / "world", questions=1)
    with pytest.MonkeyPatch.context() as patched:
        # Probes take most of the time, and are of no matter here.
        patched.setattr(score, "probe", lambda *_: None)
        yield Folder(path)


def test_the_result_as_json_and_in_a_folder(folder: Folder) -> None:
    done = folder.score("--max-new-tokens", "3", "--json", "--check", "--out", "run")
    assert done.returncode == 1, "random weights do not pass"
    result: dict[str, Any] = json.loads(done.stdout)
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "pair score")
    assert result["passed"] is False and len(result["checks"]) == 19
    assert result["models"]["target"]["architecture"] == "VideoLlavaForConditionalGeneration"
    assert result["data"]["clips"] == result["target"]["answers"] == 4
    assert result["config"]["pair"]["name"] == "tiny"
    names = [Path(entry["path"]).name for entry in result["provenance"]["inputs"]]
    assert names == [*["config.json", "model.safetensors"] * 2, "scenes.json", "answers.jsonl"]
    run = folder.path / "run"
    assert sorted(path.name for path in run.iterdir()) == [
        "answers.jsonl", "config.yaml", "result.json"
    ]  # fmt: skip
    assert json.loads((run / "result.json").read_text()) == result
    lines = [json.loads(line) for line in (run / "answers.jsonl").read_text().splitlines()]
    assert [len(line["target"]["tokens"]) for line in lines] == [3] * 4
    again = folder.score("--out", "run")
    assert again.returncode == 2 and "already holds a result" in again.stderr


def test_one_model_on_the_terminal(folder: Folder) -> None:
    before = sorted(folder.path.iterdir())
    done = folder.score("--models", "drafter", "--clips", "2", "--max-new-tokens", "3")
    assert done.returncode == 0, done.stderr
    for said in (
        "2 clips of 2 drives, 1 questions, split test", "drafter, held against the event voice",
        "vehicle", "chance", "2 answers", "leaves no event: colour 0", "tau of a 12-gram table",
        "note: intervals rest on 2 blocks",
    ):  # fmt: skip
        assert said in done.stdout, said
    assert "target," not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert sorted(folder.path.iterdir()) == before, "nothing is written"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--split", "train"), "no scene of the split 'train'"),
        (("--clips", "1"), "of 1 drive(s)"),
        (("--set", "target.model=nowhere"), "nowhere"),
        (("--out", "tiny.yaml"), "this is no folder"),
        (("--scenes", "absent"), "absent"),
    ],
)
def test_wrong_calls_are_exit_2(folder: Folder, arguments: tuple[str, ...], said: str) -> None:
    done = folder.score(*arguments)
    assert done.returncode == 2
    assert said in done.stderr and "Traceback" not in done.stderr


def test_a_dataset_without_answers_is_refused(folder: Folder) -> None:
    answers = folder.path / "world" / ANSWERS
    kept = answers.read_bytes()
    answers.unlink()
    try:
        done = folder.score()
    finally:
        answers.write_bytes(kept)
    assert done.returncode == 2
    assert "the dataset brings no answers" in done.stderr
    assert "crossdraft scenes synth" in done.stderr


def test_an_interrupt_writes_nothing(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(score, "answers_of", stop)
    done = folder.score("--out", "stopped")
    assert done.returncode == 130
    assert "nothing is written" in done.stderr
    assert not (folder.path / "stopped").exists()
