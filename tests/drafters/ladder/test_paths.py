"""Which paths a tree goes down, how far, and what the follower is asked for on the way."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.decoding.replay import RecordedRows
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.checkpoint import load_drafter, save_drafter
from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.registry import LADDER
from crossdraft.drafters.trainable import NO_PROPOSAL
from tests.drafters.ladder.made import VOCAB, Made, made_head, made_pairs
from tests.drafters.ladder.test_drafting import batch_of, begin_at, level
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


@pytest.mark.parametrize("name", ["target-eagle", "fused-eagle"])
def test_without_the_targets_states_of_the_whole_prefix_there_is_no_proposal(name: str) -> None:
    drafter = begin(DRAFTERS[name], (5, 9), Asked())
    for prefix, depth in (((5, 9), 2), ((5, 9, 4), 0), ((5,), 2), ((5, 9, 4, 7), 0)):
        assert len(drafter.propose(prefix, Budget.chain(2))) == depth


@pytest.mark.parametrize("name", LADDER)
def test_chains_before_the_first_word_end_with_what_the_event_model_said(name: str) -> None:
    pairs = [replace(pair, draft_tokens=pair.draft_tokens[:2]) for pair in made_pairs(6)]
    pairs = [replace(pair, thoughts=Made(pair)) for pair in pairs]
    drafter = level(name, pairs)
    chains = drafter.rollouts(batch_of(drafter, pairs), 4)
    proposed = (chains[:, 0] != NO_PROPOSAL).int().tolist()
    said = [0 if drafter.shift else len(pair.draft_tokens) for pair in pairs]
    assert proposed == [[1] * count + [0] * (4 - count) for count in said]


@pytest.mark.parametrize("name", ["target-eagle", "fused-eagle"])
def test_behind_a_prefix_predictions_stand_in_though_the_targets_states_are_there(
    name: str,
) -> None:
    trees = []
    for told in ((5,), (5, 9, 4)):
        drafter = begin(DRAFTERS[name], told, Asked())
        trees.append(drafter.propose((5,), Budget.chain(3)).tokens.tolist())
    assert trees[0] == trees[1] and len(trees[0]) == 3


@pytest.mark.parametrize("longest", [6, 64])
@pytest.mark.parametrize("followed", [True, False])
@pytest.mark.parametrize("name", [name for name in LADDER if name != "eagle-fusion"])
def test_rollouts_are_what_is_proposed_behind_wrong_drafts_too(
    name: str, followed: bool, longest: int
) -> None:
    """Recorded states go on as if each draft had been right; only EAGLE fusion reads drafts."""
    known = ("own", "forced", "target") if followed else ("own", "target")
    pairs = made_pairs(4, known=known)
    options: dict[str, Any] = {"max_seq_len": longest} if DRAFTERS[name].shift else {}
    if not followed and name != "target-eagle":
        options["alignment"] = "own"
    drafter = level(name, pairs, **options)
    drafter.network.double()
    chains = drafter.rollouts(batch_of(drafter, pairs), 4).tolist()
    for pair, starts in zip(pairs, chains, strict=True):
        for position, chain in enumerate(starts[: len(pair.target_tokens)]):
            begin_at(drafter, pair, position)
            said = drafter.propose(pair.target_tokens[:position], Budget.chain(4)).tokens.tolist()
            assert said + [NO_PROPOSAL] * (4 - len(said)) == chain, position


@pytest.mark.parametrize("name", ["target-eagle", "fused-eagle"])
def test_steps_ahead_are_learnt_in_training_and_under_loss_token_alone(name: str) -> None:
    pairs = made_pairs(4)
    for loss, training in (("seed", True), ("token", False), ("token", True)):
        values = []
        for steps in (1, 2):
            drafter = level(name, pairs, loss=loss, rollout_steps=steps, dropout=0.0)
            drafter.network.train(training)
            values.append(float(drafter.loss(batch_of(drafter, pairs)).value.detach()))
        assert (values[0] == values[1]) == ((loss, training) != ("token", True))


def test_one_that_was_trained_without_following_is_loaded_so(tmp_path: Path) -> None:
    for name, known in (("bottleneck", ("own", "target")), ("eagle", ("own", "forced", "target"))):
        drafter = level(name, made_pairs(3, known=known), alignment="own")
        (tmp_path / name).mkdir()
        save_drafter(drafter, tmp_path / name / "best_model.safetensors")
        again = load_drafter(tmp_path / name).drafter
        assert isinstance(again, LadderDrafter)
        assert again.follows == drafter.follows == ("forced" in known)
        assert again.needs == drafter.needs
