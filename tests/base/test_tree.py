"""Draft trees: invariants, and greedy verification against a brute-force walk."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.tree import ROOT, DraftTree


@st.composite
def trees(draw: st.DrawFn) -> DraftTree:
    """Any valid tree over a small vocabulary."""
    tokens: list[int] = []
    parents: list[int] = []
    for node in range(draw(st.integers(0, 12))):
        parent = draw(st.integers(-1, node - 1))
        token = draw(st.integers(0, 3))
        if (parent, token) not in set(zip(parents, tokens, strict=True)):
            tokens.append(token)
            parents.append(parent)
        else:
            break
    return DraftTree.from_parents(tokens, parents)


@given(trees(), st.lists(st.integers(0, 3), max_size=6))
def test_follow_is_the_longest_path_that_spells_a_prefix(tree: DraftTree, want: list[int]) -> None:
    spelled = [[int(tree.tokens[i]) for i in tree.path(node)] for node in range(len(tree))]
    longest = max((len(s) for s in spelled if s == want[: len(s)]), default=0)
    path = tree.follow(want)
    assert [int(tree.tokens[i]) for i in path] == want[:longest]
    assert path == (tree.path(path[-1]) if path else ())


@given(trees())
def test_depth_is_the_length_of_the_path(tree: DraftTree) -> None:
    assert [len(tree.path(node)) for node in range(len(tree))] == tree.depth.tolist()
    assert tree.path(ROOT) == ()


def test_chain() -> None:
    tree = DraftTree.chain([7, 7, 8], source="me")
    assert tree.parents.tolist() == [-1, 0, 1]
    assert tree.source_names == ("me",)
    assert tree.follow([7, 7, 9]) == (0, 1)


def test_empty() -> None:
    assert len(DraftTree.empty()) == 0
    assert DraftTree.empty().follow([1]) == ()


@pytest.mark.parametrize(
    ("tokens", "parents", "logq"),
    [([1, 2], [-1, 1], None), ([1, 1], [-1, -1], None), ([1], [-2], None), ([1], [-1], [0.0, 0.0]),
     ([1, 2], [-1], None)],
)  # fmt: skip
def test_broken_trees_are_refused(
    tokens: list[int], parents: list[int], logq: list[float] | None
) -> None:
    with pytest.raises(ValueError):
        DraftTree.from_parents(tokens, parents, logq)


@given(parents=st.lists(st.integers(-1, 30), max_size=30), seed=st.integers(0, 99))
def test_pruning_keeps_the_paths_that_are_allowed_to_their_end(
    parents: list[int], seed: int
) -> None:
    above = [min(parent, i - 1) for i, parent in enumerate(parents)]
    tree = DraftTree.from_parents(
        range(len(above)), above, logq=-np.arange(len(above), dtype=np.float32)
    )
    allowed = np.random.default_rng(seed).random(len(above)) < 0.7
    pruned = tree.pruned(allowed)
    stays = [i for i in range(len(tree)) if all(allowed[list(tree.path(i))])]
    assert pruned.tokens.tolist() == stays
    for i, node in enumerate(stays):
        assert [pruned.tokens[j] for j in pruned.path(i)] == [*tree.path(node)]
    assert pruned.logq.tolist() == [-float(i) for i in stays]
    rebuilt = DraftTree.from_parents(pruned.tokens, pruned.parents)
    assert rebuilt.depth.tolist() == pruned.depth.tolist()


@given(trees())
def test_a_chain_is_a_tree_in_which_each_node_is_one_deeper(tree: DraftTree) -> None:
    assert tree.is_chain == (tree.depth.tolist() == list(range(1, len(tree) + 1)))
    assert DraftTree.chain(tree.tokens).is_chain
