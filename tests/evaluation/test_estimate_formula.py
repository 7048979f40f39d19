"""The formula's published values, and forwards per answer against a played-out loop."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.acceptance import expected_tokens
from crossdraft.evaluation.estimate_formula import accepted_odds, expected_forwards

ALPHA = st.floats(0, 1)
GAMMA = st.integers(0, 30)


@pytest.mark.parametrize(
    ("alpha", "gamma", "tokens"),
    [(0.2666, 5, 1.363), (0.2666, 10, 1.364), (0.5, 3, 1.875), (0.3, 5, 1.428), (1.0, 7, 8.0)],
)
def test_known_values(alpha: float, gamma: int, tokens: float) -> None:
    assert expected_tokens(alpha, gamma) == pytest.approx(tokens, abs=5e-4)


@given(ALPHA, GAMMA)
def test_odds_are_a_distribution_with_the_formulas_mean(alpha: float, gamma: int) -> None:
    odds = accepted_odds(alpha, gamma)
    assert odds.sum() == pytest.approx(1.0)
    mean = sum(i * p for i, p in enumerate(odds))
    assert 1 + mean == pytest.approx(expected_tokens(alpha, gamma))


@given(ALPHA, GAMMA, st.integers(1, 80))
def test_an_answer_takes_at_least_what_the_formula_says(
    alpha: float, gamma: int, tokens: int
) -> None:
    """The last forward's surplus is lost, so an answer that ends needs more forwards."""
    forwards = expected_forwards(alpha, gamma, tokens)[tokens]
    lost = gamma / expected_tokens(alpha, gamma)
    assert tokens / expected_tokens(alpha, gamma) <= forwards * (1 + 1e-9)
    assert forwards <= tokens / expected_tokens(alpha, gamma) + lost + 1e-9
    assert forwards <= tokens + 1e-9


@pytest.mark.parametrize(("alpha", "gamma"), [(0.0, 5), (0.3, 3), (0.8, 5), (1.0, 4)])
def test_forwards_agree_with_a_played_out_loop(alpha: float, gamma: int) -> None:
    rng = random.Random(0)
    runs, tokens = 4000, 23
    total = 0
    for _ in range(runs):
        said = 0
        while said < tokens:
            accepted = 0
            while accepted < gamma and rng.random() < alpha:
                accepted += 1
            said += accepted + 1
            total += 1
    assert expected_forwards(alpha, gamma, tokens)[tokens] == pytest.approx(total / runs, rel=0.02)
