"""The note of how a folder's clips were made."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.folder_note import FolderNote

NOTE = FolderNote(".kind.json", {"format": "kind/1", "size": 32, "video": {"crf": 18}}, "made")


def test_only_clips_of_one_kind_may_lie_in_a_folder(tmp_path: Path) -> None:
    NOTE.check(tmp_path / "new")
    NOTE.check(tmp_path)
    (tmp_path / ".lock").touch()
    NOTE.check(tmp_path)
    NOTE.write(tmp_path)
    (tmp_path / "scenes.json").touch()
    NOTE.check(tmp_path)
    other = FolderNote(NOTE.name, {**NOTE.settings, "size": 64, "video": {"crf": 20}}, "made")
    with pytest.raises(InputError, match=r"made with size 32 \(now 64\), video\.crf 18 \(now 20\)"):
        other.check(tmp_path)
    other.write(tmp_path)
    NOTE.check(tmp_path)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for name, message in (("file", "is no folder"), ("link", "link leads to no folder")):
        with pytest.raises(InputError, match=message):
            NOTE.check(tmp_path / name)
    (tmp_path / "nowhere").mkdir()
    NOTE.check(tmp_path / "link")


def test_foreign_files_and_a_damaged_note_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds thesis\.tex, and no note of how it was made"):
        NOTE.check(tmp_path)
    (tmp_path / NOTE.name).write_text("{")
    with pytest.raises(InputError, match="the note of how the clips here were made is damaged"):
        NOTE.check(tmp_path)
