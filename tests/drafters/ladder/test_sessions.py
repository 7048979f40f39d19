"""One answer leaves nothing to the next, and no part of a whole to another."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import pytest

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.replay import RecordedRows, begin_recorded
from crossdraft.drafters.base import Budget, Context, Drafter, Rows
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.registry import LADDER, create
from crossdraft.drafters.two_phase import TwoPhaseDrafter
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.ladder.made import Made, made_pairs
from tests.drafters.ladder.test_drafting import level

DRAFTERS = {name: level(name, made_pairs(3)) for name in LADDER}
for each in DRAFTERS.values():
    # So that only mistakes make a difference.
    each.network.double()

#: Position, proposal (tokens, parents) and its log probabilities.
Heard = tuple[int, list[int], list[int], list[float]]
BUDGETS = (Budget.chain(3), Budget(7, 3, 3))


def heard(position: int, tree: DraftTree) -> Heard:
    logq = [round(value, 4) for value in tree.logq.tolist()]
    return position, tree.tokens.tolist(), tree.parents.tolist(), logq


def lived(drafter: Drafter, pair: Pair, budget: Budget) -> list[Heard]:
    """What a drafter proposes in the course of an answer."""
    begin_recorded(drafter, pair)
    answer, rows = pair.target_tokens, RecordedRows(thoughts_of(pair).states("target"))
    position, trees = 0, []
    while position < len(answer):
        tree = drafter.propose(answer[:position], budget)
        trees.append(heard(position, tree))
        path = tree.follow(answer[position:])
        end = position + len(path) + 1
        token = answer[end - 1] if end <= len(answer) else None
        drafter.observe(Verification(path, token), rows.between(position, end))
        position = end
    return trees


def two_questions() -> tuple[Pair, Pair]:
    """Of the same words: only the states behind them tell one answer from the other."""
    one = next(pair for pair in made_pairs(9) if len(pair.target_tokens) > 5)
    one = replace(one, draft_tokens=one.target_tokens)
    thoughts = [
        Made(replace(one, question=question), noise=0.8) for question in ("Who?", "And where?")
    ]
    first, then = (replace(each.pair, thoughts=each) for each in thoughts)
    return first, then


@pytest.mark.parametrize("budget", BUDGETS, ids=["chain", "tree"])
@pytest.mark.parametrize("name", LADDER)
def test_an_answer_leaves_nothing_to_the_next(name: str, budget: Budget) -> None:
    first, then = two_questions()
    session = DRAFTERS[name]
    fresh = [lived(copy(session), pair, budget) for pair in (first, then)]
    assert fresh[0] != fresh[1], "the second answer is another one"
    assert any(tokens for _, tokens, _, _ in fresh[1])
    assert [lived(session, pair, budget) for pair in (first, then, first)] == [*fresh, fresh[0]]


class Overheard(Drafter):
    """Another drafter, and what it proposes."""

    def __init__(self, inner: Drafter) -> None:
        self.inner, self.name, self.needs = inner, inner.name, inner.needs
        self.said: list[Heard] = []

    def begin(self, context: Context) -> None:
        self.said = []
        self.inner.begin(context)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        tree = self.inner.propose(prefix, budget)
        self.said.append(heard(len(prefix), tree))
        return tree

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        self.inner.observe(verification, rows)


def fresh_at(drafter: Drafter, pair: Pair, position: int, budget: Budget) -> Heard:
    """What it proposes there if it has proposed nothing before."""
    begin_recorded(drafter, pair)
    if position:
        states = thoughts_of(pair).states("target")[:position]
        drafter.observe(Verification((), None), RecordedRows(states))
    return heard(position, drafter.propose(pair.target_tokens[:position], budget))


@pytest.mark.parametrize("budget", BUDGETS, ids=["chain", "tree"])
@pytest.mark.parametrize("name", ["bottleneck", "fused-eagle"])
def test_in_an_ensemble_each_part_proposes_what_it_would_alone(name: str, budget: Budget) -> None:
    pairs = two_questions()
    suffix = create("suffix")
    suffix.fit(made_pairs(6, seed=4))
    parts = [Overheard(copy(DRAFTERS[name])), Overheard(suffix)]
    ensemble = EnsembleDrafter(parts)
    for pair in pairs:
        trees = lived(ensemble, pair, budget)
        assert trees[-1][0] > 0 and any(tokens for _, tokens, _, _ in trees)
        for part, alone in zip(parts, (copy(DRAFTERS[name]), suffix), strict=True):
            assert [place for place, *_ in part.said] == [place for place, *_ in trees]
            assert part.said == [fresh_at(alone, pair, place, budget) for place, *_ in trees]


@pytest.mark.parametrize("budget", BUDGETS, ids=["chain", "tree"])
def test_two_phases_propose_what_the_one_and_then_the_other_would(budget: Budget) -> None:
    prefill, decode = DRAFTERS["attention"], DRAFTERS["fused-eagle"]
    both = TwoPhaseDrafter(copy(prefill), copy(decode))
    for pair in two_questions():
        trees = lived(both, pair, budget)
        assert len(trees) > 1 and trees[0][1] and trees[1][1]
        assert trees == [
            fresh_at(copy(decode if place else prefill), pair, place, budget) for place, *_ in trees
        ]
