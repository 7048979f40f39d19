"""Reading with clear errors, writing all or nothing.

A file is written under a temporary name in its own folder, synced, then renamed: a reader sees
the old content or the new, never half of it, whatever interrupts the writer. Links are followed:
the file that a link leads to gets the content, and the link stays.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import re
import stat
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
#: What a packed file may unpack to, however small it is; beyond, so many times its own size.
FREE_UNPACK_BYTES, MAX_UNPACK_RATIO = 1 << 30, 100


#: Names of files that are not renamed yet; nobody else calls a file like that.
_TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}\.part(\.[^.]+)?", re.ASCII)
#: What a path may lead to that no file can be renamed onto without destroying it.
_SPECIAL = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def output_path(target: Path) -> Path:
    """The file that a write to `target` makes or replaces: where its links lead, if it is a link.

    Nothing is written; worth asking before a long computation.

    Raises:
        InputError: something is there that is no regular file, links lead in a circle, or the
            folder does not exist.
    """
    # A link that leads to nothing yet is a new file there.
    real = Path(os.path.realpath(target))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        if not real.parent.is_dir():
            raise _not_here(target, os.strerror(errno.ENOENT)) from None
        return real
    except OSError as error:
        raise _not_here(target, error.strerror) from error
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _SPECIAL if is_kind(mode)), "no regular file")
        raise InputError(
            f"this is {kind}",
            where=target,
            expected="a regular file, or a name that is free",
            hint="name another file",
        )
    return real


def _not_here(target: Path, reason: str | None) -> InputError:
    return InputError(
        f"cannot write here ({reason})",
        where=target,
        expected="a path in an existing, writable folder",
    )


@contextlib.contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside the file that `target` leads to; rename it onto that file if
    the block succeeds.

    Raises:
        InputError: as `output_path`, before the block; or the folder cannot be written.
    """
    real = output_path(target)
    try:
        # Libraries tell formats by the suffix: it is the one that was asked for.
        handle, name = tempfile.mkstemp(
            prefix=f".{real.name}.", suffix=f".part{target.suffix}", dir=real.parent
        )
    except OSError as error:
        raise _not_here(target, error.strerror) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        # mkstemp makes private files; results are meant to be read by others.
        temporary.chmod(0o644)
        output_path(real)  # the block may have taken hours
        temporary.replace(real)
        _sync_folder(real.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; some file systems refuse to sync folders."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_temporary(path: Path) -> bool:
    """Whether this is what an atomic write leaves when its process is killed."""
    return _TEMPORARY.fullmatch(path.name) is not None


def sweep(folder: Path) -> None:
    """Remove what killed writes have left in a folder and below; for whoever holds its lock."""
    for path in folder.rglob(".*"):
        if path.is_file() and is_temporary(path):
            path.unlink(missing_ok=True)


def write_bytes(target: Path, data: bytes) -> None:
    """Write `data` atomically; gzip it (without a time stamp) if the name ends in `.gz`."""
    if target.suffix.lower() == ".gz":
        data = gzip.compress(data, mtime=0)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(target, text.encode("utf-8"))


def write_json(target: Path, value: Any) -> None:
    """Write JSON atomically. NaN is refused: it is not JSON and other readers choke on it."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def append_text(target: Path, text: str) -> None:
    """Append UTF-8 text, a record of a log or several; it is on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    with target.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def read_bytes(path: Path) -> bytes:
    """Read a file, unpacking gzip by its first bytes (never by its name).

    Raises:
        InputError: missing, a folder, empty, unreadable, or a gzip file that is cut, damaged or
            unpacks to too much.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, hint="check the path") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    if data[:2] == GZIP_MAGIC:
        data = _unpacked(data, path)
    if not data or data.isspace():
        raise InputError("the file is empty", where=path)
    return data


def _unpacked(packed: bytes, path: Path) -> bytes:
    """Content of a gzip file, taken out piece by piece so that a bomb is noticed early."""
    content = io.BytesIO()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
            while piece := stream.read(1 << 20):
                content.write(piece)
                refuse_bomb(len(packed), content.tell(), path)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            f"gzip data is cut or damaged ({error})",
            where=path,
            expected="a complete gzip file",
            hint="copy or download the file again",
        ) from error
    return content.getvalue()


def refuse_bomb(packed_bytes: int, unpacked_bytes: int, path: Path) -> None:
    """Refuse a packed file whose content is too large to be meant.

    Raises:
        InputError: more than `FREE_UNPACK_BYTES` and than `MAX_UNPACK_RATIO` times the file.
    """
    if unpacked_bytes > max(FREE_UNPACK_BYTES, MAX_UNPACK_RATIO * packed_bytes):
        raise InputError(
            f"{packed_bytes:,} bytes that unpack to at least {unpacked_bytes:,}",
            where=path,
            expected=f"at most {MAX_UNPACK_RATIO} times the packed size",
            hint="unpack it yourself if you trust its source",
        )


def read_text(path: Path) -> str:
    """Read UTF-8 text, plain or gzip.

    Raises:
        InputError: as `read_bytes`, or the bytes are not UTF-8.
    """
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8", where=path, expected="a UTF-8 text file"
        ) from error


def parse_json(text: str, where: Path, line: int | None = None) -> Any:
    """Parse JSON and name the place of the first fault.

    Raises:
        InputError: the text is not JSON, or escapes half a character (a lone surrogate), which
            could be neither printed nor written again.
    """
    at = "" if line is None else f" in line {line}"
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        return value
    except UnicodeEncodeError as error:
        raise InputError(
            f"text with half a character (a lone surrogate){at}",
            where=where,
            expected="whole Unicode characters",
        ) from error
    except RecursionError as error:
        raise InputError(f"JSON nested too deeply{at}", where=where) from error
    except ValueError as error:
        at = at or f" in line {getattr(error, 'lineno', 1)}"
        # Of a single line the parser would say that it is line 1.
        fault = str(error).replace(": line 1 column", ": column") if line else str(error)
        raise InputError(
            f"not valid JSON{at} ({fault})",
            where=where,
            expected="a complete JSON file",
            hint="was the file cut while it was written or copied?",
        ) from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file's bytes, or of a folder's file names and bytes in sorted order."""
    digest = hashlib.sha256()
    members = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for member in members:
        if path.is_dir():
            digest.update(member.relative_to(path).as_posix().encode() + b"\0")
        with member.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
