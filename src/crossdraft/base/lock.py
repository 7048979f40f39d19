"""One process per folder or per file: locks that the system releases when their holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError

LOCK = ".lock"
#: How long a file is waited for, and how often it is tried.
PATIENCE_MS, _RETRY_MS = 60_000.0, 5.0


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, made if it is not there.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    with _opened(folder, LOCK) as handle:
        if (holder := _taken(handle)) is not None:
            raise InputError(
                f"process {holder} is running in this folder",
                where=folder,
                expected="one process per folder",
                hint="wait until it has ended, or name another folder with --out",
            )
        yield


@contextlib.contextmanager
def locked_file(path: Path, patience_ms: float = PATIENCE_MS) -> Iterator[None]:
    """Hold the lock of one file, waiting for whoever holds it: for reading it and writing it anew.

    The lock is a hidden file beside it, and stays there: were it removed, two processes could hold
    locks of two files of its name. The folder is made if it is not there.

    Raises:
        InputError: another process did not let go in time, or the folder cannot be written.
    """
    give_up_ms = now_ms() + patience_ms
    with _opened(path.parent, _lock_of(path)) as handle:
        while (holder := _taken(handle)) is not None:
            if now_ms() > give_up_ms:
                raise InputError(
                    f"process {holder} has been writing this file for {patience_ms / 1e3:g} s",
                    where=path,
                    expected="a file that is free now and then",
                    hint="see what that process does, or name another file",
                )
            time.sleep(_RETRY_MS / 1e3)
        yield


@contextlib.contextmanager
def try_locked_file(path: Path) -> Iterator[bool]:
    """Whether the lock of one file is held now, which is not waited for; it is let go afterwards.

    The lock is that of `locked_file`.

    Raises:
        InputError: the folder cannot be written.
    """
    with _opened(path.parent, _lock_of(path)) as handle:
        yield _taken(handle) is None


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock of a file; nothing is made or written.

    Whoever tries to take the lock in this very moment is refused, and has to try again.
    """
    try:
        handle = os.open(path.parent / _lock_of(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _lock_of(path: Path) -> str:
    return f".{path.name}{LOCK}"


@contextlib.contextmanager
def _opened(folder: Path, name: str) -> Iterator[int]:
    """The file that is locked; closing it gives the lock back."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(
            f"cannot write here ({error.strerror})",
            where=folder,
            expected="a folder that can be made or is there, and can be written",
            hint="name another folder, or ask for the right to write here",
        ) from error
    try:
        yield handle
    finally:
        os.close(handle)


def _taken(handle: int) -> str | None:
    """Take the lock; the process that holds it where that is another one."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return None
