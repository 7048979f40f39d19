"""A study's log to follow while it runs, and the lock that keeps a second process out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError

LOG, LOCK = "study.jsonl", ".lock"

Listener = Callable[[Mapping[str, Any]], None]


def timestamp() -> str:
    """Now, in UTC, as the log and the markers write it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Journal:
    """JSON Lines that are only ever appended to: one record per start, end, skip, wait, epoch."""

    def __init__(self, folder: Path, listen: Listener = lambda _: None) -> None:
        self._path, self._listen = folder / LOG, listen
        # A line that a kill has cut must not swallow the next one.
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            self._append("\n")

    def write(self, event: str, step: str | None = None, **more: Any) -> None:
        """Append one record and tell the listener."""
        named = {} if step is None else {"step": step}
        record = {"time": timestamp(), "event": event, **named, **more}
        self._append(json.dumps(record, ensure_ascii=False) + "\n")
        self._listen(record)

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="utf-8") as log:
            log.write(text)
            log.flush()
            os.fsync(log.fileno())


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a study's folder; the system releases it when the process dies.

    Raises:
        InputError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"cannot write here ({error.strerror})", where=folder) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(handle, 32).decode("ascii", "replace").strip()
            raise InputError(
                f"process {holder or 'unknown'} is running a study in this folder",
                where=folder,
                expected="one process per folder",
                hint="wait until it has ended, or name another folder with --out",
            ) from error
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(handle)
