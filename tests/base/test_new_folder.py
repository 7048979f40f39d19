"""A folder appears whole or not at all; what killed runs left is removed, what others write not."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.new_folder import new_folder

_HOLD = """
import sys, time
from pathlib import Path
from crossdraft.base.new_folder import new_folder
with new_folder(Path(sys.argv[1])) as folder:
    (folder / "half").touch()
    print("made", flush=True)
    time.sleep(60)
"""


def make(out: Path) -> None:
    with new_folder(out) as folder:
        (folder / "file").write_text("content")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_appears_when_it_is_whole_and_can_be_read_by_others(tmp_path: Path) -> None:
    with new_folder(tmp_path / "data") as folder:
        assert not (tmp_path / "data").exists()
        (folder / "file").touch()
    assert names(tmp_path) == ["data"]
    assert names(tmp_path / "data") == ["file"]
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o755


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    for fault in (ValueError, KeyboardInterrupt):
        with pytest.raises(fault), new_folder(tmp_path / "data") as folder:
            (folder / "file").touch()
            raise fault
    assert names(tmp_path) == []


def test_links_are_followed_and_stay(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for target in ("empty", "later"):
        link = tmp_path / f"to_{target}"
        link.symlink_to(target)
        make(link)
        assert link.is_symlink()
        assert names(tmp_path / target) == ["file"]


def test_places_that_are_taken(tmp_path: Path) -> None:
    make(tmp_path / "data")
    (tmp_path / "file").touch()
    for out, message in (
        (tmp_path / "data", "this folder holds something"),
        (tmp_path / "file", "this is no folder"),
        (tmp_path / "absent" / "data", "cannot write here"),
        (tmp_path / "file" / "data", "cannot write here"),
    ):
        with pytest.raises(InputError, match=message):
            make(out)
    assert names(tmp_path) == ["data", "file"]


def test_another_disk_is_refused_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "disk"
    out.mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == out)
    begun = False
    refused = pytest.raises(InputError, match=r"(?s)another disk begins.*try: .*disk/data")
    with refused, new_folder(out):
        begun = True
    assert not begun
    assert names(tmp_path) == ["disk"]


def test_a_name_that_cannot_be_given_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "data"
    refused = pytest.raises(InputError, match=r"cannot be given this name \(Directory not empty\)")
    with refused, new_folder(out):
        make(out)  # another run was quicker
    assert names(out) == ["file"]

    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(Path, "rename", busy)
    with pytest.raises(InputError, match="busy"):
        make(tmp_path / "other")
    assert names(tmp_path) == ["data"]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "data"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(out)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "made\n"
        (left,) = tmp_path.iterdir()
        with new_folder(out):
            assert left.exists(), "its writer lives"
        writer.kill()
    assert (left / "half").exists()
    out.rmdir()
    make(out)
    assert names(tmp_path) == ["data"]


def test_what_only_looks_alike_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (
        ".data2.abcd1234.part", ".data.abc.part", ".data.ABCD1234.part", "data.abcd1234.part",
        ".data.abcd1234.part2",
    ):  # fmt: skip
        (tmp_path / name).mkdir()
    (tmp_path / ".data.file1234.part").touch()
    (tmp_path / ".data.link1234.part").symlink_to(elsewhere)
    before = names(tmp_path)
    make(tmp_path / "data")
    assert names(tmp_path) == sorted([*before, "data"])


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, swept = fcntl.flock, list[str]()

    def late(handle: int, how: int) -> None:
        if not swept:
            swept.extend(names(tmp_path))
            shutil.rmtree(tmp_path / swept[0])
        real(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    make(tmp_path / "data")
    assert len(swept) == 1
    assert names(tmp_path) == ["data"]
