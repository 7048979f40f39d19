"""Plain greedy answers to many questions of one scene: each equals `generate` by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer
from crossdraft.vlm.target import Target
from tests.vlm.models import (
    DECODERS,
    IMAGE,
    READERS,
    MadeScene,
    Words,
    llama,
    qwen2_5_vl,
    scene_of,
    tiny,
    word_ids,
)
from tests.vlm.oracle import Oracle, close, greedy
from tests.vlm.shadow import Asked, Setting, Shadow

CACHES = ("growing", "preallocated")
SHOWN = [(name, kind) for name, (_, kinds) in READERS.items() for kind in kinds]


def check(
    scene: MadeScene,
    questions: Sequence[tuple[int, ...]],
    answers: Sequence[Answer],
    length: int,
    eos: Sequence[int] = (),
) -> None:
    """Tokens and ends are those of `generate`, states those of the oracle."""
    assert len(answers) == len(questions)
    for question, answer in zip(questions, answers, strict=True):
        assert answer.tokens == greedy(scene.model, scene.outputs(question), length)
        assert answer.end == ("eos" if answer.tokens[-1] in eos else "length")
        assert answer.end == "eos" or len(answer.tokens) == length
        assert answer.prompt_hash == scene.prompt(question).hash
        if answer.hidden is not None:
            assert len(answer.hidden) == len(answer.tokens)
            _check_states(scene, question, answer)


def _check_states(scene: MadeScene, question: tuple[int, ...], answer: Answer) -> None:
    # The oracle cannot read an answer that holds a picture's placeholder; states before it count.
    pictures = bool(scene.pictures)
    stop = next((i for i, t in enumerate(answer.tokens) if pictures and t >= IMAGE), None)
    read = len(answer.tokens) if stop is None else stop + 1
    oracle = Oracle(scene.model, scene.outputs(question))
    rows = [oracle.row(answer.tokens[:i]).hidden for i in reversed(range(read))]
    assert answer.hidden is not None
    close(answer.hidden[:read], torch.stack(rows[::-1]))


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(("name", "kind"), [(name, "text") for name in DECODERS] + SHOWN)
def test_every_answer_equals_generate(name: str, kind: str, cache: str) -> None:
    model = tiny(name)
    rng = random.Random(5)
    scene = scene_of(model, rng, kind, before=9 if name in DECODERS else None)
    questions = [word_ids(rng, length) for length in (4, 1, 13, 4, 7)]
    questions.append(questions[2])
    session = Setting.of(model, cache).target.open(scene.prompt((5,)))
    answers = session.answer_many([scene.prompt(q) for q in questions], 9, states=True)
    check(scene, questions, answers, 9)
    assert answers[2].tokens == answers[5].tokens


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 10), max_size=8),
    new=st.integers(1, 10),
    ends=st.integers(0, 6),
    seed=st.integers(0, 10),
)
@pytest.mark.parametrize("make", (llama, qwen2_5_vl), ids=("llama", "qwen2.5-vl"))
def test_answers_end_when_they_end(
    make: Any, lengths: list[int], new: int, ends: int, seed: int
) -> None:
    """End tokens are picked from the answers, so that each ends at a time of its own, some with
    their first token, some never."""
    rng = random.Random(seed)
    model = tiny(make.__name__ if make is llama else "qwen2.5-vl")
    scene = scene_of(model, rng, "text" if make is llama else "video")
    questions = [word_ids(rng, length) for length in lengths]
    said = [t for q in questions for t in greedy(model, scene.outputs(q), new)]
    eos = rng.sample(said, min(ends, len(said)))
    model.generation_config.eos_token_id = eos or None
    try:
        session = Target(model).open(scene.prompt((5,)))
        answers = session.answer_many([scene.prompt(q) for q in questions], new, states=True)
        check(scene, questions, answers, new, eos)
    finally:
        model.generation_config.eos_token_id = None


def test_no_questions_no_answers() -> None:
    session = Target(tiny("llama")).open(Prompt((3, 4), cut=1))
    assert session.answer_many([]) == []


def test_states_are_given_only_where_they_are_asked_for() -> None:
    session = Target(tiny("llama")).open(Prompt((3, 4), cut=1))
    (answer,) = session.answer_many([Prompt((3, 5), cut=1)], 3)
    assert answer.hidden is None


def test_fifty_tokens_unless_told_otherwise() -> None:
    session = Target(tiny("llama")).open(Prompt((3, 4), cut=1))
    (answer,) = session.answer_many([Prompt((3, 5), cut=1)])
    assert (len(answer.tokens), answer.end) == (50, "length")


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("name", ("qwen2-sliding", "qwen2.5-vl"))
def test_the_session_does_not_notice(name: str, cache: str) -> None:
    """Before a question, while a tree waits, and after; forks and answers are independent."""
    model = tiny(name)
    rng = random.Random(8)
    scene = scene_of(model, rng, "text" if name in DECODERS else "video", before=8)
    questions = [(9, 10), (11,), word_ids(rng, 12)]
    prompts = [scene.prompt(q) for q in questions]
    shadow = Shadow.open(Setting.of(model, cache), Asked(scene))

    def answers() -> None:
        check(scene, questions, shadow.session.answer_many(prompts, 6), 6)
        shadow.check()

    answers()
    shadow.ask((20, 21), DraftTree.from_parents([5, 6, 7], [-1, -1, 1]))
    answers()
    shadow.keep((1, 2))
    answers()
    shadow.extend(8, DraftTree.chain([9, 10]))
    answers()
    shadow.rollback(2)
    shadow.extend(9, DraftTree.empty())
    answers()


def test_questions_as_text() -> None:
    model = tiny("video-llava")
    scene = scene_of(model, random.Random(1), "video")
    texts = ["what is this", "why", "what is this"]
    answers = Target(model, Words()).open(scene).answer_many(texts, 5)
    check(scene, [Words.ids(text) for text in texts], answers, 5)


def test_ten_answers_equal_ten_fresh_runs() -> None:
    model = tiny("qwen2.5-vl")
    rng = random.Random(12)
    scene = scene_of(model, rng, "both")
    questions = [word_ids(rng, rng.randrange(1, 9)) for _ in range(10)]
    target = Target(model)
    together = target.open(scene.prompt((5,))).answer_many(
        [scene.prompt(q) for q in questions], 10, states=True
    )
    for question, answer in zip(questions, together, strict=True):
        prompt = scene.prompt(question)
        (alone,) = target.open(prompt).answer_many([prompt], 10, states=True)
        assert answer.tokens == alone.tokens
        assert answer.hidden is not None and alone.hidden is not None
        close(answer.hidden, alone.hidden)
