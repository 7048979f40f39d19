"""`crossdraft scenes predictability` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.run import crossdraft_here
from tests.evaluation.test_predictability_source import write_drive

COMMAND = ("scenes", "predictability")


def test_json_has_a_column_for_each_source(tmp_path: Path, extraction_file: Path) -> None:
    write_drive(tmp_path / "drive", {"train": 3, "test": 2})
    done = crossdraft_here(
        *COMMAND, "drive", extraction_file, "--gap", "4", "--json", cwd=tmp_path
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "scenes predictability")
    drive, recorded = result["sources"]
    assert (drive["name"], recorded["name"]) == ("drive", extraction_file.name)
    assert drive["gain_seen"].keys() == {"value", "low", "high"}
    assert recorded["gain_seen"] is None
    assert drive["data"]["drives"] == 2
    assert recorded["vocabulary"] is None
    assert len(result["provenance"]["inputs"]) == 3


def test_the_same_call_gives_the_same_numbers(tmp_path: Path) -> None:
    write_drive(tmp_path / "drive", {"train": 3, "test": 2})
    told = [crossdraft_here(*COMMAND, "drive", "--json", cwd=tmp_path).stdout for _ in range(2)]
    one, two = (json.loads(text)["sources"] for text in told)
    assert one == two


def test_the_terminal_shows_a_table_and_what_it_rests_on(tmp_path: Path) -> None:
    write_drive(tmp_path / "drive", {"train": 3, "test": 2})
    done = crossdraft_here(*COMMAND, "drive", "--voice", "event", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for word in ("tau", "position match %", "gain", "event voice", "80 answers of 2 drives",
                 "train and test drives", "note: drive: intervals rest on"):  # fmt: skip
        assert word in done.stdout, word
    lines = [line for line in done.stdout.splitlines() if not line.startswith("note: ")]
    assert max(map(len, lines)) <= 120
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drive"], "nothing is written"


def test_recorded_answers_alone_leave_out_what_they_do_not_know(extraction_file: Path) -> None:
    done = crossdraft_here(*COMMAND, extraction_file, "--gap", "4", cwd=extraction_file.parent)
    assert done.returncode == 0, done.stderr
    assert "contiguous blocks, gap 4 clips" in done.stdout
    assert "camera-only" not in done.stdout


def test_bad_calls_name_what_is_wrong(tmp_path: Path) -> None:
    write_drive(tmp_path / "drive", {"train": 2}, clips=1)
    (tmp_path / "drive" / "answers.jsonl").unlink()
    (tmp_path / "bare").mkdir()
    for arguments, said in (
        (("bare",), "neither answers.jsonl nor recorded answers"),
        (("missing",), "missing"),
        (("drive",), "brings no answers"),
        (("drive", "--folds", "1"), "--folds"),
    ):
        done = crossdraft_here(*COMMAND, *arguments, cwd=tmp_path)
        assert done.returncode == 2, said
        assert said in done.stderr
        assert "Traceback" not in done.stderr
