"""Results carry their origin, and a run folder is never overwritten."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.result import SCHEMA, Estimate, Result, RunFolder


def test_result_says_what_it_was_made_from(tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_text("{}")
    result = Result(
        "evaluate", {"drafters": {}}, {"gamma": 5}, [source], ["mind this"],
        argv=["/somewhere/bin/crossdraft", "evaluate"],
    ).to_json()  # fmt: skip
    assert result["schema"] == SCHEMA
    assert result["drafters"] == {}
    assert result["warnings"] == ["mind this"]
    origin = result["provenance"]
    assert origin["command_line"] == ["crossdraft", "evaluate"]
    assert origin["inputs"][0]["path"] == str(source)
    assert len(origin["inputs"][0]["sha256"]) == 64
    assert "numpy" in origin["packages"]
    json.dumps(result, allow_nan=False)


def test_estimate_without_an_interval() -> None:
    assert Estimate(None).to_json() == {"value": None, "low": None, "high": None}


def test_run_folder_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    when = datetime(2026, 1, 2, 3, 4, 5)
    first, second = RunFolder.create("evaluate", now=when), RunFolder.create("evaluate", now=when)
    assert str(first.path) == "runs/evaluate_20260102_030405"
    assert str(second.path) == "runs/evaluate_20260102_030405-2"


def test_finished_run_is_not_overwritten(tmp_path: Path) -> None:
    folder = RunFolder.create("evaluate", tmp_path / "out")
    folder.write_config({"gamma": 5})
    folder.write_result({"value": 1})
    assert (folder.path / "config.yaml").read_text() == "gamma: 5\n"
    with pytest.raises(InputError, match="already holds a result"):
        RunFolder.create("evaluate", tmp_path / "out")


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make this folder"):
        RunFolder.create("evaluate", tmp_path / "file" / "out")
