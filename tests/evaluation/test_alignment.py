"""Hits, runs and sums over rows; rows a drafter writes alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.decoding.replay import rank_without_prefix
from crossdraft.drafters.registry import create
from crossdraft.evaluation.alignment import Comparison, summarise, written_alone
from tests.make import pair_of, recorded_pairs

TARGET = (1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("row", "first", "hits", "consecutive"),
    [
        ((1, 2, 3, 4, 5), 0, (True,) * 5, 5),
        ((1, 2, 9, 4, 5), 0, (True, True, False, True, True), 2),
        ((9, 2, 3, 4, 5), 0, (False, True, True, True, True), 0),
        ((None, 2, 3, 9, 5), 1, (True, True, False, True), 2),
        ((1, 2), 0, (True, True, False, False, False), 2),
        ((1, 2, 3, 4, 5, 6, 7), 3, (True, True), 2),
        ((), 0, (False,) * 5, 0),
        ((1, 2, 3, 4, 5), 5, (), 0),
        ((1, 2, 3, 4, 5), 7, (), 0),
    ],
)
def test_comparison(
    row: tuple[int | None, ...], first: int, hits: tuple[bool, ...], consecutive: int
) -> None:
    found = Comparison.of(row, TARGET, first)
    assert found.hits == hits
    assert found.consecutive == consecutive
    assert found.matched == sum(hits)


@given(st.lists(st.integers(0, 2), max_size=8), st.lists(st.integers(0, 2), max_size=8))
def test_consecutive_is_the_common_beginning(row: list[int], target: list[int]) -> None:
    found = Comparison.of(row, target, 0)
    common = 0
    while common < min(len(row), len(target)) and row[common] == target[common]:
        common += 1
    assert found.consecutive == common
    assert len(found.hits) == len(target)
    assert common <= found.matched


def test_summary_is_a_ratio_of_sums() -> None:
    rows = [(True,), (True, False, True), (False, False), ()]
    found = summarise([Comparison(hits) for hits in rows])
    assert (found["matched"], found["compared"]) == (3, 6)
    assert found["match_rate"] == 0.5
    assert found["consecutive_mean"] == 0.5
    assert found["consecutive_median"] == 0.5
    assert found["consecutive_max"] == 1
    assert found["consecutive_zero"] == 0.5
    assert found["consecutive_counts"] == {"0": 2, "1": 2}


def test_nothing_compared_has_no_rate() -> None:
    assert summarise([Comparison(())])["match_rate"] is None


def test_rows_written_alone() -> None:
    pair = pair_of((7, 8, 9, 2), (7, 5, 9))
    assert written_alone(create("drafter-text"), pair) == (7, 5, 9, None)
    assert written_alone(create("none"), pair) == (None,) * 4


@pytest.mark.parametrize("name", ["position", "suffix", "drafter-text"])
def test_the_row_is_the_one_that_is_ranked(name: str) -> None:
    drafter = create(name)
    pairs = recorded_pairs(30)
    drafter.fit(pairs[:20])
    for pair in pairs[20:]:
        # Learned words that no target says must not stop the comparison.
        asked = replace(pair, target_tokens=(*pair.target_tokens, 999_999))
        row = written_alone(drafter, asked)
        ranks = rank_without_prefix(drafter, asked)
        hits = Comparison.of(row, asked.target_tokens, 0).hits
        assert hits == tuple(rank == 0 for rank in ranks)
