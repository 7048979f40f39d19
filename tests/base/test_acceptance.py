"""The formula against its own sum, and the best tree against every other one."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.acceptance import best_first_shape, expected_tokens
from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT

ALPHA = st.floats(0, 1)


@given(ALPHA, st.integers(0, 30))
def test_formula_is_the_sum_of_powers(alpha: float, gamma: int) -> None:
    assert expected_tokens(alpha, gamma) == pytest.approx(sum(alpha**i for i in range(gamma + 1)))


def test_next_to_certain_keeps_its_digits() -> None:
    alpha = 1 - 1e-9
    exact = math.fsum(alpha**i for i in range(6))
    assert expected_tokens(alpha, 5) == pytest.approx(exact, rel=1e-13)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan"), float("inf")])
def test_no_probability_is_refused(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha is"):
        expected_tokens(alpha, 5)
    with pytest.raises(InputError, match="alpha is"):
        best_first_shape(alpha, 5)


def test_negative_gamma_is_refused() -> None:
    with pytest.raises(InputError, match="gamma is -1"):
        expected_tokens(0.5, -1)


def rank_odds(alpha: float, rank: int) -> float:
    """Odds of the r-th guess: all before it wrong, then right with alpha / r."""
    return alpha / rank * math.prod(1 - alpha / before for before in range(1, rank))


RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize("drafter", ["position", "suffix", "token-adapter", "translator"])
def test_guesses_of_measured_drafters(drafter: str) -> None:
    """`top5` from `alpha` alone, on the recorded answers."""
    measured = json.loads((RESULTS / "token_chain.json").read_text())["drafters"][drafter]
    guessed = sum(rank_odds(measured["alpha"]["value"], rank) for rank in range(1, 6))
    assert guessed == pytest.approx(measured["top5"]["value"], abs=0.04)


@pytest.mark.parametrize(
    ("drafter", "tau"), [("position", 2.18), ("suffix", 8.65), ("translator", 5.67)]
)
def test_trees_of_measured_drafters(drafter: str, tau: float) -> None:
    """Tokens per pass of an online tree of 60 nodes from `alpha` alone, on the recorded answers."""
    measured = json.loads((RESULTS / "token_tree_flat.json").read_text())["drafters"]
    measured |= json.loads((RESULTS / "token_tree.json").read_text())["drafters"]
    alpha = measured[drafter]["alpha"]["value"]
    expected = 1 + best_first_shape(alpha, 60)[1].sum()
    assert expected == pytest.approx(tau, abs=0.005)
    assert expected == pytest.approx(measured[drafter]["tau"]["value"], rel=0.13)


@given(ALPHA, st.integers(0, 70))
def test_tree_is_a_tree_and_its_odds_are_those_of_its_paths(alpha: float, nodes: int) -> None:
    parents, odds = best_first_shape(alpha, nodes)
    assert len(parents) == len(odds) == nodes
    assert np.all(np.diff(odds) <= 0)
    ranks: dict[int, int] = {}
    for node, parent in enumerate(parents):
        assert ROOT <= parent < node
        rank = ranks[parent] = ranks.get(parent, 0) + 1
        above = 1.0 if parent == ROOT else odds[parent]
        assert odds[node] == pytest.approx(above * rank_odds(alpha, rank))


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("nodes", [1, 2, 3, 4, 5])
def test_no_other_tree_expects_more(alpha: float, nodes: int) -> None:
    best = best_first_shape(alpha, nodes)[1].sum()
    for parents in itertools.product(*(range(-1, node) for node in range(nodes))):
        odds: list[float] = []
        for node, parent in enumerate(parents):
            above = 1.0 if parent == ROOT else odds[parent]
            odds.append(above * rank_odds(alpha, parents[:node].count(parent) + 1))
        assert sum(odds) <= best + 1e-12


@given(st.floats(0.01, 1), st.integers(0, 40))
def test_a_tree_expects_at_least_what_a_chain_does(alpha: float, nodes: int) -> None:
    tokens = 1 + best_first_shape(alpha, nodes)[1].sum()
    assert tokens >= expected_tokens(alpha, nodes) - 1e-9
    if alpha == 1:
        assert tokens == pytest.approx(nodes + 1)
