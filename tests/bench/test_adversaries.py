"""Drafters that try to change an answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossdraft.bench.adversaries import (
    ADVERSARIES,
    Adversary,
    AlwaysRight,
    AlwaysWrong,
    EarlyEnd,
    Empty,
    Knowledge,
    PastTheLimit,
)
from crossdraft.bench.divergence import ended
from crossdraft.drafters.base import Budget

VOCABULARY, EOS = 40, 2


def may_draft(ids: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    return (ids >= 0) & (ids < VOCABULARY - 5)


def knowing(answer: tuple[int, ...]) -> Knowledge:
    return Knowledge.of(answer, 50, frozenset({EOS}), VOCABULARY, may_draft)


ANSWERS = st.lists(st.integers(3, VOCABULARY - 6), min_size=1, max_size=12).map(tuple)
BUDGETS = st.one_of(
    st.builds(Budget.chain, st.integers(1, 9)),
    st.builds(Budget, st.integers(1, 20), st.integers(1, 9), st.integers(1, 5)),
)


@pytest.mark.parametrize("kind", ADVERSARIES, ids=lambda kind: kind.name)
@given(answer=ANSWERS, budget=BUDGETS, data=st.data())
def test_it_is_pure_and_keeps_to_its_budget(
    kind: type[Adversary], answer: tuple[int, ...], budget: Budget, data: st.DataObject
) -> None:
    prefix = answer[: data.draw(st.integers(0, len(answer)))]
    drafter = kind(knowing(answer))
    tree = drafter.propose(prefix, budget)
    again = drafter.propose(prefix, budget)
    assert tree.tokens.tolist() == again.tokens.tolist()
    assert tree.parents.tolist() == again.parents.tolist()
    if kind is PastTheLimit:
        return
    assert len(tree) <= budget.nodes
    assert all(tree.depth <= budget.depth)
    children = np.bincount(tree.parents + 1, minlength=1)
    assert not len(tree) or children.max() <= budget.branch


@given(answer=ANSWERS, budget=BUDGETS)
def test_what_they_are_named_for(answer: tuple[int, ...], budget: Budget) -> None:
    known = knowing(answer)
    assert not AlwaysWrong(known).propose((), budget).follow(answer)
    right = AlwaysRight(known).propose((), budget)
    levels = budget.nodes if budget.branch == 1 else max(1, budget.nodes // 2)
    assert len(right.follow(answer)) == min(levels, budget.depth, len(answer))
    assert not len(Empty(known).propose((), budget))
    beyond = PastTheLimit(known).propose((), budget)
    assert len(beyond) > budget.nodes and beyond.depth.max() > budget.depth
    assert not may_draft(beyond.tokens).all()


def test_right_nodes_of_a_tree_stand_behind_wrong_ones() -> None:
    tree = AlwaysRight(knowing((7, 8, 9, 10))).propose((), Budget.tree(8, 8))
    assert tree.follow((7, 8, 9, 10)) == (1, 3, 5, 7)


def until(adversary: Adversary, answer: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    return ended(answer, adversary.eos_ids, adversary.most)


def test_answers_that_end_earlier() -> None:
    answer = (7, 8, 9, 8, 11, 8)
    early = EarlyEnd(knowing(answer))
    assert early.eos_ids == {EOS, 8} and until(early, answer) == ((7, 8), "eos")
    assert EOS in early.propose((7, 8, 9), Budget.tree(8, 8)).tokens
    assert EOS in early.propose((7,), Budget.chain(4)).tokens
    half = PastTheLimit(knowing(answer))
    assert half.most == 3 and until(half, answer) == ((7, 8, 9), "length")
    assert until(AlwaysRight(knowing(answer)), answer) == (answer, "length")
    assert ended((7, EOS), frozenset({EOS}), 1) == ((7,), "length")


def test_a_vocabulary_without_drafts() -> None:
    nothing = Knowledge.of((5, 6), 9, frozenset(), 8, lambda ids: np.zeros(len(ids), np.bool_))
    for kind in ADVERSARIES:
        kind(nothing).propose((5, 6), Budget.tree(8, 4))
