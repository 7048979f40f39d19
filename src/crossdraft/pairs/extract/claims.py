"""Who works on which shard: a lock that ends with its holder, and a list of clips begun and ended.

A clip that was begun and never ended took its process along. Whoever takes the shard up again
counts how often that happened, so that one bad clip cannot kill processes for ever.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.base.lock import try_locked_file


class SpoiledError(InputError):
    """An error that leaves this process unable to go on, as if it had died: of a GPU, mostly."""


class Claim:
    """A shard that this process holds.

    Args:
        path: of its list.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def deaths(self, clips: str) -> int:
        """How often a process has died in the middle of a clip, or of a batch of them.

        Args:
            clips: their numbers, `7` or `0-7`.
        """
        return self._open_ends()[clips]

    @contextlib.contextmanager
    def on(self, clips: str) -> Iterator[None]:
        """Note that clips are begun, and ended, unless that has spoiled the process."""
        self._append(f"begin {clips}")
        try:
            yield
        except SpoiledError:
            raise
        except BaseException:
            self._append(f"end {clips}")
            raise
        self._append(f"end {clips}")

    def _append(self, line: str) -> None:
        # Begun anew before the line, because a kill may have cut the one before.
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            os.write(handle, f"\n{line}".encode())
        finally:
            os.close(handle)

    def _open_ends(self) -> Counter[str]:
        found: Counter[str] = Counter()
        if self._path.is_file():
            for line in self._path.read_text(encoding="ascii", errors="replace").splitlines():
                word, _, clips = line.partition(" ")
                if word in ("begin", "end"):
                    found[clips] += 1 if word == "begin" else -1
        return found


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[Claim | None]:
    """The claim of a shard, None where another process holds it; let go afterwards.

    Raises:
        InputError: the folder cannot be written.
    """
    with try_locked_file(path) as mine:
        yield Claim(path) if mine else None
