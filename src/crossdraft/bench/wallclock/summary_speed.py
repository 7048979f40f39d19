"""How much sooner one configuration answers than another, and how sure that is.

Ratios are of sums over questions, and of each question's median over the rounds.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import Any

from crossdraft.base.result import Estimate
from crossdraft.bench.wallclock.summary_passes import CLEARLY
from crossdraft.bench.wallclock.summary_questions import (
    Answers,
    Questions,
    Reading,
    first,
    kth,
    total,
)

#: Others that a speed-up is always given over, where they ran.
RIVALS = ("hf-generate", "hf-prompt-lookup")


def speed(
    answers: Answers,
    baseline: Answers,
    rivals: Mapping[str, Answers | None],
    questions: Questions,
    k: int,
) -> dict[str, Any]:
    """Speed-ups of answers that may be compared with the baseline's.

    Args:
        rivals: by name; None where one ran but its answers are others.
        k: which token `speedup_kth` is about.

    Returns:
        `speedup`, `speedup_first`, `speedup_kth`, `speedup_over`, `speedup_rounds` (the least and
        the most of single rounds, None of a single one), `slower` and `clearly_slower` (shares of
        questions).
    """
    own, plain = answers.medians(total), baseline.medians(total)
    behind = [a / b for a, b in zip(own, plain, strict=True) if a is not None and b is not None]

    def over(other: Answers, reading: Reading) -> dict[str, float | None]:
        if other is answers:  # one by definition: nothing was estimated
            return Estimate(1.0).to_json()
        return questions.ratio(other.medians(reading), answers.medians(reading)).to_json()

    return {
        "speedup": over(baseline, total),
        "speedup_first": over(baseline, first),
        "speedup_kth": over(baseline, kth(k)),
        "speedup_over": {
            name: None if other is None else over(other, total) for name, other in rivals.items()
        },
        "speedup_rounds": _by_round(answers, baseline, questions),
        "slower": fmean(ratio > 1.0 for ratio in behind) if behind else None,
        "clearly_slower": fmean(ratio > CLEARLY for ratio in behind) if behind else None,
    }


def no_speed(rivals: Mapping[str, Answers | None]) -> dict[str, Any]:
    """The same keys where a speed-up would compare two different answers."""
    names = ("speedup", "speedup_first", "speedup_kth", "speedup_rounds", "slower")
    nothing = dict.fromkeys(rivals)
    return {**dict.fromkeys(names), "speedup_over": nothing, "clearly_slower": None}


def _by_round(answers: Answers, baseline: Answers, questions: Questions) -> dict[str, float] | None:
    """Least and most speed-up of single rounds."""
    numbers = sorted({run.round for run in answers.runs} & {run.round for run in baseline.runs})
    if answers is baseline or len(numbers) < 2:
        return None
    found = (
        questions.ratio(
            baseline.in_round(number).medians(total), answers.in_round(number).medians(total)
        ).value
        for number in numbers
    )
    values = [value for value in found if value is not None]
    return {"low": min(values), "high": max(values)} if values else None
