"""Replay equals decoding done by hand, for any drafter and any answer."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.answers import until_eos
from crossdraft.decoding.arrival import PUBLISHED_1S, Arrival
from crossdraft.decoding.replay import (
    first_window,
    rank_of_next,
    rank_without_prefix,
    replay,
)
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.drafters.registry import REGISTRY, create
from tests.drafters.ladder.made import thoughtful
from tests.make import pair_of

ALL = Arrival()


class Guess(Drafter):
    """Proposes a tree that depends on nothing but the prefix: right, wrong, short and empty."""

    name = "guess"

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seen: list[Verification] = []

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rng = random.Random(f"{self.seed} {list(prefix)}")
        tokens: list[int] = []
        parents: list[int] = []
        for node in range(rng.randint(0, budget.nodes)):
            parent, token = rng.randint(-1, node - 1), rng.randint(0, 2)
            if (parent, token) in zip(parents, tokens, strict=True):
                break
            parents.append(parent)
            tokens.append(token)
        return DraftTree.from_parents(tokens, parents)

    def observe(self, verification: Verification, rows: object = None) -> None:
        self.seen.append(verification)


def brute_force(drafter: Drafter, answer: Sequence[int], budget: Budget) -> list[int]:
    """Accepted drafts per forward, by trying every path."""
    done, accepted = 0, []
    while done < len(answer):
        tree = drafter.propose(answer[:done], budget)
        best = 0
        for node in range(len(tree)):
            words = [int(tree.tokens[i]) for i in tree.path(node)]
            if words == list(answer[done : done + len(words)]):
                best = max(best, len(words))
        accepted.append(best)
        done += best + 1
    return accepted


answers = st.lists(
    st.one_of(st.integers(0, 2), st.sampled_from([31999, 32000, 10**9])), max_size=12
)


@given(answers, st.integers(0, 10**6), st.integers(0, 8))
def test_replay_equals_brute_force(answer: list[int], seed: int, nodes: int) -> None:
    budget = Budget.tree(nodes, 8)
    drafter = Guess(seed)
    outcome = replay(drafter, pair_of(answer), budget, ALL)
    assert list(outcome.accepted) == brute_force(Guess(seed), answer, budget)
    assert outcome.tokens == len(answer)
    # Every forward emits its accepted drafts and one token more, but for an answer that ends
    # inside the accepted path.
    emitted = sum(outcome.accepted) + outcome.forwards
    assert emitted - len(answer) in ((0, 1) if answer else (0,))
    assert [v.token is None for v in drafter.seen].count(True) == emitted - len(answer)


@given(answers)
def test_plain_decoding_takes_one_forward_a_token(answer: list[int]) -> None:
    from crossdraft.drafters.none import NoDrafter

    outcome = replay(NoDrafter(), pair_of(answer), Budget.chain(5), ALL)
    assert outcome.forwards == len(answer)


@given(st.lists(st.integers(0, 4), max_size=8))
def test_answer_ends_with_its_first_eos(answer: list[int]) -> None:
    kept = until_eos(answer, 2)
    assert 2 not in kept[:-1]
    assert list(kept) == answer[: len(kept)]
    assert len(kept) == len(answer) or kept[-1] == 2


def test_perfect_draft() -> None:
    answer = (7, 8, 9, 2)
    outcome = replay(DrafterText(), pair_of(answer, answer), Budget.chain(2), ALL)
    assert outcome.accepted == (2, 1), "two drafts and the bonus, then the EOS that was drafted"
    assert first_window(DrafterText(), pair_of(answer, answer), ALL, 22) == 4


def test_cost_counts_drafts_and_the_root() -> None:
    answer = (7, 8, 9, 2)
    outcome = replay(
        DrafterText(), pair_of(answer, answer), Budget.chain(2), ALL, curve=lambda n: 10.0 * n
    )
    assert outcome.drafted == (2, 1)
    assert outcome.cost == 10 * 3 + 10 * 2


def test_ranks_given_the_prefix() -> None:
    ranks = rank_of_next(DrafterText(), pair_of((7, 8, 9), (7, 0, 9)), ALL)
    assert ranks == [0, None, 0]


def test_ranks_without_a_prefix_go_on_after_silence() -> None:
    class LateTalker(Drafter):
        name = "late"

        def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
            return DraftTree.chain([4][: budget.nodes] if len(prefix) else [])

    assert rank_without_prefix(LateTalker(), pair_of((4, 4, 5))) == [None, 0, None]


@pytest.mark.parametrize(("limit", "accepted"), [(0, 0), (2, 2), (9, 3)])
def test_arrived_limits_the_first_window(limit: int, accepted: int) -> None:
    answer = (7, 8, 9)
    assert (
        first_window(DrafterText(), pair_of(answer, answer), Arrival(limit=limit), 22) == accepted
    )


def test_clock_lets_words_arrive() -> None:
    answer = tuple(range(100, 160))
    outcome = replay(
        DrafterText(), pair_of(answer, answer), Budget.chain(60), Arrival(times=PUBLISHED_1S)
    )
    # 141.6 ms: prefill starts, drafter has spoken since 96.7 ms, one token each 10 ms -> 5 words.
    # 457.1 ms: prefill ends, 37 words are there, 6 are already said -> 31 drafts.
    # One step later 38 words are there and all are said.
    assert outcome.drafted[:3] == (5, 31, 0)
    assert outcome.accepted[:3] == (5, 31, 0)


histories = st.lists(
    st.tuples(st.lists(st.integers(0, 4), max_size=8), st.lists(st.integers(0, 4), max_size=8)),
    min_size=1,
    max_size=6,
)
budgets = st.one_of(
    st.builds(Budget.chain, st.integers(0, 5)),
    st.builds(Budget.tree, st.integers(0, 12), st.integers(1, 5)),
)


@pytest.mark.parametrize("name", REGISTRY)
@given(history=histories, budget=budgets)
def test_every_drafter_replays_as_by_hand_while_it_learns(
    name: str, history: list[tuple[list[int], list[int]]], budget: Budget
) -> None:
    drafter = create(name)
    for target, draft in history:
        pair = thoughtful(pair_of(until_eos(target, 2), draft))
        outcome = replay(drafter, pair, budget, ALL)
        assert list(outcome.accepted) == brute_force(drafter, pair.target_tokens, budget)
        drafter.finish(pair.target_tokens)
