"""Metrics equal what their definitions say, computed the slow way."""

from __future__ import annotations

import pytest
import torch

from crossdraft.decoding.arrival import Arrival
from crossdraft.drafters.base import Budget, flat_cost
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.drafters.position import PositionDrafter
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.evaluation.bootstrap import BlockBootstrap
from crossdraft.evaluation.metrics import AnswerRecord, measure, summarise
from tests.make import pair_of, recorded_pairs
from tests.tiny import built

PAIRS = recorded_pairs(40)


def records(name: str, gamma: int = 3) -> list[AnswerRecord]:
    made = []
    for pair in PAIRS[20:]:
        drafter = DrafterText() if name == "drafter-text" else PositionDrafter()
        drafter.fit(PAIRS[:20])
        made.append(measure(drafter, pair, Budget.chain(gamma), Arrival(), flat_cost))
    return made


def value(summary: dict[str, dict[str, float]], key: str) -> float:
    return summary[key]["value"]


def test_position_match_is_the_seed_measure() -> None:
    """Σ[draft_i == target_i] over same positions, as the seed study coded its baseline; the
    denominator is every target token."""
    summary = summarise(
        records("drafter-text"), BlockBootstrap([range(20)], 100, 0), with_cost=False
    )
    pairs = [(p.draft_tokens, p.target_tokens) for p in PAIRS[20:]]
    matched = sum(d == t for draft, target in pairs for d, t in zip(draft, target, strict=False))
    assert value(summary, "position_match") == pytest.approx(
        matched / sum(len(target) for _, target in pairs)
    )


def test_position_table_has_the_same_match_with_and_without_a_prefix() -> None:
    summary = summarise(records("position"), BlockBootstrap([range(20)], 100, 0), with_cost=False)
    assert value(summary, "position_match") == value(summary, "alpha")
    assert value(summary, "position_match_top5") == value(summary, "top5")


def test_position_match_of_token_adapter_is_the_shifted_measure() -> None:
    """The seed study counted output i against target token i+1, over the labels alone: the first
    token of an answer is in no denominator."""
    drafter = built("token-adapter", PAIRS[:20])
    made = [measure(drafter, pair, Budget.chain(3), Arrival(), flat_cost) for pair in PAIRS[20:]]
    summary = summarise(made, BlockBootstrap([range(20)], 100, 0), with_cost=False)
    batch = TokenBatch.of(PAIRS[20:], drafter.max_length)
    with torch.no_grad():
        said = drafter.loss(batch)
    assert said.top1 is not None and said.top5 is not None
    after_first = sum(len(pair.target_tokens) - 1 for pair in PAIRS[20:])
    assert said.tokens == after_first
    assert value(summary, "seed_match") == pytest.approx(said.top1 / after_first)
    assert value(summary, "seed_match_top5") == pytest.approx(said.top5 / after_first)
    everything = sum(len(pair.target_tokens) for pair in PAIRS[20:])
    assert value(summary, "position_match") == pytest.approx(said.top1 / everything)


def test_metrics_equal_brute_force() -> None:
    made = records("position")
    summary = summarise(made, BlockBootstrap([range(20)], 100, 0), with_cost=True)
    tokens = sum(len(p.target_tokens) for p in PAIRS[20:])
    forwards = sum(r.replay.forwards for r in made)
    assert value(summary, "tau") == pytest.approx(tokens / forwards)
    assert value(summary, "tau_per_cost") == value(summary, "tau")
    assert value(summary, "forwards_per_answer") == pytest.approx(forwards / 20)
    assert value(summary, "first_window") == pytest.approx(sum(r.first_window for r in made) / 20)
    assert value(summary, "nothing_accepted") == sum(r.first_window == 0 for r in made) / 20
    first = [p.target_tokens[0] for p in PAIRS[20:]]
    assert summary["by_position"][0]["value"] == first.count(5) / 20
    assert summary["by_depth"][0]["value"] == pytest.approx(
        sum(n >= 1 for r in made for n in r.replay.accepted) / forwards
    )
    lengths = [len(p.target_tokens) for p in PAIRS[20:]]
    assert len(summary["by_position"]) == max(lengths)


def test_empty_answers_have_no_ratio() -> None:
    empty = measure(DrafterText(), pair_of((), (1,)), Budget.chain(3), Arrival(), flat_cost)
    summary = summarise([empty], BlockBootstrap([[0]], 100, 0), with_cost=False)
    assert summary["tau"] == {"value": None, "low": None, "high": None}
    assert summary["by_position"] == []
