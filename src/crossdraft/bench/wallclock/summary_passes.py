"""What the target's forwards made of drafts, and what they cost in plain steps.

A model's cost leaves out the machine's noise: it counts tokens through the target and time spent
on drafts, nothing else.
"""

from __future__ import annotations

from collections import Counter
from statistics import fmean
from typing import Any

from crossdraft.bench.wallclock.record import Forward, Run
from crossdraft.bench.wallclock.summary_questions import Answers, Questions, Reading, drafting
from crossdraft.drafters.base import CostCurve

#: Above this share of plain decoding a question counts as slower or dearer.
CLEARLY = 1.05


def passes(answers: Answers, questions: Questions) -> dict[str, Any]:
    """Acceptance; `tau` and all beside it are None where forwards are not known.

    Returns:
        `tau` tokens per forward; `first_window` drafts accepted by the first forward that had any,
        and `with_window` the share of answers that had one; `drafted_per_forward`; `depth` with
        the `passes` that had drafts and the `share` of them that accepted at least 1, 2, ...;
        `tokens_by_accepted` the share of the answers' tokens that came of a forward that accepted
        0, 1, ... drafts.
    """
    known = [run for run in answers.runs if run.forwards]
    if not known:
        names = ("tau", "first_window", "with_window", "drafted_per_forward", "depth")
        return {**dict.fromkeys(names), "tokens_by_accepted": None}
    window = answers.medians(_first_window)
    forwards = answers.sums(lambda run: float(len(run.forwards)) or None)
    drafted = answers.sums(lambda run: float(sum(one.drafted for one in run.forwards)))
    return {
        "tau": questions.ratio(answers.sums(_known_tokens), forwards).to_json(),
        "first_window": questions.ratio(window, [1.0] * len(window)).to_json(),
        "with_window": fmean(_first_window(run) is not None for run in known),
        "drafted_per_forward": questions.ratio(drafted, forwards).value,
        "depth": _depth([one for run in known for one in run.forwards if one.drafted]),
        "tokens_by_accepted": _by_accepted([one for run in known for one in run.forwards]),
    }


def costs(answers: Answers, cost: CostCurve, step_ms: float) -> dict[str, Any]:
    """Model cost against plain decoding, whose cost is the number of tokens.

    Args:
        cost: T(n)/T(1) of the target.
        step_ms: T(1).

    Returns:
        `cost_ratio` mean over questions, `dearer` share of them clearly above 1; None where
        forwards are not known.
    """
    ratios = [value for value in answers.medians(_cost_ratio(cost, step_ms)) if value is not None]
    if not ratios:
        return {"cost_ratio": None, "dearer": None}
    return {"cost_ratio": fmean(ratios), "dearer": fmean(ratio > CLEARLY for ratio in ratios)}


def _cost_ratio(cost: CostCurve, step_ms: float) -> Reading:
    """Cost of an answer in plain steps, per token of it. A prefill counts as one step and its
    tail: what plain decoding pays for it as well, and what it does not."""

    def reading(run: Run) -> float | None:
        if not run.forwards or not run.tokens:
            return None
        steps = sum(cost(1 + one.drafted) for one in run.forwards) + drafting(run) / step_ms
        return steps / len(run.tokens)

    return reading


def _first_window(run: Run) -> float | None:
    """Drafts accepted by the first forward that had any."""
    return next((float(one.accepted) for one in run.forwards if one.drafted), None)


def _known_tokens(run: Run) -> float | None:
    return float(len(run.tokens)) if run.forwards else None


def _depth(drafting_passes: list[Forward]) -> dict[str, Any]:
    """How deep the passes that had drafts went."""
    deepest = max((one.accepted for one in drafting_passes), default=0)
    share = [
        fmean(one.accepted >= depth for one in drafting_passes) for depth in range(1, deepest + 1)
    ]
    return {"passes": len(drafting_passes), "share": share}


def _by_accepted(forwards: list[Forward]) -> list[float]:
    """Share of tokens by how many drafts their forward accepted."""
    tokens: Counter[int] = Counter()
    for one in forwards:
        tokens[one.accepted] += one.emitted
    everything = max(1, tokens.total())
    return [tokens[accepted] / everything for accepted in range(max(tokens) + 1)]
