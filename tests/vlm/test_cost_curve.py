"""Curves: interpolation, advice against trying every width, files that other commands read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.acceptance import best_first_shape, expected_tokens
from crossdraft.base.errors import InputError
from crossdraft.evaluation.cost import read_cost_curve
from crossdraft.vlm.cost_curve import (
    SHAPES,
    CostCurves,
    cost_curves_from,
    levelled,
    read_cost_curves,
)
from tests.vlm.costs import cost, curves

#: Jumps at 2 and at 9 tokens, flat in between.
STEPS = {1: 1.0, 2: 1.5, 8: 1.5, 9: 3.0, 20: 3.0}


@st.composite
def any_curves(draw: st.DrawFn) -> CostCurves:
    widths = [1, *sorted(draw(st.sets(st.integers(2, 40), min_size=1, max_size=6)))]
    count = len(widths) - 1
    ratios = st.lists(st.floats(0.5, 50), min_size=count, max_size=count)
    chain, tree = (dict(zip(widths, [1.0, *draw(ratios)], strict=True)) for _ in range(2))
    return curves(chain, tree)


def test_cost_lies_on_straight_lines_between_widths() -> None:
    made = curves({1: 1.0, 11: 2.0, 21: 5.0}, {1: 1.0, 11: 3.0, 21: 5.0})
    assert [made.cost(n, "chain") for n in (1, 6, 11, 16, 21)] == pytest.approx([1, 1.5, 2, 3.5, 5])
    assert made.cost(6) == made.cost(6, "tree") == pytest.approx(2.0)
    for beyond in (0, 22):
        with pytest.raises(ValueError, match="measured from 1 to 21"):
            made.cost(beyond)


def test_a_wider_pass_never_costs_less() -> None:
    made = curves({1: 1.0, 2: 0.9, 4: 1.6, 6: 1.4, 8: 2.0})
    assert levelled(made.chain) == [1.0, 1.0, 1.6, 1.6, 2.0]
    assert [made.cost(n, "chain") for n in (2, 5, 6)] == pytest.approx([1.0, 1.6, 1.6])


@given(any_curves(), st.floats(0, 1))
def test_advice_is_the_best_of_all_widths(made: CostCurves, alpha: float) -> None:
    chain, tree = made.advise(alpha), made.advise(alpha, "tree")
    gains = [expected_tokens(alpha, g) / made.cost(1 + g, "chain") for g in range(made.widest)]
    assert chain.speedup == pytest.approx(max(gains))
    assert gains[chain.gamma] == pytest.approx(max(gains))
    odds = best_first_shape(alpha, made.widest - 1)[1]
    trees = [(1 + odds[:n].sum()) / made.cost(1 + n) for n in range(made.widest)]
    assert tree.speedup == pytest.approx(max(trees))
    for advice in (chain, tree):
        assert advice.alpha == alpha
        assert advice.speedup >= 1.0, "not to draft is always possible"
        assert advice.speedup == pytest.approx(advice.tokens_per_pass / advice.cost)


@pytest.mark.parametrize(
    ("alpha", "gamma"), [(0.0, 0), (0.3, 0), (0.6, 7), (0.9, 7), (0.97, 19), (1.0, 19)]
)
def test_advice_on_a_curve_with_steps(alpha: float, gamma: int) -> None:
    """Up to the end of a step, never just over it; 0 where nothing pays."""
    assert curves(STEPS).advise(alpha).gamma == gamma


def test_where_every_token_costs_a_step_nothing_is_drafted() -> None:
    made = curves({1: 1.0, 30: 30.0})
    for shape in SHAPES:
        advice = made.advise(0.9, shape)
        assert (advice.gamma, advice.speedup, advice.cost) == (0, 1.0, 1.0)


def test_no_probability_is_refused() -> None:
    for shape in SHAPES:
        with pytest.raises(InputError, match=r"alpha is 1\.2"):
            curves(STEPS).advise(1.2, shape)


@given(any_curves())
def test_json_round_trip(made: CostCurves) -> None:
    value = json.loads(json.dumps(made.to_json(), allow_nan=False))
    assert cost_curves_from(value, Path("here")) == made
    assert value["fingerprint"] == made.setup.fingerprint


def test_the_file_is_a_cost_curve_of_trees(tmp_path: Path) -> None:
    made = curves({1: 1.0, 6: 1.2, 61: 2.0}, {1: 1.0, 6: 1.6, 61: 1.5})
    path = tmp_path / "cost.json"
    path.write_text(json.dumps(made.to_json()))
    read = read_cost_curve(path, widest=61)
    assert [read(n) for n in (1, 6, 61)] == pytest.approx([1.0, 1.6, 1.6])
    assert read_cost_curves(path) == made


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chain": None}, "chain is no list"),
        ({"chain": []}, "chain does not begin with one token"),
        ({"tree": [{"tokens": 2, "ms": 1, "ratio": 1, "low": 1, "high": 1}]}, "does not begin"),
        ({"chain": [{"tokens": 1, "ms": 1, "ratio": 1, "low": 1, "high": 1}]}, "different widths"),
        ({"tail": [3]}, r"tail\[0\]: is a number"),
        ({"tail": [{"tokens": 3, "ms": 1, "ratio": 2, "low": 3, "high": 4}]}, "outside of 3"),
        ({"tail": [{"tokens": 3, "ms": True, "ratio": 1, "low": 1, "high": 1}]}, "ms is True"),
        ({"tail": [{"tokens": -3, "ms": 1, "ratio": 1, "low": 1, "high": 1}]}, "tokens is -3"),
        ({"step_ms": 0}, "step_ms is 0"),
        ({"step_ms": float("nan")}, "step_ms is nan"),
        ({"step_ms": 10**40}, "step_ms is 1000"),
        ({"repeats": 1.5}, r"repeats is 1\.5"),
        ({"date": None}, "date is None"),
        ({"setup": {}}, "architecture is None"),
        ({"setup": None}, "setup: is missing"),
    ],
    ids=str,
)
def test_what_no_measurement_gives_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = tmp_path / "cost.json"
    path.write_text(json.dumps(curves(STEPS).to_json() | change))
    with pytest.raises(InputError, match=message) as caught:
        read_cost_curves(path)
    assert str(path) in str(caught.value)


def test_widths_that_fall_and_ratios_below_zero_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    for tree, message in (
        ((cost(1, 1.0), cost(5, 2.0), cost(4, 2.0)), "do not rise"),
        ((cost(1, 1.0), cost(5, -2.0)), "a ratio of 0 or less"),
    ):
        path.write_text(json.dumps(curves(STEPS, tree=tree).to_json()))
        with pytest.raises(InputError, match=message):
            read_cost_curves(path)
    path.write_text(json.dumps(curves(STEPS).to_json())[:-30])
    with pytest.raises(InputError, match="not valid JSON"):
        read_cost_curves(path)


def test_tails_may_cost_less_than_nothing(tmp_path: Path) -> None:
    """A difference of two times can come out below zero where noise is larger than it."""
    made = curves(STEPS, tail=(cost(3, -0.1),))
    path = tmp_path / "cost.json"
    path.write_text(json.dumps(made.to_json()))
    assert read_cost_curves(path) == made
