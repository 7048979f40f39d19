"""Trees grown level by level against best-first ones, over tables of log probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget
from crossdraft.drafters.best_first import best_first_tree
from crossdraft.drafters.level_tree import WIDTH, Grown, Level, grown

VOCAB = 14


class Table:
    """Logits of each path, drawn once; levels are checked for what they are said to see."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.runs: list[list[tuple[int, ...]]] = []

    def logits(self, path: Sequence[int]) -> Tensor:
        seed = hash((self._seed, *path)) % 2**63
        return 2 * torch.randn(
            VOCAB, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
        )

    def expand(self, path: tuple[int, ...]) -> list[tuple[int, float]]:
        values, order = self.logits(path).log_softmax(-1).sort(descending=True)
        return list(zip(order.tolist(), values.tolist(), strict=True))

    def run(self, level: Level) -> Tensor:
        above = self.runs[-1] if self.runs else [()]
        tokens, parents = level.rows.tolist(), level.parents.tolist()
        paths = [(*above[up], token) for up, token in zip(parents, tokens, strict=True)]
        self.runs.append(paths)
        assert {len(path) for path in paths} == {level.depth}
        every = [path for paths in self.runs for path in paths]
        if level.ancestors is None:
            assert every == [paths[0][: i + 1] for i in range(len(every))]
        else:
            for path, seen in zip(paths, level.ancestors.tolist(), strict=True):
                assert seen == [path[: len(other)] == other for other in every]
        return torch.stack([self.logits(path) for path in paths])

    def grow(self, budget: Budget, least: float = 0.0) -> Grown:
        return grown(self.logits(()), budget, self.run, least)


def tree_of(found: Grown) -> DraftTree:
    return DraftTree.from_parents(found.rows.tolist(), found.parents, found.logq)


def paths(tree: DraftTree) -> list[tuple[int, ...]]:
    return [tuple(tree.tokens[list(tree.path(node))].tolist()) for node in range(len(tree))]


SEEDS = st.integers(0, 10**6)


@given(
    seed=SEEDS, nodes=st.integers(1, WIDTH), depth=st.integers(1, 6), branch=st.integers(1, WIDTH)
)
def test_up_to_the_width_the_nodes_are_the_likeliest(
    seed: int, nodes: int, depth: int, branch: int
) -> None:
    table, budget = Table(seed), Budget(nodes, depth, branch)
    found, wanted = table.grow(budget), best_first_tree(table.expand, budget, "t")
    assert paths(tree_of(found)) == paths(wanted)
    assert found.logq == pytest.approx(wanted.logq.tolist(), abs=1e-5)
    assert found.run == sum(map(len, table.runs))


@given(
    seed=SEEDS, nodes=st.integers(1, 60), depth=st.integers(1, 6), branch=st.integers(1, VOCAB),
    least=st.sampled_from([0.0, 0.02, 0.3, 1.1]),
)  # fmt: skip
def test_larger_trees_are_within_the_budget_and_right(
    seed: int, nodes: int, depth: int, branch: int, least: float
) -> None:
    table = Table(seed)
    found = table.grow(Budget(nodes, depth, branch), least)
    tree = tree_of(found)
    assert len(tree) <= nodes
    assert tree.depth.max() <= depth
    assert len(set(paths(tree))) == len(tree)
    assert found.logq == sorted(found.logq, reverse=True)
    for path, logq in zip(paths(tree), found.logq, strict=True):
        steps = [table.logits(path[:i]).log_softmax(-1)[token] for i, token in enumerate(path)]
        assert logq == pytest.approx(float(sum(steps)), abs=1e-9)
    for level in table.runs:
        assert len(level) <= WIDTH
    for node, parent in enumerate(found.parents):
        assert parent < node
        assert found.parents.count(parent) <= branch
        assert parent < 0 or np.exp(found.logq[parent]) >= least


def test_less_is_gone_through_the_likelier_it_has_to_be() -> None:
    runs = [Table(4).grow(Budget.tree(40, 6), least).run for least in (0.0, 0.01, 0.1, 0.5)]
    assert runs == sorted(runs, reverse=True)
    assert runs[0] > runs[-1]
    assert Table(4).grow(Budget.tree(40, 6), 1.1).run == 0, "no path is that likely"
