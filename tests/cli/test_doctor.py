"""`crossdraft doctor` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crossdraft.base.errors import InputError
from crossdraft.bench.made_scene import MadeScene
from crossdraft.cli.app import app
from crossdraft.scenes.writers import write_npz
from crossdraft.vlm.cache import SessionCache
from tests.bench.tiny_pair import write_pair
from tests.cli.run import crossdraft
from tests.scenes.scene_folders import make_scenes


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(autouse=True)
def _own_cost_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "cache"))


def called(pair: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--pair", str(pair), *arguments])


def test_one_line_for_each_check(pair: Path, tmp_path: Path) -> None:
    done = crossdraft("doctor", "--pair", pair, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("measured    pair     scene      made up")
    assert lines[-1] == "15 proofs passed, 0 failed, 2 not checked"
    assert sum(line.startswith("ok ") for line in lines) == 15
    assert not list(tmp_path.glob("runs"))


def test_a_failed_proof_is_exit_1(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionCache, "truncate", lambda self, length: None)
    done = called(pair, "--only", "rollback")
    assert done.exit_code == 1
    assert done.stdout.count("FAILED      ") == 2
    assert done.stdout.endswith("0 proofs passed, 2 failed, 0 not checked\n")


def test_json_alone(pair: Path) -> None:
    done = called(pair, "--only", "frames, ,vocabulary,", "--json", "--max-new-tokens", "20")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "doctor")
    assert result["summary"] == "4 proofs passed, 0 failed, 0 not checked"
    assert result["config"]["only"] == ["frames", "vocabulary"]
    assert result["config"]["pair"]["load"] == "together"
    by_name = {(check["model"], check["name"]): check for check in result["checks"]}
    assert by_name["target", "frames"]["verdict"] == "ok"
    assert by_name["target", "frames"]["numbers"]["indices"] == list(range(0, 16, 2))


def test_a_scene_of_a_dataset_and_another_value(pair: Path, tmp_path: Path) -> None:
    make_scenes(tmp_path / "clips")
    done = called(
        pair, "--scene", str(tmp_path / "clips/first/000001"), "--only", "frames",
        "--set", "drafter.frames=3",
    )  # fmt: skip
    assert done.exit_code == 0, done.stdout
    assert "scene      first/000001" in done.stdout
    assert "frames     3 frames of" in done.stdout


def test_wrong_calls_are_exit_2(pair: Path, tmp_path: Path) -> None:
    for arguments in (
        ["--only", "state"],
        ["--only", ","],
        ["--scene", "nothing.h5"],
        ["--max-new-tokens", "3"],
    ):
        done = called(pair, *arguments)
        assert isinstance(done.exception, InputError), arguments


def test_errors_reach_the_user_without_a_traceback(tmp_path: Path) -> None:
    done = crossdraft("doctor", "--pair", "no-such-pair", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: no-such-pair: ")


def test_a_model_that_is_not_there_is_exit_2_behind_what_the_other_shows(pair: Path) -> None:
    done = called(pair, "--only", "frames", "--set", "drafter.model=nowhere")
    assert done.exit_code == 2
    assert "ok          target   frames" in done.stdout
    assert "not checked drafter  frames     drafter.model: nowhere" in done.stdout
    assert "error: drafter.model: nowhere" in done.stderr


def test_two_models_that_are_not_there_are_both_named(pair: Path) -> None:
    done = called(pair, "--set", "target.model=here", "--set", "drafter.model=there")
    assert isinstance(done.exception, InputError)
    said = str(done.exception)
    assert "target.model: here: " in said and "drafter.model: there: " in said


def test_more_tokens_than_the_model_reads_are_exit_2(pair: Path) -> None:
    done = called(pair, "--only", "answers", "--max-new-tokens", "1200")
    assert isinstance(done.exception, InputError)
    assert str(done.exception.where) == "--max-new-tokens (target)"


def test_a_scene_of_one_sensor_is_no_fault(pair: Path, tmp_path: Path) -> None:
    write_npz(MadeScene().events(), tmp_path / "events.npz")
    done = called(pair, "--only", "frames", "--scene", str(tmp_path / "events.npz"))
    assert done.exit_code == 0
    assert "the scene has no video" in done.stdout
    assert "ok          drafter  frames" in done.stdout
