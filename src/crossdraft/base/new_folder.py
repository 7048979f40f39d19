"""A folder that appears whole or not at all, whatever interrupts its writer.

It is made beside its final name, hidden, and renamed when it is whole. Its maker holds a lock on it
that the system releases when the maker dies, so what killed runs have left can be told from what
others are writing, and is removed by the next run for the same name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from crossdraft.base.errors import InputError

_PART = ".part"


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that takes its name if the block succeeds, else vanishes.

    Args:
        out: in an existing folder; it may exist if it is empty. Links are followed.

    Raises:
        InputError: something is there, or another disk; nothing can be made here; the name was
            taken while the block ran.
    """
    # A link that leads to an empty folder stays a link.
    real = Path(os.path.realpath(out))
    try:
        _check_free(real, out)
        _sweep(real)
        folder, handle = _made(real)
    except OSError as error:
        raise InputError(
            f"cannot write here ({error.strerror})",
            where=out,
            expected="a name in an existing, writable folder",
        ) from error
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp makes private folders; results are meant to be read
        _rename(folder, real, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _check_free(real: Path, out: Path) -> None:
    if not real.exists():
        return
    if not real.is_dir() or any(real.iterdir()):
        raise InputError(
            "this folder holds something" if real.is_dir() else "this is no folder",
            where=out,
            expected="a name that is free, or an empty folder",
            hint="name another folder with --out",
        )
    # No folder can be renamed onto another disk, nor onto the place where one is mounted.
    if os.path.ismount(real):
        raise InputError(
            "another disk begins at this folder",
            where=out,
            expected="a name that is free, or an empty folder",
            hint=f"name a folder on that disk: --out {out / 'data'}",
        )


def _made(real: Path) -> tuple[Path, int]:
    """A new hidden folder and the handle whose lock says that somebody writes it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{real.name}.", suffix=_PART, dir=real.parent))
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # some network disks have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        # Another run may have swept it just before it was locked.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), folder.stat()):
                return folder, handle
        os.close(handle)


def _rename(folder: Path, real: Path, out: Path) -> None:
    try:
        folder.rename(real)
    except OSError as error:
        raise InputError(
            f"the finished folder cannot be given this name ({error.strerror})",
            where=out,
            expected="a name that stays free until the work is done",
            hint="name another folder with --out",
        ) from error


def _sweep(real: Path) -> None:
    """Remove what killed runs for this name have left; what is being written is locked."""
    # Letters as `tempfile` draws them; nobody else calls a folder like that.
    left = re.compile(rf"\.{re.escape(real.name)}\.[a-z0-9_]{{8}}{re.escape(_PART)}", re.ASCII)
    with contextlib.suppress(OSError):  # it may be forbidden to list the folder, or to lock
        for path in list(real.parent.iterdir()):
            if left.fullmatch(path.name):
                _remove_unless_locked(path)


def _remove_unless_locked(folder: Path) -> None:
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:  # no folder, or gone
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)
