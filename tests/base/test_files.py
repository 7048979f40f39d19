"""Files are written whole or not at all, and read with clear errors."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import stat
import tracemalloc
from pathlib import Path

import pytest

from crossdraft.base import files
from crossdraft.base.errors import InputError
from crossdraft.base.files import (
    atomic_path,
    output_path,
    parse_json,
    read_bytes,
    read_text,
    sha256_of,
    write_bytes,
    write_json,
    write_text,
)


def test_interrupted_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    write_text(target, "old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_written_file_can_be_read_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


def test_missing_folder_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="existing, writable folder"):
        write_text(tmp_path / "no" / "a.txt", "x")


def test_gzip_by_name_and_without_time_stamp(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a.gz", b"text")
    write_bytes(tmp_path / "b.gz", b"text")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"text"


def test_gzip_is_read_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "named.json"
    path.write_bytes(gzip.compress(b"[1]"))
    assert read_text(path) == "[1]"


@pytest.mark.parametrize(
    "content", [b"", b" \n", gzip.compress(b"", mtime=0)], ids=["none", "blank", "gzip"]
)
def test_empty_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty"
    path.write_bytes(content)
    with pytest.raises(InputError, match="empty"):
        read_bytes(path)


def test_a_gzip_file_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(8 << 20)))
    assert len(read_bytes(path)) == 8 << 20
    monkeypatch.setattr(files, "FREE_UNPACK_BYTES", 3 << 20)
    with pytest.raises(InputError, match="bytes that unpack to at least 4,194,304"):
        read_bytes(path)
    # In proportion to the packed file it is no bomb.
    path.write_bytes(gzip.compress(bytes(8 << 20), compresslevel=0))
    assert len(read_bytes(path)) == 8 << 20


def test_reading_does_not_copy_the_content(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"a" * (8 << 20))
    tracemalloc.start()
    read_bytes(tmp_path / "large")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 10 << 20


@pytest.mark.parametrize("cut", [3, 12, 25])
def test_cut_gzip(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"a long enough text to cut somewhere")[:cut])
    with pytest.raises(InputError, match="cut or damaged"):
        read_bytes(path)


def test_missing_file_folder_and_wrong_encoding(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_bytes(tmp_path / "absent")
    with pytest.raises(InputError, match="cannot be read"):
        read_bytes(tmp_path)
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="not UTF-8"):
        read_text(tmp_path / "latin")


def test_json_errors_name_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 2"):
        parse_json('{"a": 1,\n b}', tmp_path)
    with pytest.raises(InputError, match="half a character"):
        parse_json('["\\uD800"]', tmp_path)
    assert parse_json('["\\ud83d\\ude00"]', tmp_path) == ["\U0001f600"]
    with pytest.raises(InputError, match="nested too deeply"):
        parse_json("[" * 100_000, tmp_path)


def test_nan_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())


def test_fingerprint_of_a_folder_sees_names_and_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    before = sha256_of(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert sha256_of(tmp_path) != before


def test_a_folder_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "result.json").mkdir()
    with pytest.raises(InputError, match="this is a folder"):
        write_json(tmp_path / "result.json", {})
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize("link", [False, True], ids=["itself", "link"])
@pytest.mark.parametrize("kind", ["folder", "named pipe", "socket"])
def test_what_is_no_regular_file_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, link: bool
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    place = Path("result.json")
    if kind == "folder":
        place.mkdir()
    elif kind == "named pipe":
        os.mkfifo(place)
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(place))
    before = place.stat()
    target = Path("link.json") if link else place
    if link:
        target.symlink_to(place)
    names = sorted(tmp_path.iterdir())
    refusal = pytest.raises(InputError, match=f"{target}: this is a {kind}")
    with refusal as caught, atomic_path(target):
        pytest.fail("was asked to write")
    assert caught.value.expected == "a regular file, or a name that is free"
    assert sorted(tmp_path.iterdir()) == names
    after = place.stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)


def test_a_pipe_that_comes_up_during_the_writing_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    with pytest.raises(InputError, match="this is a named pipe"), atomic_path(target) as temporary:
        temporary.write_text("new")
        os.mkfifo(target)
    assert stat.S_ISFIFO(target.stat().st_mode)
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("old", ["old", None], ids=["there", "dangling"])
def test_a_link_is_followed_and_stays(tmp_path: Path, old: str | None) -> None:
    (tmp_path / "store").mkdir()
    real, target = tmp_path / "store" / "real", tmp_path / "result.json"
    if old is not None:
        real.write_text(old)
    (tmp_path / "between").symlink_to(Path("store", "real"))
    target.symlink_to("between")
    assert output_path(target) == real.resolve()
    with atomic_path(target) as temporary:
        # Beside the real file, which may lie on another disk; the suffix is the one asked for.
        assert (temporary.parent, temporary.suffix) == (real.resolve().parent, ".json")
        assert files.is_temporary(temporary)
        temporary.write_text("new")
    assert target.is_symlink() and real.read_text() == "new" and not real.is_symlink()
    assert [path.name for path in real.parent.iterdir()] == ["real"]


def test_links_that_lead_nowhere_are_input_errors(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    target.symlink_to(tmp_path / "no" / "folder.json")
    with pytest.raises(InputError, match="existing, writable folder"):
        write_text(target, "x")
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(InputError, match=r"circle: cannot write here \("):
        write_text(tmp_path / "circle", "x")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="existing, writable folder"):
        write_text(tmp_path / "file" / "below", "x")
    assert (tmp_path / "circle").is_symlink() and target.is_symlink()


@pytest.mark.parametrize("name", ["result.json", "notes", ".hidden", "a.b.h5"])
def test_what_a_kill_leaves_is_swept_and_nothing_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "below").mkdir()
    own = [tmp_path / file for file in (".config.settings", ".a.abcdefgh.json", "x.abcdefgh.part")]
    for path in own:
        path.touch()
    with contextlib.suppress(KeyboardInterrupt), files.atomic_path(tmp_path / "below" / name) as it:
        left = it.with_name(it.name)
        assert files.is_temporary(it)
        raise KeyboardInterrupt
    left.touch()  # as if the writer had been killed
    files.sweep(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(own)
