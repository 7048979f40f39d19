"""Clips that are made one by one: what is counted, kept, swept and written in the end."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.lock import locked
from crossdraft.base.progress import Progress, silent
from crossdraft.scenes import making
from crossdraft.scenes.folder_note import FolderNote
from crossdraft.scenes.making import Report, make_clips, pending
from crossdraft.scenes.manifest import to_record
from crossdraft.scenes.records import Known, has_files, write_recorded
from crossdraft.scenes.scene import Scene


@dataclass(frozen=True)
class Line:
    """A clip that is a line of text; number 13 cannot be made."""

    folder: Path
    number: int

    @property
    def id(self) -> str:
        return f"a/{self.number:06d}"

    @property
    def file(self) -> str:
        return f"events/{self.id}.h5"


def write_line(clip: Line) -> None:
    def make() -> dict[str, Any]:
        (clip.folder / clip.file).write_text("x" * clip.number)
        if clip.number == 13:
            raise InputError("an unlucky number")
        return to_record(Scene("a", clip.number, clip.folder, events_file=clip.file))

    write_recorded(clip.folder, clip.id, [clip.file], make)


@dataclass
class Lines:
    folder: Path
    numbers: Sequence[int]
    written: list[list[int]] = field(default_factory=list)

    @property
    def clips(self) -> list[Line]:
        return [Line(self.folder, number) for number in self.numbers]

    @property
    def note(self) -> FolderNote:
        return FolderNote(".lines.json", {"kind": "lines"}, "written")

    def check_record(self, scene: Scene) -> None:
        """Any will do."""

    def is_done(self, clip: Line, known: Known) -> bool:
        return has_files(self.folder, known, [clip.file])

    def prepare(self) -> None:
        assert (self.folder / ".lines.json").exists()

    def write_manifest(self, records: list[dict[str, Any]]) -> None:
        self.written.append([record["clip"] for record in records])


def make(out: Path, *datasets: Lines, workers: int = 1, sink: Any = silent) -> Report:
    return make_clips(out, datasets, write_line, Report(), workers=workers, progress=sink)


def test_what_is_made_kept_and_failed_is_counted(tmp_path: Path) -> None:
    one, two = Lines(tmp_path / "one", [5, 13, 2]), Lines(tmp_path / "two", [7])
    report = make(tmp_path, one, two)
    assert (report.done, report.kept) == (3, 0)
    assert report.failed == [("one/a/000013", "an unlucky number")]
    assert report.clips == {str(tmp_path / "one"): 2, str(tmp_path / "two"): 1}
    assert (one.written, two.written) == ([[2, 5]], [[7]])
    assert report.to_json()["failed"] == [{"clip": "one/a/000013", "reason": "an unlucky number"}]
    assert report.to_json()["made"] == 3
    assert [clip.number for clip in pending([one, two])] == [13]
    (tmp_path / "one" / "events" / "a" / "000002.h5").unlink()
    report = make(tmp_path, Lines(one.folder, [5]), two, workers=2)
    assert (report.done, report.kept) == (0, 2)
    later = Lines(one.folder, [9])
    make(tmp_path, later)
    assert later.written == [[5, 9]], "a clip whose file is lost is in no manifest"


def test_what_failed_is_sorted(tmp_path: Path) -> None:
    report = make(tmp_path, Lines(tmp_path / "two", [13]), Lines(tmp_path / "one", [13]))
    assert [clip for clip, _ in report.failed] == ["one/a/000013", "two/a/000013"]


def test_what_there_is_to_do_is_asked_again_under_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run may have ended just before."""

    def waited(folder: Path) -> AbstractContextManager[None]:
        monkeypatch.undo()
        make(tmp_path, Lines(tmp_path / "one", [1]))
        return locked(folder)

    monkeypatch.setattr(making, "locked", waited)
    report = make(tmp_path, Lines(tmp_path / "one", [1, 2]))
    assert (report.done, report.kept) == (1, 1)


def test_progress_counts_what_was_there(tmp_path: Path) -> None:
    make(tmp_path, Lines(tmp_path / "one", [1, 2]))
    seen: list[Progress] = []
    make(tmp_path, Lines(tmp_path / "one", [1, 2, 3, 13]), sink=seen.append)
    assert seen == [Progress("one", done, 4) for done in (2, 3, 4)]


def test_half_written_files_are_swept_and_one_process_works(tmp_path: Path) -> None:
    lines = Lines(tmp_path, [1])
    left = tmp_path / ".000001.h5.abcd1234.part.h5"
    left.touch()
    with locked(tmp_path), pytest.raises(InputError, match="is running in this folder"):
        make(tmp_path, lines)
    assert left.exists()
    assert lines.written == []
    make(tmp_path, lines)
    assert not left.exists()
