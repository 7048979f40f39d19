"""Timelines: what must hold whatever the times, the drafter and the price of verifying."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.tree import DraftTree
from crossdraft.decoding.arrival import PUBLISHED_1S, StageTimes
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.drafters.none import NoDrafter
from crossdraft.evaluation.estimate_timeline import (
    Setting,
    alone,
    constant_ratio,
    least_total_ms,
    replayed,
    with_odds,
)
from tests.make import pair_of

TIMES = st.builds(
    lambda first, each, start, prefill, step: StageTimes(
        first, each, start, start + prefill, step, "made up"
    ),
    st.floats(0, 200), st.floats(0.5, 40), st.floats(0, 200), st.floats(1, 400), st.floats(1, 40),
)  # fmt: skip
RATIO = st.floats(1, 6)
ANSWER = st.lists(st.integers(3, 6), min_size=1, max_size=25)


def setting(
    ratio: float, *, in_prefill: bool = True, adapter_ms: float = 0.0, k: int = 3
) -> Setting:
    return Setting(constant_ratio(ratio), in_prefill, adapter_ms, k)


class Guesses(Drafter):
    """Proposes a chain of seeded guesses; some are right by chance."""

    name = "guesses"

    def begin(self, context: Context) -> None:
        self.cost = context.cost

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rng = random.Random(len(prefix))
        length = rng.randrange(budget.depth + 1)
        return DraftTree.chain([rng.randrange(3, 7) for _ in range(length)])


@given(TIMES, ANSWER, RATIO, st.booleans())
def test_no_drafter_is_the_target_alone(
    times: StageTimes, answer: list[int], ratio: float, in_prefill: bool
) -> None:
    plan = setting(ratio, in_prefill=in_prefill, adapter_ms=7.0)
    found = replayed(times, pair_of(answer), NoDrafter(), Budget.chain(5), plan)
    plain = alone(times, len(answer), 3)
    assert found.total_ms == pytest.approx(plain.total_ms)
    assert found.first_ms == plain.first_ms
    assert (found.forwards, found.drafted) == (len(answer), 0)


@given(TIMES, ANSWER, RATIO, st.booleans(), st.integers(1, 6), st.floats(0, 20))
def test_limits_bound_every_drafter(
    times: StageTimes,
    answer: list[int],
    ratio: float,
    in_prefill: bool,
    depth: int,
    adapter_ms: float,
) -> None:
    plan = setting(ratio, in_prefill=in_prefill, adapter_ms=adapter_ms)
    found = replayed(times, pair_of(answer), Guesses(), Budget.chain(depth), plan)
    least = least_total_ms(times, len(answer), depth, plan)
    assert times.target_prefill_end_ms <= least * (1 + 1e-9)
    assert least <= found.total_ms * (1 + 1e-9)
    assert least <= alone(times, len(answer), 1).total_ms * (1 + 1e-9)
    assert found.first_ms <= found.total_ms
    if len(answer) >= 3:
        assert found.first_ms <= found.kth_ms <= found.total_ms
    else:
        assert math.isnan(found.kth_ms)


@given(TIMES, ANSWER, RATIO, st.floats(1, 2), st.booleans())
def test_dearer_verification_is_never_faster(
    times: StageTimes, answer: list[int], ratio: float, more: float, in_prefill: bool
) -> None:
    """Holds for drafters that do not wait for the event model: what they propose is the same."""
    cheap, dear = (
        replayed(
            times, pair_of(answer), Guesses(), Budget.chain(4), setting(r, in_prefill=in_prefill)
        )
        for r in (ratio, ratio * more)
    )
    assert cheap.total_ms <= dear.total_ms * (1 + 1e-9)
    assert cheap.first_ms <= dear.first_ms * (1 + 1e-9)


@given(TIMES, ANSWER, RATIO)
def test_a_prefill_of_its_own_emits_first(
    times: StageTimes, answer: list[int], ratio: float
) -> None:
    """Drafts on the prefill's tail delay the first token, and nothing else does."""
    tail, own = (
        replayed(times, pair_of(answer), Guesses(), Budget.chain(4), setting(ratio, in_prefill=way))
        for way in (True, False)
    )
    assert own.first_ms == times.target_prefill_end_ms <= tail.first_ms


@given(TIMES, st.integers(1, 40), RATIO, st.floats(0, 1), st.integers(1, 8), st.booleans())
def test_limits_bound_the_formula(
    times: StageTimes, tokens: int, ratio: float, alpha: float, gamma: int, in_prefill: bool
) -> None:
    plan = setting(ratio, in_prefill=in_prefill, adapter_ms=1.5)
    found = with_odds(times, tokens, alpha, gamma, plan)
    assert least_total_ms(times, tokens, gamma, plan) <= found.total_ms * (1 + 1e-9)
    surer = with_odds(times, tokens, min(1.0, alpha + 0.1), gamma, plan)
    assert surer.total_ms <= found.total_ms * (1 + 1e-9)


