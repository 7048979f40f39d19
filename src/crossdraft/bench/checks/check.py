"""What a check has found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Check:
    """One line of the doctor.

    Attributes:
        name: of the check.
        model: `target`, `drafter`, or `pair` where it is about both.
        ok: whether a proof holds; None for what is measured, and where nothing was checked.
        line: what was found, in one line.
        numbers: the same for programs; plain JSON.
        checked: False where the check does not apply or could not be made; the line says why.
    """

    name: str
    model: str
    ok: bool | None
    line: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    checked: bool = True

    @classmethod
    def skipped(cls, name: str, model: str, why: str) -> Check:
        """A check that was not made."""
        return cls(name, model, None, why, checked=False)

    @property
    def verdict(self) -> str:
        """`ok`, `FAILED`, `measured` or `not checked`."""
        if self.ok is None:
            return "measured" if self.checked else "not checked"
        return "ok" if self.ok else "FAILED"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {**asdict(self), "verdict": self.verdict}
