"""Errors that reach a user.

Each says what was found, what was expected and what to try, and carries the exit code of the
command line: 2 when the call or its input was wrong, 1 when a check failed.
"""

from __future__ import annotations

from pathlib import Path


class CrossdraftError(Exception):
    """Base of every error that a command reports without a traceback."""

    exit_code = 2


class InputError(CrossdraftError):
    """The call or its input was wrong (exit code 2).

    Args:
        found: what is wrong, naming the item.
        where: file or option that holds it.
        expected: what would have been right.
        hint: what to try next.
    """

    def __init__(
        self,
        found: str,
        *,
        where: str | Path | None = None,
        expected: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.found, self.where, self.expected, self.hint = found, where, expected, hint
        head = f"{where}: {found}" if where is not None else found
        lines = [head]
        if expected:
            lines.append(f"  expected: {expected}")
        if hint:
            lines.append(f"  try: {hint}")
        super().__init__("\n".join(lines))


class CheckFailedError(CrossdraftError):
    """A check ran to its end and its answer is no (exit code 1)."""

    exit_code = 1


def gist(error: BaseException) -> str:
    """The first line of somebody else's error; the second too where the first only announces it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or type(error).__name__
