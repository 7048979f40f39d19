"""States over answers: row t emits token t and has read the tokens before t, whoever said them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session, States
from crossdraft.vlm.target import Target
from tests.vlm.models import (
    DECODERS,
    DRAFTABLE,
    MadeScene,
    Words,
    gemma2_eager,
    gpt2,
    scene_of,
    tiny,
    word_ids,
)
from tests.vlm.oracle import Oracle, close
from tests.vlm.shadow import Setting

CACHES = ("growing", "preallocated", "padded")
KINDS = {
    "video-llava": "both",
    "llava-onevision": "image",
    "llava-onevision-sliding": "video",
    "qwen2.5-vl": "videos",
}
LAYERS = (0, 1, 2)


def made_scene(name: str, seed: int = 3) -> MadeScene:
    """A scene with the pictures that this model reads."""
    rng = random.Random(seed)
    before = 9 if name in DECODERS else None
    return scene_of(tiny(name), rng, KINDS.get(name, "text"), before=before)


def step_by_step(session: Session, prompt: Prompt, answer: Sequence[int]) -> States:
    """The states that decoding these tokens one after the other would have left."""
    child = session.fork()
    steps = [child.ask(prompt), *(child.extend(token) for token in answer[:-1])][: len(answer)]
    hidden = torch.cat([step.hidden for step in steps])
    return States(hidden, {i: torch.cat([step.layers[i] for step in steps]) for i in LAYERS})


def equal(found: States, expected: States) -> None:
    close(found.hidden, expected.hidden)
    assert found.layers.keys() == expected.layers.keys()
    for i, states in expected.layers.items():
        close(found.layers[i], states)


# --- which row is which ---------------------------------------------------------------------


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", [*DECODERS, *KINDS])
def test_rows_are_those_of_decoding_step_by_step(name: str, cache: str) -> None:
    """Answers that somebody else has given, of many lengths, after questions of many lengths."""
    rng = random.Random(4)
    scene = made_scene(name)
    prompts = [scene.prompt(word_ids(rng, length)) for length in (4, 1, 9, 2)]
    answers = [word_ids(rng, length) for length in (6, 1, 3, 11)]
    session = Setting.of(scene.model, cache, layers=LAYERS).target.open(scene.prompt((5,)))
    found = session.read_many(prompts, answers)
    for prompt, answer, states in zip(prompts, answers, found, strict=True):
        assert len(states.hidden) == len(answer)
        equal(states, step_by_step(session, prompt, answer))


@pytest.mark.parametrize("name", ["llama", "gemma3", *KINDS])
def test_rows_are_those_of_a_fresh_forward(name: str) -> None:
    """Of the whole model, without a cache; layers are numbered like its `hidden_states`."""
    rng = random.Random(6)
    scene = made_scene(name)
    question, answer = word_ids(rng, 5), word_ids(rng, 7)
    session = Target(scene.model).with_layers(LAYERS).open(scene.prompt((5,)))
    (states,) = session.read_many([scene.prompt(question)], [answer], top=3)
    oracle = Oracle(scene.model, scene.outputs(question))
    rows = [oracle.row(answer[:t]) for t in reversed(range(7))][::-1]
    close(states.hidden, torch.stack([row.hidden for row in rows]))
    for i in LAYERS:
        close(states.layers[i], torch.stack([row.states[i] for row in rows]))
    logits = torch.stack([row.logits for row in rows])
    assert states.top is not None
    assert torch.equal(states.top.ids, logits.topk(3).indices)
    torch.testing.assert_close(states.top.logits, logits.topk(3).values.float())
    torch.testing.assert_close(states.top.total, logits.logsumexp(-1).float())


@pytest.mark.parametrize("name", ["llama", "qwen2-sliding", *KINDS])
def test_ones_own_answer_has_the_states_that_it_was_given_with(name: str) -> None:
    rng = random.Random(7)
    scene = made_scene(name)
    target = Target(scene.model, layers=LAYERS)
    session = target.open(scene.prompt((5,)))
    prompts = [scene.prompt(word_ids(rng, length)) for length in (3, 8, 1)]
    own = session.answer_many(prompts, 9, states=True, top=2)
    read = session.read_many(prompts, [answer.tokens for answer in own], top=2)
    for answer, states in zip(own, read, strict=True):
        assert answer.hidden is not None
        assert answer.top is not None and states.top is not None
        equal(states, States(answer.hidden, answer.layers))
        said = torch.tensor(answer.tokens)
        assert torch.equal(target.decoder.logits(states.hidden).argmax(-1), said)
        assert torch.equal(states.top.ids[:, 0], said)
        assert torch.equal(states.top.ids, answer.top.ids)
        assert bool((states.top.logits[:, 0] > states.top.logits[:, 1]).all())


def test_an_eager_model_with_capped_scores() -> None:
    """Its softmax rounds to single precision, so rows are compared as tightly as that allows."""
    model, rng = gemma2_eager(), random.Random(9)
    session = Target(model, layers=LAYERS).open(Prompt((3, 4, 5, 6), cut=3))
    prompts = [Prompt((3, 4, 5, *word_ids(rng, n)), cut=3) for n in (2, 5)]
    answers = [word_ids(rng, 6), word_ids(rng, 3)]
    for prompt, answer, states in zip(
        prompts, answers, session.read_many(prompts, answers), strict=True
    ):
        expected = step_by_step(session, prompt, answer)
        torch.testing.assert_close(states.hidden, expected.hidden, rtol=1e-5, atol=1e-5)


# --- who reads what -------------------------------------------------------------------------


@settings(max_examples=25)
@given(data=st.data(), seed=st.integers(0, 20))
@pytest.mark.parametrize("name", ("llama", "mistral-sliding", "qwen2.5-vl"))
def test_a_row_has_read_the_tokens_before_its_own(
    name: str, data: st.DataObject, seed: int
) -> None:
    """Other tokens from place t on leave rows 0 to t as they were, and change row t + 1."""
    rng = random.Random(seed)
    scene = made_scene(name)
    prompts = [scene.prompt(word_ids(rng, length)) for length in (2, 6)]
    answer = list(word_ids(rng, data.draw(st.integers(2, 10), label="length")))
    t = data.draw(st.integers(0, len(answer) - 2), label="t")
    changed = answer[:t] + [3 + (token - 2) % (DRAFTABLE - 3) for token in answer[t:]]
    assert all(a != b for a, b in zip(answer[t:], changed[t:], strict=True))
    other = word_ids(rng, 5)
    session = Target(scene.model).open(scene.prompt((5,)))
    before = session.read_many(prompts, [answer, other])
    after = session.read_many(prompts, [changed, other])
    assert torch.equal(before[0].hidden[: t + 1], after[0].hidden[: t + 1])
    assert (before[0].hidden[t + 1] - after[0].hidden[t + 1]).abs().max() > 1e-4
    # What is said to one question is nothing to the others.
    assert torch.equal(before[1].hidden, after[1].hidden)


def test_a_question_reads_the_same_alone() -> None:
    rng = random.Random(2)
    scene = made_scene("video-llava")
    session = Target(scene.model, layers=LAYERS).open(scene.prompt((5,)))
    prompts = [scene.prompt(word_ids(rng, length)) for length in (1, 4, 4, 12)]
    answers = [word_ids(rng, length) for length in (9, 2, 5, 1)]
    together = session.read_many(prompts, answers)
    for prompt, answer, states in zip(prompts, answers, together, strict=True):
        (alone,) = session.read_many([prompt], [answer])
        equal(states, alone)


@pytest.mark.parametrize("cache", CACHES)
def test_the_session_does_not_notice(cache: str) -> None:
    rng = random.Random(5)
    scene = made_scene("qwen2.5-vl")
    prompt = scene.prompt(word_ids(rng, 4))
    session = Setting.of(scene.model, cache).target.open(scene.prompt((5,)))
    child, twin = session.fork(), session.fork()
    for token in (7, 8, 9):
        for one in (child, twin):
            _ = one.extend(token) if len(one.tokens) > len(session.tokens) else one.ask(prompt)
        tokens = child.tokens
        child.read_many([prompt, prompt], [(5, 6, 7), (9,)], top=1)
        assert child.tokens == tokens
    assert torch.equal(child.extend(11).logits, twin.extend(11).logits)


# --- how much at once -----------------------------------------------------------------------


@pytest.mark.parametrize("rows", (1, 9, 20, 10_000))
def test_long_work_is_split_between_answers(rows: int) -> None:
    """A pass has as many rows as allowed, unless one answer alone has more."""
    rng = random.Random(8)
    scene = made_scene("video-llava")
    target = Target(scene.model, layers=(1,))
    session = target.open(scene.prompt((5,)))
    prompts = [scene.prompt(word_ids(rng, length)) for length in (3, 2, 5, 1, 4)]
    answers = [word_ids(rng, length) for length in (6, 0, 4, 13, 1)]
    whole = session.read_many(prompts, answers, top=2)
    widths: list[int] = []
    forward = target.forward

    def counted(tokens: torch.Tensor, *rest: object) -> object:
        widths.append(tokens.shape[1])
        return forward(tokens, *rest)  # type: ignore[arg-type]

    with (
        mock.patch("crossdraft.vlm.batch.PASS_ROWS", rows),
        mock.patch.object(target, "forward", counted),
    ):
        split = session.read_many(prompts, answers, top=2)
    assert sum(widths) == 8 + 8 + 13 + 4
    assert all(width <= max(rows, 13) for width in widths)
    assert len(widths) == {1: 4, 9: 4, 20: 2, 10_000: 1}[rows]
    for one, other in zip(whole, split, strict=True):
        equal(one, other)
        assert one.top is not None and other.top is not None
        assert torch.equal(one.top.ids, other.top.ids)


def test_an_empty_answer_has_no_rows() -> None:
    session = Target(tiny("llama"), layers=(1,)).open(Prompt((3, 4), cut=1))
    prompt = Prompt((3, 5), cut=1)
    empty, one = session.read_many([prompt, prompt], [(), (7,)], top=4)
    assert empty.hidden.shape == empty.layers[1].shape == (0, 32)
    assert empty.top is not None and one.top is not None
    assert empty.top.ids.shape == empty.top.logits.shape == (0, 4)
    assert empty.top.total.shape == (0,)
    assert one.top.ids.dtype == empty.top.ids.dtype == torch.int64
    close(one.hidden, session.fork().ask(prompt).hidden)
    assert session.read_many([], []) == []
    assert session.read_many([prompt], [(7,)])[0].top is None


def test_more_logits_than_ids() -> None:
    session = Target(tiny("llama")).open(Prompt((3, 4), cut=1))
    (states,) = session.read_many([Prompt((3, 5), cut=1)], [(7, 8)], top=10_000)
    assert states.top is not None and states.top.ids.shape == (2, 120)
    assert torch.equal(states.top.ids.sort().values[0], torch.arange(120))
    probabilities = (states.top.logits - states.top.total[:, None]).exp().sum(-1)
    torch.testing.assert_close(probabilities, torch.ones(2))


def test_questions_as_text() -> None:
    scene = made_scene("video-llava")
    session = Target(scene.model, Words()).open(scene)
    (states,) = session.read_many(["what is this"], [(9, 10)])
    (same,) = session.read_many([scene.prompt(Words.ids("what is this"))], [(9, 10)])
    assert torch.equal(states.hidden, same.hidden)


# --- what is refused ------------------------------------------------------------------------


def test_ids_that_the_model_does_not_know() -> None:
    session = Target(tiny("llama")).open(Prompt((3, 4), cut=1))
    for token in (120, -1):
        with pytest.raises(ValueError, match=f"token {token} of 120 ids"):
            session.read_many([Prompt((3, 5), cut=1)], [(4, token)])


def test_more_answers_than_questions() -> None:
    session = Target(tiny("llama")).open(Prompt((3, 4), cut=1))
    with pytest.raises(ValueError, match="2 answers to 1 questions"):
        session.read_many([Prompt((3, 5), cut=1)], [(4,), (5,)])


def test_a_negative_number_of_logits() -> None:
    session = Target(tiny("llama")).open(Prompt((3, 4), cut=1))
    with pytest.raises(ValueError, match="top -1"):
        session.read_many([], [], top=-1)
    with pytest.raises(ValueError, match="top -1"):
        session.answer_many([], top=-1)


def test_an_answer_longer_than_the_model_can_read() -> None:
    """The last token of an answer is not read: it may be the first beyond the end."""
    session = Target(gpt2(positions=12)).open(Prompt((3, 4), cut=1))
    prompt = Prompt((3, 5, 6), cut=1)
    (states,) = session.read_many([prompt], [range(3, 13)])
    assert states.hidden.shape == (10, 32)
    with pytest.raises(InputError, match=r"reach 13 tokens.*\n.*at most 12"):
        session.read_many([prompt], [range(3, 14)])
