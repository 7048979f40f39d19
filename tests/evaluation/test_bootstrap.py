"""Block-bootstrap intervals: cover, widen with dependence, repeat with the seed."""

from __future__ import annotations

import numpy as np
import pytest

from crossdraft.base.result import Estimate
from crossdraft.evaluation.bootstrap import BlockBootstrap, Floats, few_blocks


def one(groups: list[list[int]], top: Floats, seed: int = 0) -> Estimate:
    bootstrap = BlockBootstrap(groups, 1000, seed)
    return bootstrap.ratio(top[:, None], np.ones_like(top)[:, None])[0]


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    groups = [[4 * g + i for i in range(4)] for g in range(30)]
    covered = 0
    for trial in range(200):
        # Answers of one block share a part, as overlapping clips do.
        values = np.repeat(rng.normal(size=30), 4) + rng.normal(size=120)
        estimate = one(groups, values, trial)
        assert estimate.low is not None and estimate.high is not None
        covered += estimate.low <= 0 <= estimate.high
    assert 178 <= covered <= 199


def test_blocks_give_wider_intervals_than_single_answers() -> None:
    values = np.repeat(np.random.default_rng(2).normal(size=30), 4)
    blocked = one([[4 * g + i for i in range(4)] for g in range(30)], values)
    single = one([[i] for i in range(120)], values)
    assert width(blocked) > 1.5 * width(single)


def width(estimate: Estimate) -> float:
    assert estimate.low is not None and estimate.high is not None
    return estimate.high - estimate.low


def test_same_seed_same_interval() -> None:
    values = np.arange(20.0)
    groups = [[i] for i in range(20)]
    assert one(groups, values, 3) == one(groups, values, 3)
    assert one(groups, values, 3) != one(groups, values, 4)


def test_one_group_has_no_interval() -> None:
    assert one([[0, 1]], np.array([1.0, 2.0])) == Estimate(1.5)


def test_zero_denominator_has_no_value() -> None:
    bootstrap = BlockBootstrap([[0], [1]], 100, 0)
    zero = np.zeros((2, 1))
    assert bootstrap.ratio(zero, zero) == [Estimate(None)]


def test_difference_is_paired() -> None:
    """Hard clips are hard for both: the difference is known better than either value."""
    rng = np.random.default_rng(4)
    hardness = np.repeat(rng.normal(size=30) * 3, 4)
    first, second = hardness + 1 + rng.normal(size=120) / 10, hardness
    groups = [[4 * g + i for i in range(4)] for g in range(30)]
    bootstrap = BlockBootstrap(groups, 1000, 0)
    ones = np.ones((120, 1))
    (value,) = bootstrap.difference((first[:, None], ones), (second[:, None], ones))
    assert value.value is not None and abs(value.value - 1) < 0.05
    assert width(value) < 0.1 * width(one(groups, first))


def test_difference_to_itself_is_nothing() -> None:
    bootstrap = BlockBootstrap([[0], [1], [2]], 200, 0)
    column = (np.array([[1.0], [2.0], [0.0]]), np.ones((3, 1)))
    assert bootstrap.difference(column, column) == [Estimate(0.0, 0.0, 0.0)]
    assert BlockBootstrap([[0, 1, 2]], 200, 0).difference(column, column) == [Estimate(0.0)]


@pytest.mark.parametrize(
    ("count", "said"), [(1, ["rest on 1 block:"]), (7, ["rest on 7 blocks:"]), (8, [])], ids=str
)
def test_few_blocks_are_told(count: int, said: list[str]) -> None:
    told = few_blocks(range(count))
    assert all(words in warning for words, warning in zip(said, told, strict=True))
