"""What is kept between calls changes nothing: every proposal is as if nothing had been kept."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.tree import Verification
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.decoding.replay import RecordedRows
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.ladder.inputs import Inputs
from tests.drafters.ladder.made import HIDDEN, VOCAB, made_head, made_pairs
from tests.drafters.ladder.test_drafting import batch_of, level

LONGEST = 7
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("bottleneck", {}),
    ("attention", {"num_layers": 2}),
    ("attention", {"loss": "seed"}),
    ("eagle", {"max_seq_len": LONGEST}),
    ("target-eagle", {"max_seq_len": LONGEST, "num_layers": 2}),
    ("fused-eagle", {"max_seq_len": LONGEST}),
    ("eagle-fusion", {"num_fusion_layers": 2}),
]
BUDGETS = (Budget.chain(3), Budget(7, 3, 2), Budget.next_token(4), Budget(0, 3, 2))


def noise(*of: object) -> Tensor:
    """[hidden] that is always the same of the same."""
    seed = zlib.crc32(repr(of).encode())
    return 2 * torch.randn(HIDDEN, generator=torch.Generator().manual_seed(seed))


@dataclass
class Reading:
    """An event model whose states say all that it has read; at times it cannot follow."""

    able: bool = True

    def follow(self, answer: Sequence[int]) -> Tensor | None:
        words = tuple(answer)
        rows = [noise("followed", words[:place]) for place in range(len(words) + 1)]
        return torch.stack(rows) if self.able else None


@cache
def variant(name: str, options: tuple[tuple[str, Any], ...]) -> LadderDrafter:
    """In float64, so that only mistakes make a difference."""
    drafter = level(name, made_pairs(3), **dict(options))
    drafter.network.double()
    if "max_seq_len" not in dict(options):
        drafter.max_length = LONGEST
    return drafter


def told(drafter: LadderDrafter, context: Context, states: Tensor, heard: int) -> LadderDrafter:
    """A drafter with the same network that has kept nothing but the target's states."""
    fresh = copy(drafter)
    fresh.begin(context)
    if heard:
        fresh.observe(Verification((), None), RecordedRows(states[:heard]))
    return fresh


WORDS = st.integers(3, VOCAB - 2)
#: What arrives, what happens to the follower, how far the prefix is from what was heard, a word
#: that takes the place of its last one, the budget, and how much is accepted then.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.booleans(),
        st.sampled_from([0, 0, 0, 1, 2, 9]),
        st.none() | WORDS,
        st.sampled_from(BUDGETS),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize(("name", "options"), VARIANTS)
@pytest.mark.parametrize("followed", [True, False])
@settings(max_examples=25, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=10), STEPS)
def test_every_proposal_is_that_of_one_that_keeps_nothing(
    name: str, options: dict[str, Any], followed: bool, answer: list[int], steps: list[Any]
) -> None:
    drafter = variant(name, tuple(options.items()))
    own = torch.stack([noise("own", place) for place in range(9)])
    states = torch.stack([noise("target", place, word) for place, word in enumerate(answer)])
    stream, reading = RecordedStream(tuple(range(3, 12)), own), Reading()
    stream.visible = heard = 0
    context = Context("?", stream, head=made_head(), follower=reading if followed else None)
    drafter.begin(context)
    for arrived, reading.able, back, other, budget, accepted in steps:
        stream.visible = min(len(stream), stream.visible + arrived)
        prefix = answer[: max(0, heard - back)]
        if other is not None and prefix and not drafter.reads_target:
            prefix[-1] = other
        fresh = told(drafter, context, states, heard)
        tree, wanted = (one.propose(prefix, budget) for one in (drafter, fresh))
        assert tree.tokens.tolist() == wanted.tokens.tolist()
        assert tree.parents.tolist() == wanted.parents.tolist()
        assert tree.logq.tolist() == pytest.approx(wanted.logq.tolist(), abs=1e-5)
        if len(tree):
            assert len(prefix) + int(max(tree.depth)) <= LONGEST + drafter.shift
        end = min(len(answer), heard + accepted)
        if end > heard:
            drafter.observe(Verification((), None), RecordedRows(states[heard:end]))
        heard = end


#: Levels that read nothing but the event model's states.
EVENT_ALONE = [
    one for one in VARIANTS if one[0] not in ("target-eagle", "fused-eagle", "eagle-fusion")
]


@pytest.mark.parametrize(("name", "options"), EVENT_ALONE)
@pytest.mark.parametrize("followed", [True, False])
def test_a_row_says_what_the_network_says_of_all_rows_at_once(
    name: str, options: dict[str, Any], followed: bool
) -> None:
    """By hand: which row stands for which token, of which states."""
    drafter = variant(name, tuple(options.items()))
    answer, own = (5, 9, 4), torch.stack([noise("own", place) for place in range(6)])
    reading = Reading()
    stream = RecordedStream(tuple(range(3, 9)), own)
    drafter.begin(Context("?", stream, head=made_head(), follower=reading if followed else None))
    event = own
    if followed:
        event = torch.stack([noise("followed", answer[:place]) for place in range(4)])
    event = event[: 4 - drafter.shift] if followed else event
    with torch.no_grad():
        mask = None
        if drafter.sees_later and followed:
            mask = torch.ones(len(event), len(event), dtype=torch.bool).tril()
        said = drafter.network(Inputs(event[None].double(), mask=mask)).states[0]
    best = made_head().logits(said)[3 - drafter.shift, : made_head().draftable].argmax()
    assert drafter.propose(answer, Budget.chain(1)).tokens.tolist() == [int(best)]


def test_one_that_was_trained_without_following_does_not_follow_others() -> None:
    """Beside one that follows, in an ensemble or two phases, the follower is there for both."""
    pair = made_pairs(3, known=("own", "target"))
    drafter = level("bottleneck", pair, alignment="own")
    own = torch.stack([noise("own", place) for place in range(6)])
    alone = Context("?", RecordedStream(tuple(range(3, 9)), own), head=made_head())
    trees = []
    for context in (alone, replace(alone, follower=Reading())):
        drafter.begin(context)
        trees.append(drafter.propose((5, 6), Budget.chain(3)).tokens.tolist())
    assert trees[0] == trees[1] and len(trees[0]) == 3


def test_the_head_moves_with_the_network_and_needs_with_what_it_was_built_on() -> None:
    drafter = level("bottleneck", made_pairs(3, known=("own", "target")), alignment="own")
    head = made_head()
    assert drafter.head_here(head) is drafter.head_here(head)
    drafter.network.to("meta")
    assert drafter.head_here(head).weight.device.type == "meta"  # type: ignore[attr-defined]
    drafter.build(made_pairs(3), 0)
    assert "forced_states" in drafter.needs


@pytest.mark.parametrize("name", ["target-eagle", "fused-eagle"])
def test_steps_ahead_in_another_number_format(name: str) -> None:
    drafter = level(name, made_pairs(4), rollout_steps=2, dropout=0.0)
    batch = batch_of(drafter, made_pairs(4))
    values = []
    for dtype in (torch.float32, torch.float64):
        drafter.network.to(dtype).train()
        values.append(float(drafter.loss(batch).value.detach()))
    assert values[0] == pytest.approx(values[1], rel=1e-4)


def test_answers_of_nothing_have_no_chains() -> None:
    pairs = [replace(pair, target_tokens=()) for pair in made_pairs(2)]
    for name in ("bottleneck", "eagle"):
        drafter = level(name, made_pairs(3))
        assert drafter.rollouts(batch_of(drafter, pairs), 2).shape == (2, 0, 2)
