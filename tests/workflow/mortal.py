"""Death of a process at one change of a file, without a process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class DeadError(BaseException):
    """The process is gone: nothing that touches files works any more."""


class Mortal:
    """Makes the n-th change of a file the last one, before or after it happens."""

    def __init__(self, patch: pytest.MonkeyPatch, dies_at: int, *, after: bool) -> None:
        self.changes, self.dead, self._dies_at, self._after = 0, False, dies_at, after
        for owner, name in (
            (Path, "replace"), (Path, "rename"), (Path, "mkdir"), (Path, "unlink"),
            (Path, "touch"), (Path, "write_bytes"), (shutil, "rmtree"),
        ):  # fmt: skip
            patch.setattr(owner, name, self._wrap(getattr(owner, name)))

    def _wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise DeadError
            self.changes += 1
            last = self.changes == self._dies_at
            if last and not self._after:
                self.dead = True
                raise DeadError
            done = real(*args, **kwargs)
            if last:
                self.dead = True
                raise DeadError
            return done

        return change
