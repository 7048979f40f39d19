"""The seed study's cost models give its published figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.evaluation.seed_cost import SeedCost, seed_table

COST = SeedCost()


def test_model_b_makes_the_six_published_speedups() -> None:
    table = seed_table("seed-b", COST)
    assert [f"{row['speedup']:.2f}" for row in table["rows"]] == [
        "1.54", "1.56", "1.56", "1.55", "1.45", "1.31"
    ]  # fmt: skip
    assert [f"{row['iterations']:.1f}" for row in table["rows"]] == [
        "26.6", "26.1", "26.1", "26.2", "28.9", "33.2"
    ]  # fmt: skip
    assert table["baseline_ms"] == 1560
    assert "not a measurement" in table["label"]


@pytest.mark.parametrize(
    ("free", "consecutive", "published"),
    [(3.82, 0.73, 1.54), (4.72, 0.73, 1.56), (4.85, 0.73, 1.56), (4.59, 0.73, 1.55),
     (0.0, 0.73, 1.45), (0.0, 0.51, 1.31)],
)  # fmt: skip
def test_rounded_inputs_give_it_to_a_hundredth(
    free: float, consecutive: float, published: float
) -> None:
    """Published with two digits of 0.733 and 0.508: 3.82 and 0.73 alone give 1.533."""
    assert COST.speedup("seed-b", free, consecutive) == pytest.approx(published, abs=0.0101)


def test_model_b_is_its_formula() -> None:
    assert COST.total_b_ms(4.0, 1.0) == pytest.approx(310 + 46 / 2 * 26.5)
    assert (COST.first_drafts, COST.window_ms, COST.free_drafts) == (7, 180, 7.2)


def test_model_a_is_its_formula_and_never_pays() -> None:
    assert COST.total_a_ms(4.0) == pytest.approx(310 + 10 * 151.5)
    assert COST.speedup("seed-a", 0.0, 0.0) == 1
    rows = seed_table("seed-a", COST)["rows"]
    assert [row["decode_consecutive"] for row in rows] == [0, 1, 2, 3, 4, 5]
    assert max(row["speedup"] for row in rows[1:]) < 1, "not even with every draft accepted"


@given(st.floats(0, 50), st.floats(0, 50), st.floats(0, 5))
def test_more_is_never_slower_in_model_b(free: float, more: float, consecutive: float) -> None:
    low, high = sorted((free, more))
    assert COST.total_b_ms(high, consecutive) <= COST.total_b_ms(low, consecutive) + 1e-9
    assert COST.total_b_ms(low, 5.0) <= COST.total_b_ms(low, consecutive) + 1e-9


def test_values_given_are_combined() -> None:
    rows = seed_table("seed-b", COST, (1.0, 2.0), (0.5, 0.6))["rows"]
    assert [(r["free_tokens"], r["decode_consecutive"]) for r in rows] == [
        (1.0, 0.5), (1.0, 0.6), (2.0, 0.5), (2.0, 0.6)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "call",
    [
        lambda: seed_table("seed-c", COST),
        lambda: seed_table("seed-a", COST, (1.0,)),
        lambda: seed_table("seed-b", COST, (51.0,)),
        lambda: seed_table("seed-b", COST, (), (5.5,)),
        lambda: seed_table("seed-b", COST, (float("nan"),)),
        lambda: SeedCost(vl_per_token_ms=0.0),
        lambda: SeedCost(vl_prefill_ms=0.0),
        lambda: SeedCost(vl_prefill_ms=float("inf")),
        lambda: SeedCost(gamma_decode=0),
        lambda: SeedCost(num_output_tokens=0),
        lambda: SeedCost(gamma_prefill=-1),
    ],
)  # fmt: skip
def test_impossible_values_are_refused(call: object) -> None:
    with pytest.raises(InputError):
        call()  # type: ignore[operator]
