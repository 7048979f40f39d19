"""Records: written last, believed only where they are whole and their own clip's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.manifest import to_record
from crossdraft.scenes.records import RECORDS, Known, has_files, read_records, write_recorded
from crossdraft.scenes.scene import Scene

FILE = "events/a/000001.h5"


def entry(folder: Path) -> dict[str, Any]:
    return to_record(Scene("a", 1, folder, events_file=FILE, window_us=(0, 9)))


def write(folder: Path, content: bytes = b"events") -> None:
    def make() -> dict[str, Any]:
        (folder / FILE).write_bytes(content)
        return entry(folder)

    write_recorded(folder, "a/000001", [FILE], make)


def records(folder: Path) -> dict[str, Known]:
    return read_records(folder, "made", lambda scene: None)


def test_a_record_counts_the_bytes_of_its_files(tmp_path: Path) -> None:
    write(tmp_path)
    assert records(tmp_path) == {"a/000001": {"record": entry(tmp_path), "bytes": {FILE: 6}}}
    known = records(tmp_path)["a/000001"]
    assert has_files(tmp_path, known, [FILE])
    assert not has_files(tmp_path, known, [FILE, "video/a/000001.mp4"])
    (tmp_path / FILE).write_bytes(b"event")
    assert not has_files(tmp_path, known, [FILE])
    (tmp_path / FILE).unlink()
    assert not has_files(tmp_path, known, [FILE])


def test_a_clip_that_fails_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path)

    def fail() -> dict[str, Any]:
        (tmp_path / FILE).write_bytes(b"half")
        assert not records(tmp_path), "what is being made again is no longer whole"
        raise ValueError

    with pytest.raises(ValueError):
        write_recorded(tmp_path, "a/000001", [FILE], fail)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_interrupt_leaves_no_record(tmp_path: Path) -> None:
    def stop() -> dict[str, Any]:
        raise KeyboardInterrupt

    write(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_recorded(tmp_path, "a/000001", [FILE], stop)
    assert records(tmp_path) == {}


def test_half_written_records_are_none(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / RECORDS / "a" / ".000002.json.abcd1234.part.json").write_text("{")
    assert list(records(tmp_path)) == ["a/000001"]


@pytest.mark.parametrize(
    "damaged",
    [
        "{",
        "[]",
        "{}",
        json.dumps({"record": {"drive": "a", "clip": 2}, "bytes": {}}),
        json.dumps({"record": {"drive": "a", "clip": 1}, "bytes": {FILE: 6}}),
        '{"record": {"drive": "a", "clip": 1, "x": NaN}, "bytes": {}}',
        json.dumps(
            {
                "record": {**entry(Path()), "event_frames": {"event_image": ["video/a/1.png"]}},
                "bytes": {FILE: 6, "video/a/1.png": 1},
            }
        ),
    ],
    ids=["cut", "list", "empty", "another-clip", "other-files", "nan", "frames-elsewhere"],
)
def test_what_is_no_record_is_named(tmp_path: Path, damaged: str) -> None:
    write(tmp_path)
    (tmp_path / RECORDS / "a" / "000001.json").write_text(damaged)
    with pytest.raises(InputError, match=r"000001\.json: no record[\s\S]*its clip is made again"):
        records(tmp_path)


def test_a_check_may_ask_for_more(tmp_path: Path) -> None:
    write(tmp_path)

    def check(scene: Scene) -> None:
        raise InputError(f"{scene.id} has no truth")

    with pytest.raises(InputError, match=r"no record of this clip \(a/000001 has no truth\)"):
        read_records(tmp_path, "made", check)
