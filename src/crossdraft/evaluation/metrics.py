"""From replayed answers to numbers with intervals.

Every metric is a ratio of sums over answers, never a mean of ratios. docs/metrics.md defines each
one in a sentence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdraft.base.result import Estimate
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import (
    Replay,
    first_window,
    rank_of_next,
    rank_without_prefix,
    replay,
)
from crossdraft.drafters.base import Budget, CostCurve, Drafter
from crossdraft.evaluation.bootstrap import BlockBootstrap, Floats
from crossdraft.pairs.record import Pair

#: Drafts that fit into the target's prefill in the seed study, and so its first verification.
FIRST_WINDOW = 22
CANDIDATES = 5


@dataclass(frozen=True)
class AnswerRecord:
    """What one drafter did on one answer."""

    replay: Replay
    ranks: tuple[int | None, ...]
    position_ranks: tuple[int | None, ...]
    first_window: int


def measure(
    drafter: Drafter,
    pair: Pair,
    budget: Budget,
    arrival: Arrival,
    curve: CostCurve,
) -> AnswerRecord:
    """Run every offline measure of one drafter on one answer."""
    return AnswerRecord(
        replay(drafter, pair, budget, arrival, curve),
        tuple(rank_of_next(drafter, pair, arrival, CANDIDATES)),
        tuple(rank_without_prefix(drafter, pair, CANDIDATES)),
        first_window(drafter, pair, arrival, FIRST_WINDOW),
    )


#: One metric of every answer: [answers] numerators and denominators of a ratio of sums.
Ratio = tuple[Floats, Floats]


def ratios(records: Sequence[AnswerRecord], *, with_cost: bool) -> dict[str, Ratio]:
    """Every metric as a ratio of sums over answers."""
    column = _columns(records)
    answers, tokens = np.ones(len(records)), column["tokens"]
    made = {
        "tau": (tokens, column["forwards"]),
        "alpha": (column["first"], tokens),
        "top5": (column["top5"], tokens),
        "first_window": (column["window"], answers),
        "window_tau": (column["first_tokens"], answers),
        "following": (tokens - column["first_tokens"], column["forwards"] - answers),
        "nothing_accepted": (column["nothing"], answers),
        "forwards_per_answer": (column["forwards"], answers),
        "position_match": (column["position_first"], tokens),
        "position_match_top5": (column["position_top5"], tokens),
        "seed_match": (column["seed_first"], column["after_first"]),
        "seed_match_top5": (column["seed_top5"], column["after_first"]),
        "drafted_per_forward": (column["drafted"], column["forwards"]),
    }
    if with_cost:
        made["tau_per_cost"] = (tokens, column["cost"])
    return made


def summarise(
    records: Sequence[AnswerRecord], bootstrap: BlockBootstrap, *, with_cost: bool
) -> dict[str, Any]:
    """All metrics of one drafter as plain JSON values."""
    made = ratios(records, with_cost=with_cost)
    estimates = bootstrap.ratio(*_stacked(list(made.values())))
    summary: dict[str, Any] = {
        name: estimate.to_json() for name, estimate in zip(made, estimates, strict=True)
    }
    summary["by_position"] = _json(bootstrap.ratio(*_by_position(records)))
    summary["by_depth"] = _json(bootstrap.ratio(*_by_depth(records)))
    return summary


def differences(
    records: Sequence[AnswerRecord],
    others: Sequence[AnswerRecord],
    bootstrap: BlockBootstrap,
    *,
    with_cost: bool,
) -> dict[str, dict[str, float | None]]:
    """What one drafter has over another on the same answers, metric by metric."""
    one = ratios(records, with_cost=with_cost)
    other = ratios(others, with_cost=with_cost)
    names = [name for name in _COMPARED if name in one]
    estimates = bootstrap.difference(
        _stacked([one[name] for name in names]), _stacked([other[name] for name in names])
    )
    found = {name: estimate.to_json() for name, estimate in zip(names, estimates, strict=True)}
    (times,) = bootstrap.quotient(_stacked([one["tau"]]), _stacked([other["tau"]]))
    return {**found, TAU_TIMES: times.to_json()}


#: What a difference is worth stating of.
_COMPARED = (
    "tau", "tau_per_cost", "window_tau", "following", "first_window", "alpha", "position_match",
    "seed_match",
)  # fmt: skip
#: Beside the differences: one tau over the other.
TAU_TIMES = "tau_times"


def _stacked(made: Sequence[Ratio]) -> Ratio:
    """[answers, metrics] numerators and denominators."""
    return np.stack([top for top, _ in made], axis=1), np.stack([low for _, low in made], axis=1)


def _columns(records: Sequence[AnswerRecord]) -> dict[str, Floats]:
    """One row of sums per answer, by name."""
    rows = [
        {
            "tokens": r.replay.tokens,
            "forwards": r.replay.forwards,
            "first_tokens": min(r.replay.tokens, sum(r.replay.accepted[:1]) + 1),
            "cost": r.replay.cost,
            "drafted": sum(r.replay.drafted),
            "first": r.ranks.count(0),
            "top5": len(r.ranks) - r.ranks.count(None),
            "window": r.first_window,
            "nothing": r.first_window == 0,
            "position_first": r.position_ranks.count(0),
            "position_top5": len(r.position_ranks) - r.position_ranks.count(None),
            "after_first": max(0, len(r.position_ranks) - 1),
            "seed_first": r.position_ranks[1:].count(0),
            "seed_top5": len(r.position_ranks[1:]) - r.position_ranks[1:].count(None),
        }
        for r in records
    ]
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def _by_position(records: Sequence[AnswerRecord]) -> tuple[Floats, Floats]:
    """[answers, positions]: right at a position given a correct prefix; answer reaches it."""
    length = max(len(r.ranks) for r in records)
    right, reached = np.zeros((2, len(records), length))
    for i, record in enumerate(records):
        for position, rank in enumerate(record.ranks):
            right[i, position] = rank == 0
            reached[i, position] = 1
    return right, reached


def _by_depth(records: Sequence[AnswerRecord]) -> tuple[Floats, Floats]:
    """[answers, depths]: forwards that accept at least d drafts; forwards."""
    depth = max((n for r in records for n in r.replay.accepted), default=0)
    accepted, forwards = np.zeros((2, len(records), depth))
    for i, record in enumerate(records):
        forwards[i, :] = record.replay.forwards
        for n in record.replay.accepted:
            accepted[i, :n] += 1
    return accepted, forwards


def _json(estimates: Sequence[Estimate]) -> list[dict[str, float | None]]:
    return [estimate.to_json() for estimate in estimates]
