"""The log survives a cut line."""

from __future__ import annotations

import json
from pathlib import Path

from crossdraft.workflow.journal import LOG, Journal


def test_records_are_appended_and_told(tmp_path: Path) -> None:
    told: list[str] = []
    journal = Journal(tmp_path, lambda record: told.append(record["event"]))
    journal.write("start", step="a/train", fingerprint="f")
    Journal(tmp_path).write("end", step="a/train", seconds=1.5)
    records = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert [record["event"] for record in records] == ["start", "end"]
    assert records[0]["step"] == "a/train" and records[1]["seconds"] == 1.5
    assert records[0]["time"] <= records[1]["time"]
    assert told == ["start"]


def test_a_cut_line_stays_alone(tmp_path: Path) -> None:
    (tmp_path / LOG).write_text('{"event": "sta')
    Journal(tmp_path).write("study")
    first, second = (tmp_path / LOG).read_text().splitlines()
    assert first == '{"event": "sta'
    assert json.loads(second)["event"] == "study"
