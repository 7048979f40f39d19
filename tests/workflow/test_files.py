"""Unfinished files: cut, short of what their header announces, or still changing."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.pairs.formats import write_extraction, write_pairs
from crossdraft.pairs.record import PairSet
from crossdraft.workflow.files import InputFiles
from tests.make import recorded_pairs

PAIRS = PairSet(recorded_pairs(6), "extraction")


def written(folder: Path, name: str) -> Path:
    path = folder / name
    (write_pairs if ".jsonl" in name else write_extraction)(PAIRS, path)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz"])
def test_whole_files_have_no_fault(tmp_path: Path, name: str) -> None:
    assert InputFiles().fault(written(tmp_path, name)) is None


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.json.gz"])
@given(share=st.floats(0, 1, exclude_max=True))
def test_every_cut_is_seen(
    tmp_path_factory: pytest.TempPathFactory, name: str, share: float
) -> None:
    folder = tmp_path_factory.mktemp("cut", numbered=True)
    path = written(folder, name)
    content = path.read_bytes()
    # The last byte of plain text is a line break, which nothing misses.
    path.write_bytes(content[: int(share * (len(content) - 1))])
    assert InputFiles().fault(path) is not None


def test_missing_empty_and_half_a_character(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert InputFiles().fault(path) == "no such file"
    path.touch()
    assert InputFiles().fault(path) == "the file is empty"
    path.write_bytes('["é"]'.encode()[:3])
    assert "UTF-8" in (InputFiles().fault(path) or "")
    path.write_bytes(gzip.compress(b"[]")[:-4])
    assert "cut or damaged" in (InputFiles().fault(path) or "")


def test_a_short_file_says_how_short(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]))
    assert InputFiles().fault(path) == "3 of 6 announced pairs"


def test_nonsense_that_reads_whole_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"neither": "fish"}')
    assert InputFiles().fault(path) is None


def test_cached_directories(tmp_path: Path) -> None:
    rows = torch.ones(3, 4, dtype=torch.int64)
    torch.save(rows, tmp_path / "draft_tokens.pt")
    files = InputFiles()
    assert files.fault(tmp_path) is not None
    torch.save(rows, tmp_path / "target_tokens.pt")
    assert files.fault(tmp_path) is None


def test_settled_means_unchanged_between_two_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_ms = 0.0
    monkeypatch.setattr("crossdraft.workflow.files.now_ms", lambda: clock_ms)
    path, files = written(tmp_path, "a.jsonl"), InputFiles()
    assert not files.settled(path, 5), "just written"
    clock_ms = 4000
    assert not files.settled(path, 5)
    clock_ms = 5000
    assert files.settled(path, 5)
    write_pairs(PairSet(PAIRS.pairs[:5], "extraction"), path)
    assert not files.settled(path, 5), "changed since"
    os.utime(path, (0, 0))
    assert files.settled(path, 5), "has not changed for long"


def test_digest_follows_the_content(tmp_path: Path) -> None:
    path, files = written(tmp_path, "a.jsonl"), InputFiles()
    first = files.digest(path)
    assert files.digest(path) == first == InputFiles().digest(path)
    write_pairs(PairSet(PAIRS.pairs[:5], "extraction"), path)
    assert files.digest(path) != first
