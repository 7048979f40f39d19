"""The batched acceptance count is replay's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.tree import DraftTree
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.chains import accepted_from, chain_forwards
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.checkpoint import is_trainable
from crossdraft.drafters.registry import REGISTRY
from crossdraft.drafters.trainable import NO_PROPOSAL, TokenBatch
from tests.drafters.ladder.made import thoughtful
from tests.make import pair_of, recorded_pairs
from tests.tiny import built

GAMMA = 3
answers = st.lists(st.integers(0, 2), max_size=7)


class Written(Drafter):
    """Proposes what a table says for each position."""

    name = "written"

    def __init__(self, table: Sequence[Sequence[int]]) -> None:
        self._table = table

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain(list(self._table[len(prefix)])[: budget.nodes])


@given(st.lists(st.tuples(answers, st.data()), min_size=1, max_size=4))
def test_counts_as_replay_does(rows: list[tuple[list[int], st.DataObject]]) -> None:
    length = max(len(target) for target, _ in rows)
    proposals = np.full((len(rows), length, GAMMA), NO_PROPOSAL)
    targets = np.zeros((len(rows), length), dtype=np.int64)
    expected = []
    for place, (target, data) in enumerate(rows):
        table = [data.draw(st.lists(st.integers(0, 2), max_size=GAMMA)) for _ in range(len(target))]
        for position, chain in enumerate(table):
            proposals[place, position, : len(chain)] = chain
        targets[place, : len(target)] = target
        expected.append(
            replay(Written(table), pair_of(target), Budget.chain(GAMMA), Arrival()).forwards
        )
    lengths = np.array([len(target) for target, _ in rows])
    assert chain_forwards(proposals, targets, lengths).tolist() == expected


def test_accepted_stops_at_the_first_difference_and_at_the_end() -> None:
    proposals = np.array([[[1, 2, 9], [9, 3, 4], [3, 4, 0]]])
    accepted = accepted_from(proposals, np.array([[1, 2, 3]]), np.array([3]))
    assert accepted.tolist() == [[2, 0, 1]]


@pytest.mark.parametrize("gamma", [1, 3, 5])
@pytest.mark.parametrize("name", [name for name in REGISTRY if is_trainable(name)])
def test_rollouts_of_every_network_count_as_its_replay(name: str, gamma: int) -> None:
    """What training validates with is what evaluation measures."""
    pairs = [thoughtful(pair) for pair in recorded_pairs(24, seed=3)]
    drafter = built(name, pairs[:16])
    drafter.network.double()  # no ties and no rounding between batched and single passes
    batch = TokenBatch.of(pairs, drafter.max_length, needs=drafter.batch_needs)
    chains = drafter.rollouts(batch, gamma)
    assert chains.shape == (*batch.target.shape, gamma)
    counted = chain_forwards(chains.numpy(), batch.target.numpy(), batch.target_lengths.numpy())
    replayed = [replay(drafter, p, Budget.chain(gamma), Arrival()).forwards for p in pairs]
    assert counted.tolist() == replayed
