"""Timed answers with known numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossdraft.bench.wallclock.record import Forward, Run
from crossdraft.bench.wallclock.summary import Facts

TOKENS = tuple(range(20))


def run(
    name: str = "none",
    *,
    number: int = 0,
    round: int = 0,
    first_ms: float = 100.0,
    total_ms: float = 290.0,
    tokens: Sequence[int] = TOKENS,
    forwards: Sequence[tuple[int, int, int]] = (),
    **changes: Any,
) -> Run:
    """One answer: tokens come evenly, and what is no prefill is decoding."""
    step_ms = (total_ms - first_ms) / max(1, len(tokens) - 1)
    stages = changes.pop("stages_ms", {"prefill": first_ms, "decode": total_ms - first_ms})
    values: dict[str, Any] = {
        "part": "test",
        "scene": f"clip{number}",
        "drive": f"drive{number // 2}",
        "question": "What is ahead?",
    }
    return Run(
        name,
        round=round,
        number=number,
        tokens=tuple(tokens),
        arrival_ms=tuple(first_ms + place * step_ms for place in range(len(tokens))),
        total_ms=total_ms,
        forwards=tuple(Forward(*one) for one in forwards),
        stages_ms=stages,
        **values | changes,
    )


def plain(**changes: Any) -> Run:
    """An answer of the target alone: a forward per token."""
    tokens = changes.get("tokens", TOKENS)
    return run("none", forwards=[(0, 0, 1)] * len(tokens), **changes)


def facts(name: str = "suffix", **changes: Any) -> Facts:
    values: dict[str, Any] = {
        "kind": "speculative",
        "drafter": "suffix",
        "verify": "tail",
        "overlap": None,
    }
    return Facts(name, **values | changes)


PLAIN = facts("none", kind="plain", drafter=None, verify=None)
