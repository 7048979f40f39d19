"""The position table: counts, ranks and trees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.position import PositionDrafter
from tests.make import QUESTION, recorded_pairs


def table() -> PositionDrafter:
    drafter = PositionDrafter()
    pair = recorded_pairs(1)[0]
    for answer in ([5, 6], [5, 7], [5, 7], [8, 9]):
        drafter.fit([replace(pair, target_tokens=tuple(answer))])
    drafter.begin(Context(QUESTION, RecordedStream(())))
    return drafter


def test_chain_takes_the_most_frequent_token_of_each_position() -> None:
    tree = table().propose([], Budget.chain(5))
    assert tree.tokens.tolist() == [5, 7]
    np.testing.assert_allclose(np.exp(tree.logq), [0.75, 0.375], rtol=1e-6)


def test_prefix_only_counts_in_length() -> None:
    assert table().propose([999], Budget.chain(5)).tokens.tolist() == [7]
    assert len(table().propose([1, 2], Budget.chain(5))) == 0


def test_tree_takes_the_most_probable_paths_first() -> None:
    tree = table().propose([], Budget.tree(4, 2))
    probabilities = np.exp(tree.logq)
    np.testing.assert_allclose(probabilities, [0.75, 0.375, 0.25, 0.1875], rtol=1e-6)
    assert tree.tokens.tolist() == [5, 7, 8, 6], "ties go to the node that was reachable first"


def test_ties_go_to_the_smaller_token() -> None:
    assert table().propose([1], Budget.next_token(3)).tokens.tolist() == [7, 6, 9]