@settings(max_examples=20)
@given(st.floats(0, 1), st.integers(1, 6), RATIO, st.booleans())
def test_formula_agrees_with_played_out_timelines(
    alpha: float, gamma: int, ratio: float, in_prefill: bool
) -> None:
    """Many answers, one after the other, whose drafts are accepted by the same odds."""
    plan, tokens, rng = setting(ratio, in_prefill=in_prefill, adapter_ms=2.0), 20, random.Random(1)
    times = replace(PUBLISHED_1S, draft_first_ms=130.0)  # 1 token there when the tail starts
    played: list[float] = []
    for _ in range(1500):
        tail = min(gamma, 1) if in_prefill else 0
        said, now_ms = 0, plan.prefill_end_ms(times, tail)
        drafts = tail
        while True:
            accepted = 0
            while accepted < drafts and rng.random() < alpha:
                accepted += 1
            said += accepted + 1
            if said >= tokens:
                break
            drafts = gamma
            now_ms += ratio * times.target_token_ms + 2.0
        played.append(now_ms)
    found = with_odds(times, tokens, alpha, gamma, plan)
    assert found.total_ms == pytest.approx(float(np.mean(played)), rel=0.02)


def test_moments_by_hand() -> None:
    """Answer of five; the event model says the same, a token every 10 ms from 20 ms on."""
    pair = pair_of([3, 4, 5, 6, 2], [3, 4, 5, 6, 2])
    times = StageTimes(20.0, 10.0, 30.0, 100.0, 10.0, "made up")
    found = replayed(times, pair, DrafterText(), Budget.chain(2), setting(1.5, k=4))
    # Two drafts are there at 30 ms; the tail costs half a step and emits three tokens. The last
    # two come in one more forward over both.
    assert (found.first_ms, found.kth_ms, found.total_ms) == (105.0, 120.0, 120.0)
    assert (found.forwards, found.drafted) == (2, 4)
    own = replayed(times, pair, DrafterText(), Budget.chain(2), setting(1.5, in_prefill=False, k=4))
    # The prefill says one token; drafts 1 and 2 and the token behind them at 115; then the last.
    assert (own.first_ms, own.kth_ms, own.total_ms) == (100.0, 115.0, 130.0)


def test_adapter_latency_delays_the_drafts_of_the_tail_and_each_forward() -> None:
    pair = pair_of([3, 4, 5, 6, 2], [3, 4, 5, 6, 2])
    times = StageTimes(20.0, 10.0, 30.0, 100.0, 10.0, "made up")
    late = replayed(times, pair, DrafterText(), Budget.chain(2), setting(1.0, adapter_ms=5.0, k=3))
    # One draft is there at 25 ms, so the tail says two tokens; the last three take one forward.
    assert (late.first_ms, late.kth_ms, late.total_ms, late.forwards) == (100.0, 115.0, 115.0, 2)


def test_under_odds_the_tail_has_what_the_event_model_has_written() -> None:
    """One word when the tail starts: 2 + 7 + 7 + 4 tokens, although six drafts were wanted."""
    times = StageTimes(20.0, 10.0, 25.0, 100.0, 10.0, "made up")
    found = with_odds(times, 20, 1.0, 6, setting(1.5))
    assert (found.forwards, found.drafted) == pytest.approx((4, 1 + 3 * 6))
    assert found.total_ms == pytest.approx(105.0 + 3 * 15.0)
    later = with_odds(times, 20, 1.0, 6, setting(1.5, adapter_ms=10.0))
    assert (later.first_ms, later.drafted) == pytest.approx((100.0, 3 * 6)), "too late for it"


def test_drafts_wait_for_the_event_model_by_the_time_that_passed() -> None:
    """A dear tail leaves the event model the time for one more word."""
    pair = pair_of([3, 4, 5, 6, 2], [3, 9, 5, 6, 2])
    times = StageTimes(20.0, 45.0, 30.0, 100.0, 12.0, "made up")
    cheap, dear = (
        replayed(times, pair, DrafterText(), Budget.chain(1), setting(ratio))
        for ratio in (1.0, 2.0)
    )
    # At 100 ms two of its words are there, at 112 ms the third, which is right.
    assert (cheap.forwards, dear.forwards) == (4, 3)


def test_the_drafter_is_told_what_verifying_costs() -> None:
    """Asking for the price takes no time: a drafter may ask as often as it likes."""
    drafter = Guesses()
    replayed(PUBLISHED_1S, pair_of([3, 4]), drafter, Budget.chain(2), setting(2.5))
    assert (drafter.cost(1), drafter.cost(2), drafter.cost(9)) == (1.0, 2.5, 2.5)


def test_where_verifying_cannot_pay_the_limit_is_the_target_alone() -> None:
    plan = setting(4.6)
    limit = least_total_ms(PUBLISHED_1S, 50, 3, plan)
    assert limit == pytest.approx(alone(PUBLISHED_1S, 50, 1).total_ms)
    assert least_total_ms(PUBLISHED_1S, 50, 16, plan) < limit
