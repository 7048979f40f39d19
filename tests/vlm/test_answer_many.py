"""Plain greedy answers to many questions of one scene: each equals `generate` by itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.causal import answer_scenes
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer
from crossdraft.vlm.target import Target
from crossdraft.vlm.top_logits import largest
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


# --- logits and layers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"), [("llama", "text"), ("gemma3", "text"), ("qwen2.5-vl", "video")]
)
def test_layers_and_the_largest_logits_of_every_row(name: str, kind: str) -> None:
    """Rows of the whole model without a cache; the greedy choice is the first of them."""
    model = tiny(name)
    rng = random.Random(16)
    scene = scene_of(model, rng, kind, before=6)
    questions = [word_ids(rng, length) for length in (2, 7)]
    prompts = [scene.prompt(question) for question in questions]
    session = Target(model).with_layers([0, 2]).open(prompts[0])
    for question, answer in zip(
        questions, session.answer_many(prompts, 6, states=True, top=5), strict=True
    ):
        oracle = Oracle(model, scene.outputs(question))
        rows = [oracle.row(answer.tokens[:t]) for t in reversed(range(6))][::-1]
        for i in (0, 2):
            close(answer.layers[i], torch.stack([row.states[i] for row in rows]))
        assert answer.layers.keys() == {0, 2}
        logits = torch.stack([row.logits for row in rows])
        assert answer.top is not None
        assert torch.equal(answer.top.ids, logits.topk(5).indices)
        assert answer.top.ids[:, 0].tolist() == list(answer.tokens)
        torch.testing.assert_close(answer.top.logits, logits.topk(5).values.float())
        torch.testing.assert_close(answer.top.total, logits.logsumexp(-1).float())


def test_what_was_not_asked_for_is_not_there() -> None:
    session = Target(tiny("llama"), layers=(1,)).open(Prompt((3, 4), cut=1))
    prompt = Prompt((3, 5), cut=1)
    (plain,) = session.answer_many([prompt], 3)
    assert (plain.hidden, plain.layers, plain.top) == (None, {}, None)
    (logits,) = session.answer_many([prompt], 3, top=2)
    assert logits.hidden is None and logits.layers == {}
    assert logits.top is not None and logits.top.ids.shape == (3, 2)
    (none,) = session.answer_many([prompt], 0, states=True, top=2)
    assert none.hidden is not None and none.top is not None
    assert none.hidden.shape == none.layers[1].shape == (0, 32)
    assert none.top.ids.shape == (0, 2)


def test_equal_logits_are_led_by_the_greedy_choice() -> None:
    """In half precision many are equal, and `topk` may take any of them first."""
    logits = torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0, 2.0], [0.0] * 6]).bfloat16()
    found = largest(logits, 4)
    assert found.ids[0].tolist() == [1, 2, 4, 3] or found.ids[0].tolist() == [1, 2, 4, 5]
    assert found.ids[:, 0].tolist() == logits.argmax(-1).tolist()
    assert found.logits[0].tolist() == [3.0, 3.0, 3.0, 2.0]
    assert (found.logits.dtype, found.total.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(found.total, logits.float().logsumexp(-1))
    for count in range(1, 7):
        assert largest(logits, count).ids[:, 0].tolist() == [1, 0]


def test_other_layers_of_the_same_target() -> None:
    target = Target(tiny("llama"), cache="preallocated", room=40, draftable=100)
    other = target.with_layers([2, 1, 2])
    assert target.decoder.keeps == () and other.decoder.keeps == (1, 2)
    assert other.model is target.model and other.prompts is target.prompts
    assert (other.cache, other.room, other.draftable) == ("preallocated", 40, 100)
    prompt = Prompt((3, 4, 5), cut=1)
    steps = [one.open(prompt).ask(prompt) for one in (target, other, other.with_layers([]))]
    assert [sorted(step.layers) for step in steps] == [[], [1, 2], []]
    assert torch.equal(steps[1].layers[2], steps[1].hidden)
    assert torch.equal(steps[0].hidden, steps[1].hidden)
    with pytest.raises(InputError, match=r"layers \[1, 3\] to keep"):
        target.with_layers([3, 1])


# --- several scenes at once -----------------------------------------------------------------


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "text") for name in DECODERS),
        *((name, kinds[0]) for name, (_, kinds) in READERS.items()),
    ],
)
def test_scenes_side_by_side(name: str, kind: str, cache: str) -> None:
    """Pictures and questions of different lengths, a scene without questions, answers that end:
    all as if each scene had been alone."""
    rng = random.Random(15)
    model = tiny(name)
    befores = (9, 0, 4, 7) if name in DECODERS else (1, 6, 3, 2)
    scenes = [scene_of(model, rng, kind, before=before) for before in befores]
    questions = [[word_ids(rng, n) for n in lengths] for lengths in ((4, 1, 9), (3,), (), (2, 2))]
    prompts = [[s.prompt(q) for q in its] for s, its in zip(scenes, questions, strict=True)]
    said = greedy(model, scenes[0].outputs(questions[0][0]), 7)
    model.generation_config.eos_token_id = said[3]
    try:
        target = Setting.of(model, cache, layers=(1,)).target
        sessions = [target.open(scene.prompt((5,))) for scene in scenes]
        found = answer_scenes(sessions, prompts, 7, states=True, top=2)
        alone = [
            session.answer_many(its, 7, states=True, top=2)
            for session, its in zip(sessions, prompts, strict=True)
        ]
        for scene, its, answers in zip(scenes, questions, found, strict=True):
            check(scene, its, answers, 7, [said[3]])
    finally:
        model.generation_config.eos_token_id = None
    assert [len(answers) for answers in found] == [3, 1, 0, 2]
    assert found[0][0].end == "eos"
    for one, other in zip(chain(*found), chain(*alone), strict=True):
        assert (one.tokens, one.end, one.prompt_hash) == (
            other.tokens,
            other.end,
            other.prompt_hash,
        )
        assert one.hidden is not None and other.hidden is not None
        assert one.top is not None and other.top is not None
        close(one.hidden, other.hidden)
        close(one.layers[1], other.layers[1])
        assert torch.equal(one.top.ids, other.top.ids)


def test_scenes_share_their_stages() -> None:
    """A stage stands whole in the spans of every scene, once where scenes share them."""
    target = Target(tiny("llama"))
    prompt = Prompt((3, 4, 5), cut=1)
    shared = Spans()
    sessions = [target.open(prompt, spans=one) for one in (shared, shared, Spans())]
    for session in sessions:
        session.spans.spans.clear()
    answer_scenes(sessions, [[prompt]] * 3, 4)
    for session in sessions:
        names = [span.name for span in session.spans.spans]
        assert names == ["prefill", "decode", "decode", "decode"]


def test_scenes_of_different_targets() -> None:
    prompt = Prompt((3, 4, 5), cut=1)
    one, other = (Target(tiny("llama")).open(prompt) for _ in range(2))
    with pytest.raises(ValueError, match="2 targets"):
        answer_scenes([one, other], [[prompt], [prompt]])
    with pytest.raises(ValueError, match="questions for 2"):
        answer_scenes([one], [[prompt], [prompt]])
    assert answer_scenes([], []) == []
