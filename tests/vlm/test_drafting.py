"""An event model's own words and its following: always the states of one fresh forward."""

from __future__ import annotations

import random
import time
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.vlm.drafting import Follower, own_answer
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.vlm.models import llama, scene_of, tiny

PROMPT = (1, 7, 8, 9, 10)
EXACT = 1e-9


@cache
def target() -> Target:
    return Target(llama(seed=3))


def fresh(answer: list[int]) -> tuple[Tensor, Tensor]:
    """States t = 0..len(answer) and the logits behind the last, by one forward."""
    ids = torch.tensor([[*PROMPT, *answer]])
    model: Any = target().model
    with torch.no_grad():
        out = model(input_ids=ids, output_hidden_states=True)
    return out.hidden_states[-1][0, len(PROMPT) - 1 :], out.logits[0, -1]


def asked() -> tuple[Any, Prompt]:
    prompt = Prompt(PROMPT, 0)
    return target().open(prompt).fork(), prompt


def test_own_answer_is_that_of_generate_with_the_states_that_emit_it() -> None:
    session, prompt = asked()
    before = now_ms()
    arrivals = list(own_answer(session, prompt, 12, frozenset(), origin_ms=before))
    tokens = [one.token for one in arrivals]
    ids = torch.tensor([PROMPT])
    model: Any = target().model
    said = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False
    )
    assert tokens == said[0, len(PROMPT) :].tolist()
    states = torch.stack([one.state for one in arrivals])
    assert (states - fresh(tokens[:-1])[0]).abs().max() < EXACT
    head: Any = target().model.lm_head
    assert head(states).argmax(-1).tolist() == tokens
    moments = [one.arrival_ms for one in arrivals]
    assert moments == sorted(moments)
    assert moments[0] > 0
    assert moments[-1] <= now_ms() - before


def test_own_answer_ends_behind_its_end_token_at_the_limit_and_with_the_room() -> None:
    session, prompt = asked()
    tokens = [one.token for one in own_answer(session, prompt, 12, frozenset())]
    end = tokens[4]
    session, prompt = asked()
    ended = [one.token for one in own_answer(session, prompt, 12, frozenset({end}))]
    assert ended == tokens[: tokens.index(end) + 1]
    session, prompt = asked()
    with pytest.raises(ValueError, match="max_new_tokens 0"):
        own_answer(session, prompt, 0, frozenset())
    small = Target(llama(seed=3, max_position_embeddings=len(PROMPT) + 3))
    session = small.open(prompt).fork()
    # The last position is read for the token behind it.
    short = [one.token for one in own_answer(session, prompt, 12, frozenset())]
    assert short == tokens[:4]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.lists(st.integers(3, 110), max_size=5)),
        min_size=1,
        max_size=6,
    )
)
def test_following_equals_one_forward_whatever_was_rolled_back(
    turns: list[tuple[int, list[int]]],
) -> None:
    session, prompt = asked()
    follower = Follower(session, prompt)
    answer: list[int] = []
    for kept, new in turns:
        answer = answer[:kept] + new
        follower.follow(answer)
        states, logits = fresh(answer)
        assert follower.tokens == tuple(answer)
        assert (follower.states - states).abs().max() < EXACT
        assert (follower.logits - logits).abs().max() < EXACT
        assert session.tokens == (*PROMPT, *answer)


def test_following_reads_only_what_is_new_in_one_pass() -> None:
    session, prompt = asked()
    follower = Follower(session, prompt)

    def passes() -> int:
        return sum(span.name == "decode" for span in session.spans.spans)

    follower.follow([5, 6, 7, 8])
    assert passes() == 1
    follower.follow([5, 6, 7, 8])
    assert passes() == 1
    follower.follow([5, 6, 9, 4])
    assert passes() == 2
    follower.follow([5])
    assert passes() == 2


def test_following_a_drafted_chain_gives_the_states_of_the_own_answer() -> None:
    session, prompt = asked()
    own = list(own_answer(session, prompt, 6, frozenset()))
    session, prompt = asked()
    follower = Follower(session, prompt)
    drafted: list[int] = []
    for _ in own:
        drafted.append(int(follower.logits.argmax()))
        follower.follow(drafted)
    assert drafted == [one.token for one in own]
    states = torch.stack([one.state for one in own])
    assert (follower.states[:-1] - states).abs().max() < EXACT


def test_unknown_ids_and_too_long_answers_are_refused_and_leave_it_usable() -> None:
    session, prompt = asked()
    follower = Follower(session, prompt)
    follower.follow([5, 6])
    with pytest.raises(ValueError, match="token 99999"):
        follower.follow([5, 6, 99999])
    with pytest.raises(InputError, match="longest sequence"):
        follower.follow([5] * 600)
    follower.follow([5, 6, 7])
    assert (follower.states - fresh([5, 6, 7])[0]).abs().max() < EXACT


def test_ids_that_are_never_drafted_can_be_followed() -> None:
    prompt = Prompt(PROMPT, 0)
    follower = Follower(Target(llama(seed=3), draftable=50).open(prompt).fork(), prompt)
    follower.follow([60, 61, 7])
    assert (follower.states - fresh([60, 61, 7])[0]).abs().max() < EXACT
    assert torch.equal(follower.state, follower.states[-1])


@pytest.mark.parametrize("moment", ["read", "rollback", "rows"])
def test_an_interrupt_leaves_it_usable(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    session, prompt = asked()
    follower = Follower(session, prompt)
    follower.follow([5, 6, 7])
    with monkeypatch.context() as patch:
        _interrupt(patch, session, follower, moment)
        with pytest.raises(KeyboardInterrupt):
            follower.follow([5, 8, 9, 10])
    for answer in ([5, 8, 9, 10, 11], [5, 8], [5, 6, 7]):
        follower.follow(answer)
        assert follower.tokens == tuple(answer)
        assert (follower.states - fresh(answer)[0]).abs().max() < EXACT


def _interrupt(patch: Any, session: Any, follower: Any, moment: str) -> None:
    """Interrupt right behind a call on the session, or before the rows are forgotten."""
    if moment == "rows":
        patch.setattr(follower, "_forget", lambda count: _stop())
        return
    call = getattr(session, moment)

    def called(*given: Any) -> None:
        call(*given)
        _stop()

    patch.setattr(session, moment, called)


def _stop() -> None:
    raise KeyboardInterrupt


def test_arrivals_count_from_the_call_and_refusals_come_with_it() -> None:
    session, prompt = asked()
    arrivals = own_answer(session, prompt, 2, frozenset())
    time.sleep(0.05)
    assert next(arrivals).arrival_ms >= 50
    with pytest.raises(RuntimeError, match="asked here before"):
        own_answer(session, prompt, 2, frozenset())


def test_behind_a_picture_too() -> None:
    model = tiny("video-llava")
    scene = scene_of(model, random.Random(1))
    prompt = scene.prompt([4, 5, 6])
    follower = Follower(Target(model).open(prompt).fork(), prompt)
    follower.follow([9, 10, 11])
    with torch.no_grad():
        out = model(**scene.outputs([4, 5, 6, 9, 10, 11]), output_hidden_states=True)
    assert (follower.states - out.hidden_states[-1][0, -4:]).abs().max() < EXACT
