"""How far an extraction is, seen from outside."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.pairs.extract.claims import claimed
from crossdraft.pairs.extract.events import Event
from crossdraft.pairs.extract.finish import begin
from crossdraft.pairs.extract.log import Log, is_running, read_logs
from crossdraft.pairs.extract.run import extract
from crossdraft.pairs.extract.status import Status, read_status
from crossdraft.pairs.extract.workplace import Workplace
from crossdraft.pairs.store.manifest import Missing
from tests.pairs.extract.ground import OFTEN, Ground

pytestmark = pytest.mark.usefixtures("quick")


def _tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
    }


def test_while_it_runs(ground: Ground, tmp_path: Path) -> None:
    seen: list[Status] = []

    def look(event: Event) -> None:
        before = _tree(tmp_path)
        seen.append(read_status(tmp_path))
        assert _tree(tmp_path) == before, "looking leaves no trace"

    extract(ground.plan(tmp_path), OFTEN, tell=look, argv=())
    assert all(one.planned == 12 and one.shards == 3 and one.running == 1 for one in seen)
    first = seen[2]  # the first piece, behind its begin and its clip
    assert (first.done, first.busy, first.waiting, first.pairs, first.saved) == (0, 1, 2, 0, 2)
    progress = [one.pairs + one.saved for one in seen]
    assert progress == sorted(progress) and progress[-1] == 12
    assert any(one.done == 1 and one.pairs == 4 for one in seen)
    told = [one for one in seen if one.pairs_per_s is not None]
    assert told and all(one.seconds_left is not None for one in told)
    after = read_status(tmp_path)
    assert (after.finished, after.done, after.pairs, after.running) == (True, 3, 12, 0)
    assert after.seconds_left is None and after.bytes > 0
    assert after.to_json()["waiting"] == 0


def test_failures_and_shards_that_are_held(ground: Ground, tmp_path: Path) -> None:
    begin(ground.plan(tmp_path))
    place = Workplace(tmp_path)
    place.note_failed(1, {2: Missing("train-0000/000002", "too dark", 3)})
    with claimed(place.claim_path(2)):
        found = read_status(tmp_path)
        assert (found.busy, found.waiting, found.running) == (1, 2, 0)
        assert [one.reason for one in found.failed] == ["too dark"]
    assert read_status(tmp_path).busy == 0


def test_what_is_no_extraction(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no extraction has begun here"):
        read_status(tmp_path)
    begin(ground.plan(tmp_path))
    (tmp_path / "open" / "000001.json").write_text('{"info": 3, "missing": []}')
    with pytest.raises(InputError, match=r"000001.json: a note of the extraction is damaged"):
        read_status(tmp_path)


def test_the_log(ground: Ground, tmp_path: Path) -> None:
    ground.extract(tmp_path)
    ((path, lines),) = read_logs(tmp_path).items()
    assert str(os.getpid()) in path.name and is_running(path)
    assert [line["event"] for line in lines] == [
        "begin", *["piece", "piece", "shard"] * 3, "end"
    ]  # fmt: skip
    assert lines[0]["provenance"]["packages"]["crossdraft"]
    assert [line["made"] for line in lines[1:-1]] == [2, 4, 4, 6, 8, 8, 10, 12, 12]
    assert lines[3]["positions"][0] > 0 and lines[3]["shard"] == 0
    with path.open("a") as log:
        log.write('{"time": "2026-01-01T00:00:00+00:00", "ev')
    assert len(read_logs(tmp_path)[path]) == len(lines)


def test_an_error_stands_in_the_log_and_a_log_stops_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError), Log(tmp_path).running():
        raise ValueError
    (lines,) = read_logs(tmp_path).values()
    assert lines[-1]["why"] == "ValueError"
    (tmp_path / "file").touch()
    with Log(tmp_path / "file").running(rank=1):
        pass
    gone: Any = tmp_path / "log" / "elsewhere-1.jsonl"
    assert is_running(gone), "nobody knows of another machine"
