"""The width rule against brute force, and the running average it compares with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.drafters.base import flat_cost
from crossdraft.drafters.width import Floats, RunningRate, best_width, forward_costs

probabilities = st.lists(st.floats(0, 1), max_size=12).map(lambda p: np.sort(np.array(p))[::-1])
rates = st.floats(0.05, 8)
extras = st.lists(st.floats(0, 2), min_size=12, max_size=12)


def worth(n: int, acceptance: Floats, costs: Floats, rate: float) -> float:
    return 1.0 + float(acceptance[:n].sum()) - rate * float(costs[n])


@given(acceptance=probabilities, extra=extras, rate=rates)
def test_no_other_width_is_worth_more(acceptance: Floats, extra: list[float], rate: float) -> None:
    """Whatever shape the curve has, falling and jumping ones included."""
    costs = 1 + np.array([0.0, *extra])
    chosen = best_width(acceptance, costs, rate)
    best = max(worth(n, acceptance, costs, rate) for n in range(len(acceptance) + 1))
    assert worth(chosen, acceptance, costs, rate) == pytest.approx(best, abs=1e-12)


@given(acceptance=probabilities, extra=extras, rate=rates)
def test_on_a_convex_curve_it_stops_where_a_node_gains_too_little(
    acceptance: Floats, extra: list[float], rate: float
) -> None:
    costs = 1 + np.cumsum([0.0, *sorted(extra)])
    chosen = best_width(acceptance, costs, rate)
    gains = acceptance - rate * np.diff(costs)[: len(acceptance)]
    assert all(gain > -1e-9 for gain in gains[:chosen])
    assert all(gain < 1e-9 for gain in gains[chosen:])


@given(acceptance=probabilities, rate=rates)
def test_free_verification_fills_the_tree(acceptance: Floats, rate: float) -> None:
    costs = forward_costs(flat_cost, len(acceptance))
    assert best_width(acceptance, costs, rate) == len(acceptance)


def test_nothing_is_drafted_where_it_does_not_pay() -> None:
    assert best_width(np.array([0.4, 0.2]), np.array([1.0, 1.5, 2.0]), 1.0) == 0
    assert best_width(np.array([]), np.array([1.0]), 3.0) == 0


def test_a_plateau_is_stepped_over() -> None:
    """The second node alone does not pay, but the third and fourth ride on its cost."""
    costs = np.array([1.0, 1.1, 1.8, 1.8, 1.8])
    assert best_width(np.array([0.9, 0.5, 0.5, 0.5]), costs, 1.0) == 4
    assert best_width(np.array([0.9, 0.2, 0.2, 0.2]), costs, 1.0) == 1


def test_a_faster_decoder_drafts_less() -> None:
    acceptance, costs = np.array([0.9, 0.6, 0.3, 0.1]), np.array([1.0, 1.2, 1.4, 1.6, 1.8])
    widths = [best_width(acceptance, costs, rate) for rate in (0.4, 1.0, 2.0, 4.0, 5.0)]
    assert widths == [4, 3, 2, 1, 0]


def test_costs_are_those_of_drafts_and_one_token() -> None:
    np.testing.assert_array_equal(forward_costs(lambda n: 2.0 * n, 3), [2, 4, 6, 8])


def test_rate_starts_at_plain_decoding_and_follows_what_is_seen() -> None:
    rate = RunningRate()
    assert rate.value == 1.0
    rate.add(5, 2.0)
    kept = RunningRate.DECAY
    assert rate.value == pytest.approx((kept + 5) / (kept + 2))
    for _ in range(5000):
        rate.add(3, 1.5)
    assert rate.value == pytest.approx(2.0, rel=1e-3)
    for _ in range(5000):
        rate.add(1, 1.0)
    assert rate.value == pytest.approx(1.0, rel=1e-2), "old forwards fade"


def test_rate_is_a_ratio_of_sums() -> None:
    rate = RunningRate()
    for _ in range(3000):
        rate.add(1, 1.0)
        rate.add(9, 3.0)
    assert rate.value == pytest.approx(10 / 4, rel=1e-2), "not the mean of 1 and 3"
