"""How the drafter drafts: what it reads, what it forgets, what it refuses."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.checkpoint import load_drafter, save_drafter
from crossdraft.drafters.crossmodal.config import CrossmodalConfig
from crossdraft.drafters.crossmodal.drafter import CrossmodalDrafter, Pace
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.crossmodal.kit import PAIRS, begun, drafter_of, rows_of
from tests.drafters.ladder.made import HIDDEN, Made, made_head, made_pairs

PAIR = max(PAIRS, key=lambda pair: len(pair.draft_tokens))
TREE, CHAIN = Budget.tree(12, 4), Budget.chain(4)
BOTH = pytest.mark.parametrize("compiled", [False, True])


def same(one: DraftTree, other: DraftTree) -> bool:
    return (
        one.tokens.tolist() == other.tokens.tolist()
        and one.parents.tolist() == other.parents.tolist()
        and np.allclose(one.logq, other.logq, atol=1e-3)
    )


@BOTH
def test_each_word_that_arrives_is_read(compiled: bool) -> None:
    drafter = drafter_of(compiled=compiled)
    stream = begun(drafter, PAIR)
    seen = []
    for words in range(len(stream) + 1):
        stream.visible = words
        seen.append(drafter.propose((), TREE))
        assert same(seen[-1], drafter.propose((), TREE))
    assert len(seen) > 3
    assert not any(same(one, other) for one, other in pairwise(seen))


@BOTH
@pytest.mark.parametrize("prefix", [(), (5, 6)])
def test_the_last_row_is_asked_again_with_a_new_word(
    compiled: bool, prefix: tuple[int, ...]
) -> None:
    """What stands at the root has read it too, not the drafts behind alone."""
    drafter = drafter_of(compiled=compiled)
    stream = begun(drafter, PAIR)
    seen = []
    for words in range(len(stream) + 1):
        stream.visible = words
        seen.append(drafter.propose(prefix, Budget.next_token(6)))
    assert not any(same(one, other) for one, other in pairwise(seen))


@BOTH
def test_without_memory_no_stream_is_read(compiled: bool) -> None:
    class Silent:
        def snapshot(self) -> Any:
            raise AssertionError("it was read")

    drafter = drafter_of(compiled=compiled, memory="none")
    assert not drafter.needs & {"draft_tokens", "draft_states"}
    drafter.begin(Context("?", RecordedStream(()), head=made_head()))
    assert len(drafter.propose((), TREE)) == 12


@BOTH
def test_the_leak_is_of_training_alone(compiled: bool) -> None:
    """Live it reads what the event model says itself, as a drafter of the same weights does."""
    leaking, honest = (drafter_of(compiled=compiled, memory=kind) for kind in ("forced", "own"))
    honest.network.load_state_dict(leaking.network.state_dict())
    for visible in (0, 2, len(PAIR.draft_tokens)):
        for one in (leaking, honest):
            begun(one, PAIR).visible = visible
        assert same(leaking.propose((), TREE), honest.propose((), TREE))


@BOTH
def test_words_that_have_not_arrived_change_nothing(compiled: bool) -> None:
    drafter, own = drafter_of(compiled=compiled), thoughts_of(PAIR).states("own")
    trees = []
    for first, later in ((0.0, 0.0), (0.0, 3.0), (3.0, 0.0)):
        states = torch.cat((own[:2] + first, own[2:] - later))
        words = (*PAIR.draft_tokens[:2], *(9 if later else 8 for _ in states[2:]))
        stream = RecordedStream(words, states)
        stream.visible = 2
        drafter.begin(Context("?", stream, head=made_head(), question_ids=(4, 5)))
        trees.append(drafter.propose((5, 6), TREE))
    assert same(trees[0], trees[1])
    assert not same(trees[0], trees[2])


@BOTH
def test_a_prefix_that_changes_is_gone_through_again(compiled: bool) -> None:
    """Longer, shorter, another one: as by a drafter that sees it first."""
    drafter, target = drafter_of(compiled=compiled), PAIR.target_tokens
    stream = begun(drafter, PAIR)
    stream.visible = len(stream)
    drafter.observe(Verification((), 0), rows_of(PAIR, 0, 3))
    other = (target[0], target[3], target[1])
    for prefix in (target[:2], target[:3], target[:1], (), other, target[:3], target[:2]):
        fresh = drafter_of(compiled=compiled)
        whole = begun(fresh, PAIR)
        whole.visible = len(whole)
        fresh.observe(Verification((), 0), rows_of(PAIR, 0, 3))
        assert same(drafter.propose(prefix, TREE), fresh.propose(prefix, TREE))


@BOTH
def test_states_that_come_later_take_the_place_of_none(compiled: bool) -> None:
    drafter, target = drafter_of(compiled=compiled), PAIR.target_tokens
    begun(drafter, PAIR)
    blind = drafter.propose(target[:2], TREE)
    drafter.observe(Verification((), 0), rows_of(PAIR, 0, 2))
    seeing = drafter.propose(target[:2], TREE)
    assert not same(blind, seeing)
    fresh = drafter_of(compiled=compiled)
    begun(fresh, PAIR)
    fresh.observe(Verification((), 0), rows_of(PAIR, 0, 2))
    assert same(seeing, fresh.propose(target[:2], TREE))


@BOTH
def test_without_rows_the_answer_goes_on_in_tokens(compiled: bool) -> None:
    drafter, target = drafter_of(compiled=compiled), PAIR.target_tokens
    begun(drafter, PAIR)
    drafter.observe(Verification((), target[0]), rows_of(PAIR, 0, 1))
    drafter.observe(Verification((), target[1]), None)
    # These states are somebody's, nobody knows whose.
    drafter.observe(Verification((), target[2]), rows_of(PAIR, 2, 3))
    other = drafter_of(compiled=compiled)
    begun(other, PAIR)
    other.observe(Verification((), target[0]), rows_of(PAIR, 0, 1))
    assert same(drafter.propose(target[:3], TREE), other.propose(target[:3], TREE))
    begun(drafter, PAIR)  # the next answer is a new one
    begun(other, PAIR)
    drafter.observe(Verification((), target[0]), rows_of(PAIR, 0, 1))
    other.observe(Verification((), target[0]), rows_of(PAIR, 0, 1))
    assert same(drafter.propose(target[:1], CHAIN), other.propose(target[:1], CHAIN))


@BOTH
def test_words_without_states_beside_them(compiled: bool) -> None:
    """Of models with different tokenizers there is not one word to each state."""
    drafter = drafter_of(compiled=compiled)
    own = thoughts_of(PAIR).states("own")[:3]
    trees = []
    for words in ((5, 6, 7), (5, 6), (9, 9)):
        stream = RecordedStream((1, 2, 3), own)
        snapshot = replace(stream.snapshot(), tokens=words)
        stream.snapshot = lambda shown=snapshot: shown  # type: ignore[method-assign, misc]
        drafter.begin(Context("?", stream, head=made_head()))
        trees.append(drafter.propose((), TREE))
    assert same(trees[1], trees[2])
    assert not same(trees[0], trees[1])


@BOTH
def test_only_what_training_answers_hold_is_proposed(compiled: bool) -> None:
    made = made_pairs(4, seed=8)
    # The head's last id is never drafted, though an answer holds it.
    odd = replace(made[0], target_tokens=(made_head().draftable, *made[0].target_tokens))
    pairs = (replace(odd, thoughts=Made(odd)), *made[1:])
    known = {token for pair in pairs for token in pair.target_tokens}
    known.discard(made_head().draftable)
    trimmed = drafter_of(pairs, compiled=compiled)
    whole = drafter_of(pairs, compiled=compiled, trim_vocabulary=False)
    for drafter, allowed in ((trimmed, known), (whole, set(range(made_head().draftable)))):
        begun(drafter, pairs[0])
        drafted = drafter.propose((), Budget(200, 1, 200)).tokens.tolist()
        assert set(drafted) <= allowed
        assert len(drafted) == len(allowed)


@BOTH
def test_no_drafts_behind_the_longest_answer(compiled: bool) -> None:
    drafter = drafter_of(compiled=compiled, max_seq_len=6)
    begun(drafter, PAIR)
    assert len(drafter.propose((5,) * 4, CHAIN)) == 2
    assert len(drafter.propose((5,) * 6, CHAIN)) == 0
    assert len(drafter.propose((5,) * 9, CHAIN)) == 0
    assert len(drafter.propose((), Budget(0, 4, 1))) == 0


def test_of_a_long_question_the_end_is_read() -> None:
    drafter = drafter_of(max_question=3, compiled=True)
    trees = []
    for question in ((1, 2, 3, 4, 5), (9, 9, 3, 4, 5), (3, 4, 5), (4, 5), ()):
        begun(drafter, PAIR, question=question)
        trees.append(drafter.propose((), TREE))
    assert same(trees[0], trees[1])
    assert same(trees[0], trees[2])
    assert not same(trees[0], trees[3])
    assert not same(trees[3], trees[4])


def test_states_of_other_models_are_refused() -> None:
    drafter = drafter_of()
    with pytest.raises(InputError, match="the target's states are 24 wide"):
        drafter.begin(Context("?", RecordedStream(()), head=made_head(24)))
    drafter.begin(Context("?", RecordedStream((3,), torch.zeros(1, 7)), head=made_head()))
    with pytest.raises(InputError, match="the event model's states are 7 wide"):
        drafter.propose((), CHAIN)


def test_a_checkpoint_drafts_as_what_was_saved(tmp_path: Path) -> None:
    for options in ({}, {"memory": "none"}, {"trim_vocabulary": False}):
        drafter = drafter_of(**options)
        save_drafter(drafter, tmp_path / "model.safetensors")
        loaded = load_drafter(tmp_path / "model.safetensors").drafter
        assert isinstance(loaded, CrossmodalDrafter)
        assert loaded.config == drafter.config
        for one in (drafter, loaded):
            one.compiled = False
            stream = begun(one, PAIR)
            stream.visible = 2
            one.observe(Verification((), 0), rows_of(PAIR, 0, 1))
        prefix = PAIR.target_tokens[:1]
        assert same(drafter.propose(prefix, TREE), loaded.propose(prefix, TREE))


def test_tensors_of_another_size_are_refused() -> None:
    drafter = drafter_of()
    about = drafter.describe()
    about["config"]["ffn_dim"] *= 2
    with pytest.raises(InputError, match="tensors do not fit"):
        CrossmodalDrafter.restore(about, drafter.tensors())


def test_proposals_end_where_drafts_are_not_worth_their_time() -> None:
    drafter = drafter_of(compiled=True)
    begun(drafter, PAIR)
    whole = drafter.propose((), Budget.tree(40, 6))
    # A draft that has to be likelier than 0.9 leaves what stands behind the last node, and no more.
    cut = drafter.propose((), replace(Budget.tree(40, 6), token_ms=1.0, node_ms=0.9))
    assert drafter.stops
    assert not same(cut, whole)
    for node, parent in enumerate(cut.parents.tolist()):
        assert parent < 0 or cut.logq[parent] >= np.log(0.9) - 1e-6, node


def test_the_pace_of_late() -> None:
    pace, budget = Pace(), replace(TREE, token_ms=2.0)
    assert pace.least(TREE) == pace.least(budget) == 0.0
    pace.saw(4, 1.0)
    assert pace.least(budget) == pytest.approx(0.125)
    assert pace.least(replace(budget, node_ms=0.5)) == pytest.approx(0.375)
    assert pace.least(TREE) == 0.0, "nobody says what a token takes"
    for _ in range(200):
        pace.saw(1, 1.0)
    assert pace.least(budget) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"embed_dim": 0}, {"embed_dim": 10, "num_heads": 4}, {"num_layers": 0}, {"dropout": 1.0},
        {"state_dropout": -0.1}, {"empty_memory": 0.7, "full_memory": 0.4}, {"empty_memory": 2.0},
        {"rollout_decay": 0.0}, {"rollout_steps": 0}, {"kl_weight": -1.0}, {"memory": "some"},
        {"acceptance_weight": float("nan")}, {"max_question": 0},
    ],
)  # fmt: skip
def test_sizes_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        CrossmodalConfig(**options)


def test_a_store_without_the_memory_is_refused() -> None:
    with pytest.raises(InputError, match="no own states of the event model"):
        drafter_of(made_pairs(3, known=("target", "forced")))
    drafter_of(made_pairs(3, known=("target",)), memory="none")
    assert drafter_of().network.hidden == HIDDEN
