"""Parts of a configuration's row that need no other configuration: times, what a prediction was
worth, what to know before using it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from crossdraft.bench.wallclock.summary_questions import Answers, decoding, first, kth, total


def times(given: Answers, k: int) -> dict[str, Any]:
    """Means over questions of their medians, and how many answers they are of."""
    return {
        "answers": sum(map(bool, given.asked)),
        "tokens": sum(len(runs[0].tokens) for runs in given.asked if runs),
        "total_ms": given.mean(total),
        "prefill_ms": given.mean(first),
        "decode_ms": given.mean(decoding),
        "kth_ms": given.mean(kth(k)),
        "stages_ms": given.stages_ms(),
        "drafting_ms": given.mean(lambda run: run.stages_ms.get("draft", 0.0)),
        "event_model_ms": given.mean(lambda run: run.event_model_ms),
        "event_first_ms": given.mean(lambda run: run.event_first_ms),
        "event_tokens": given.mean(lambda run: float(run.event_tokens) if run.mode else None),
        "modes": sorted({run.mode for run in given.runs if run.mode is not None}),
    }


def judged(
    said: Mapping[str, float | None] | None, row: Mapping[str, Any]
) -> dict[str, Any] | None:
    """A prediction, and by what share the measurement is above it."""
    if said is None:
        return None
    total_ms, speedup = said.get("total_ms"), said.get("speedup")
    measured = None if row["speedup"] is None else row["speedup"]["value"]
    return {
        "total_ms": total_ms,
        "total_error": _above(row["total_ms"], total_ms),
        "speedup": speedup,
        "speedup_error": _above(measured, speedup),
    }


def _above(measured: float | None, predicted: float | None) -> float | None:
    return measured / predicted - 1 if measured is not None and predicted else None


def warnings_about(given: Answers) -> list[str]:
    """What a reader must know of one configuration's runs."""
    name = f"`{given.name}`"
    if not given.runs:
        return [f"{name} answered nothing"]
    made = []
    if missing := sum(not runs for runs in given.asked):
        made.append(f"{name} did not answer {missing} of {len(given.asked)} questions")
    rounds = sorted({len(runs) for runs in given.asked if runs})
    if len(rounds) > 1:
        made.append(f"{name}: some questions have {rounds[0]} rounds, others {rounds[-1]}")
    changing = sum(len({run.tokens for run in runs}) > 1 for runs in given.asked)
    if changing:
        made.append(f"{name}: answers to {changing} questions are not the same in every round")
    said = Counter(warning for run in given.runs for warning in run.warnings)
    made += [f"{name}, {count} of {len(given.runs)} runs: {text}" for text, count in said.items()]
    return made
