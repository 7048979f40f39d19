"""Which paths a tree goes down, what the follower is asked for, and nothing left to the next."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.decoding.replay import RecordedRows, begin_recorded
from crossdraft.drafters.base import Budget, Context, Drafter, Rows
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.registry import LADDER, create
from crossdraft.drafters.two_phase import TwoPhaseDrafter
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.ladder.made import VOCAB, Made, made_head, made_pairs
from tests.drafters.ladder.test_drafting import begin_at, level
from tests.drafters.ladder.test_kept import noise

BRANCH, DEPTH = 3, 3
#: More nodes than there are ways: 3 + 9 + 27.
ALL_WAYS = Budget(60, DEPTH, BRANCH)
DRAFTERS = {name: level(name, made_pairs(3)) for name in LADDER}
for each in DRAFTERS.values():
    # So that only mistakes make a difference.
    each.network.double()
WORDS = st.lists(st.integers(3, VOCAB - 2), min_size=1, max_size=5)


@dataclass
class Asked:
    """An event model whose states say all that it has read, and what was asked of it."""

    words: list[tuple[int, ...]] = field(default_factory=list)

    def follow(self, answer: Sequence[int]) -> Tensor:
        self.words.append(tuple(answer))
        return torch.stack([noise(tuple(answer[:end])) for end in range(len(answer) + 1)])


def begin(drafter: LadderDrafter, prefix: Sequence[int], follower: Asked | None) -> LadderDrafter:
    """All of the event model's own answer there, and the target's states up to the prefix."""
    own = torch.stack([noise("own", place) for place in range(12)])
    stream = RecordedStream(tuple(range(3, 15)), own)
    drafter.begin(Context("?", stream, head=made_head(), follower=follower))
    if prefix:
        states = torch.stack([noise("target", place) for place in range(len(prefix))])
        drafter.observe(Verification((), None), RecordedRows(states))
    return drafter


def first_children(tree: DraftTree) -> set[int]:
    """The best node of every set of siblings."""
    return {tree.parents.tolist().index(parent) for parent in set(tree.parents.tolist())}


@pytest.mark.parametrize("name", LADDER)
def test_where_each_way_costs_a_forward_only_the_best_is_gone_down(name: str) -> None:
    prefix = (5, 9)
    tree = begin(DRAFTERS[name], prefix, Asked()).propose(prefix, ALL_WAYS)
    if name == "target-eagle":
        assert len(tree) == BRANCH + BRANCH**2 + BRANCH**3, "no event model, no forward"
        return
    assert len(tree) == BRANCH * DEPTH
    parents = set(tree.parents.tolist()) - {ROOT}
    assert len(parents) == DEPTH - 1 and parents <= first_children(tree)
    assert tree.logq[sorted(parents)].tolist() == [
        max(tree.logq[tree.depth == depth].tolist()) for depth in range(1, DEPTH)
    ]


@pytest.mark.parametrize("name", LADDER)
@pytest.mark.parametrize("prefix", [(), (5, 9)])
def test_states_of_the_event_models_own_answer_are_there_for_every_way(
    name: str, prefix: tuple[int, ...]
) -> None:
    tree = begin(DRAFTERS[name], prefix, None if prefix else Asked()).propose(prefix, ALL_WAYS)
    if DRAFTERS[name].shift and not prefix:
        assert not len(tree)
    elif name == "eagle-fusion":
        # It reads the drafts themselves.
        assert len(tree) == BRANCH * DEPTH
    else:
        assert len(tree) == BRANCH + BRANCH**2 + BRANCH**3
        assert not set(tree.parents.tolist()) - {ROOT} <= first_children(tree)
        of_depth = [set(tree.tokens[tree.depth == depth].tolist()) for depth in (1, 2, 3)]
        assert [len(tokens) for tokens in of_depth] == [BRANCH] * 3, "the same behind all"


@pytest.mark.parametrize("name", LADDER)
@settings(max_examples=10, deadline=None)
@given(WORDS, st.integers(1, 4))
def test_the_follower_reads_no_word_that_no_row_is_about(
    name: str, prefix: list[int], depth: int
) -> None:
    """Row t is of the words before t: each further draft asks for one word more."""
    asked = Asked()
    drafter = begin(DRAFTERS[name], prefix, asked)
    tree = drafter.propose(prefix, Budget.chain(depth))
    assert len(tree) == depth
    words = (*prefix, *tree.tokens.tolist())
    first = len(prefix) - DRAFTERS[name].shift
    reads = DRAFTERS[name].reads_event
    assert asked.words == [words[: first + step] for step in range(depth if reads else 0)]
    assert drafter.propose((), Budget.chain(depth)) is not None
    assert len(asked.words) == (depth if reads else 0), "nothing is followed before a first word"


@pytest.mark.parametrize("name", LADDER)
@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("room", [0, 1, 2])
def test_drafts_go_up_to_the_last_row_that_the_network_knows(
    name: str, followed: bool, room: int
) -> None:
    drafter = DRAFTERS[name]
    prefix = tuple(range(3, 3 + 8 + drafter.shift - room))
    one = copy(drafter)
    if isinstance(type(one).max_length, property):
        one.config = replace(one.config, max_seq_len=8)
    else:
        one.max_length = 8
    tree = begin(one, prefix, Asked() if followed else None).propose(prefix, Budget.chain(4))
    assert len(tree) == room


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
    begin_at(drafter, pair, position)
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
