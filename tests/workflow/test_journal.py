"""The log survives a cut line; the lock keeps a second process out and dies with its holder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.workflow.journal import LOG, Journal, locked

_HOLD = """
import sys, time
from pathlib import Path
from crossdraft.workflow.journal import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


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


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"process {holder.pid} is running a study"):
            locked(tmp_path).__enter__()
        holder.kill()
    with locked(tmp_path):
        pass


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write here"):
        locked(tmp_path / "file" / "study").__enter__()
