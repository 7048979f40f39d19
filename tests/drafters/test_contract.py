"""What every drafter in the registry must keep to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters import registry
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.checkpoint import is_trainable
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.run import evaluate
from tests.drafters.ladder.made import HIDDEN, made_head
from tests.make import QUESTION, recorded_pairs
from tests.tiny import built

NAMES = list(registry.REGISTRY)
budgets = st.one_of(
    st.builds(Budget.chain, st.integers(0, 6)),
    st.builds(Budget.tree, st.integers(0, 20), st.integers(1, 6)),
    st.builds(Budget.next_token, st.integers(1, 6)),
)
words = st.one_of(st.sampled_from([5, 6, 7, 8, 9, 100, 101, 2]), st.integers(-1, 2**31 - 1))
prefixes = st.lists(words, max_size=8)


def ready(name: str, learned: int = 12) -> Drafter:
    """A drafter that has learned from some pairs and begun an answer."""
    drafter: Drafter
    if is_trainable(name):
        drafter = built(name, recorded_pairs(max(1, learned)))  # random weights propose too
    else:
        drafter = registry.create(name)
        drafter.fit(recorded_pairs(learned))
    stream = RecordedStream((20, 100, 21, 2), torch.ones(4, HIDDEN))
    drafter.begin(Context(QUESTION, stream, head=made_head()))
    return drafter


DRAFTERS = {name: ready(name) for name in NAMES}


def same(one: DraftTree, other: DraftTree) -> bool:
    return (
        np.array_equal(one.tokens, other.tokens)
        and np.array_equal(one.parents, other.parents)
        and np.array_equal(one.logq, other.logq)
    )


@pytest.mark.parametrize("name", NAMES)
@given(prefix=prefixes, budget=budgets)
def test_proposals_keep_to_the_budget_and_are_pure(
    name: str, prefix: list[int], budget: Budget
) -> None:
    drafter = DRAFTERS[name]
    tree = drafter.propose(prefix, budget)
    assert same(tree, drafter.propose(prefix, budget)), "propose changes nothing"
    assert len(tree) <= budget.nodes
    assert all(tree.depth <= budget.depth)
    for parent in {ROOT, *range(len(tree))}:
        children = tree.tokens[tree.parents == parent].tolist()
        assert len(children) <= budget.branch
        assert len(set(children)) == len(children)
    assert all(tree.tokens >= 0)


@pytest.mark.parametrize("name", ["translator", "bottleneck", "eagle", "crossmodal", "ensemble"])
def test_what_needs_no_pass_drafts_something(name: str) -> None:
    """Else the test above would ask for nothing."""
    drafts = [DRAFTERS[name].propose(prefix, Budget.chain(3)) for prefix in ((), (5,), (5, 6))]
    assert any(map(len, drafts))


@pytest.mark.parametrize("name", NAMES)
def test_works_before_anything_was_learned(name: str) -> None:
    drafter = registry.create(name)
    drafter.begin(Context("a new question", RecordedStream(())))
    assert len(drafter.propose([], Budget.tree(8, 4))) == 0


@pytest.mark.parametrize("name", NAMES)
def test_finish_accepts_any_answer(name: str) -> None:
    drafter = ready(name)
    for answer in ([], [2], [5, 6, 2], [2**31 - 2] * 3):
        drafter.begin(Context("another question", RecordedStream((1,))))
        drafter.propose(answer, Budget.chain(3))
        drafter.finish(answer)
    assert isinstance(drafter.propose([5], Budget.chain(3)), DraftTree)


@pytest.mark.parametrize("name", ["position", "suffix"])
def test_online_learning_changes_the_next_proposal(name: str) -> None:
    drafter = ready(name, learned=0)
    drafter.finish([31, 32, 33])
    drafter.begin(Context(QUESTION, RecordedStream(())))
    assert drafter.propose([], Budget.chain(3)).tokens.tolist() == [31, 32, 33]


@pytest.mark.parametrize("name", ["position", "suffix"])
def test_question_decides_where_it_was_seen(name: str) -> None:
    drafter = registry.create(name)
    answers = {"one": (41, 42, 2), "other": (51, 52, 2)}
    (pair,) = recorded_pairs(1)
    drafter.fit([replace(pair, question=q, target_tokens=a) for q, a in answers.items()] * 2)
    for question, answer in answers.items():
        drafter.begin(Context(question, RecordedStream(())))
        assert drafter.propose([], Budget.chain(3)).tokens.tolist() == list(answer)
    drafter.begin(Context("never asked", RecordedStream(())))
    assert len(drafter.propose([], Budget.chain(3))) == 3, "backs off to all questions"


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match="none, position, suffix, drafter-text"):
        registry.create("telepathy")


class Echo(Drafter):
    """A new idea: propose the last accepted token again."""

    name = "echo"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain(list(prefix[-1:])[: budget.nodes], source=self.name)


def test_new_drafter_costs_one_registry_line(
    monkeypatch: pytest.MonkeyPatch, extraction_file: Path
) -> None:
    """The whole evaluation runs on it, controls beside it."""
    monkeypatch.setitem(registry.REGISTRY, "echo", f"{__name__}:Echo")
    config = EvaluateConfig.parse(pairs=extraction_file, drafters=("echo",), online=True)
    drafters = evaluate(config).payload["drafters"]
    # Made-up answers say 9 twice in a row: the one place where an echo is right.
    assert drafters["echo"]["tau"]["value"] > 1
    assert drafters["echo"]["by_position"][7]["value"] == 1.0
    assert {"none", "position", "suffix"} <= drafters.keys()
