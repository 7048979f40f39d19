"""How much of the event model's time the target hides.

Plain decoding three times: alone, with the event model before it, and with the event model beside
it, its words unread. The passes of the target are the same in all three, so

    hidden = 1 - (beside - alone) / (before - alone)

is the share of the event model's time that costs the answer nothing, all by one clock. Where the
event model had not finished when the target had, or failed, that would count what was never done:
only questions that it answered whole beside the target are used.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossdraft.bench.wallclock.configuration import BASELINE
from crossdraft.bench.wallclock.record import Run
from crossdraft.evaluation.bootstrap import BlockBootstrap

BEFORE, BESIDE = f"{BASELINE}+sequential", f"{BASELINE}+overlap"


def hidden(by: Mapping[str, Sequence[Run]], seed: int) -> dict[str, Any] | None:
    """The share with its interval over drives, and mean times; None where one of the three was not
    measured.

    Args:
        by: runs by configuration.
    """
    if not {BASELINE, BEFORE, BESIDE} <= by.keys():
        return None
    alone, before, beside = (_totals(by[name]) for name in (BASELINE, BEFORE, BESIDE))
    asked = alone.keys() & before.keys() & beside.keys()
    numbers = sorted(asked & _whole([*by[BEFORE], *by[BESIDE]]))
    if not numbers:
        return None
    rows = np.array([[alone[n], before[n], beside[n]] for n in numbers])
    drives = {run.number: run.drive for run in by[BASELINE] if run.part == "test"}
    groups: dict[str, list[int]] = {}
    for place, number in enumerate(numbers):
        groups.setdefault(drives[number], []).append(place)
    cost = rows[:, 1] - rows[:, 0]
    bootstrap = BlockBootstrap(list(groups.values()), 2000, seed)
    share = bootstrap.ratio((rows[:, 1] - rows[:, 2])[:, None], cost[:, None])[0]
    return {
        "hidden": share.to_json(),
        "event_model_ms": float(cost.mean()),
        "alone_ms": float(rows[:, 0].mean()),
        "before_ms": float(rows[:, 1].mean()),
        "beside_ms": float(rows[:, 2].mean()),
        "answers": len(numbers),
        "left_out": len(asked) - len(numbers),
    }


def _whole(runs: Sequence[Run]) -> set[int]:
    """Questions to which the event model gave as many tokens every time, and never failed."""
    words: dict[int, set[int]] = {}
    failed = set()
    for run in runs:
        if run.part == "test":
            words.setdefault(run.number, set()).add(run.event_words)
            if run.warnings:
                failed.add(run.number)
    return {number for number, counts in words.items() if len(counts) == 1} - failed


def _totals(runs: Sequence[Run]) -> dict[int, float]:
    """Median over rounds of each test question's total."""
    by: dict[int, list[float]] = {}
    for run in runs:
        if run.part == "test":
            by.setdefault(run.number, []).append(run.total_ms)
    return {number: statistics.median(values) for number, values in by.items()}
