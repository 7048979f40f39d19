"""Lossless on models, in float64: the answer is that of `generate`, or of fresh forwards of the
whole model, with every cache and on every fork, and passes accept what replay counts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.registry import create
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Session
from crossdraft.vlm.target import Target
from tests.decoding import trained
from tests.decoding.engine import (
    QUESTION,
    Ends,
    Floats,
    Logits,
    Made,
    Noting,
    answer,
    largest,
    plain,
)
from tests.decoding.trials import CHOICES, UNTRAINED, endings, trials
from tests.make import pair_of
from tests.vlm import models
from tests.vlm.oracle import Oracle, greedy
from tests.vlm.shadow import Setting

# --- models ---------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Opened:
    """A model with a scene that was read, and what it says about it without the loop.

    Attributes:
        session: at the picture; only forks of it are asked.
        logits: by fresh forwards of the whole model.
    """

    session: Session
    prompt: Prompt
    logits: Logits
    outputs: dict[str, torch.Tensor]
    model: Any
    allowed: Callable[[NDArray[np.integer[Any]]], NDArray[np.bool_]]


_ORACLES: dict[str, Oracle] = {}


@cache
def opened(name: str, cache: str, room: int = 60) -> Opened:
    """A session of a tiny model at a made-up scene."""
    model = models.tiny(name)
    kind = "text" if name in models.DECODERS else "video"
    scene = models.scene_of(model, random.Random(5), kind, before=4)
    question = (9, 10, 11)
    target = Setting.of(model, cache, room=room).target
    outputs = scene.outputs(question)
    if name not in _ORACLES:
        _ORACLES[name] = Oracle(model, outputs)
    oracle = _ORACLES[name]
    prompt = scene.prompt(question)

    def logits(said: Sequence[int]) -> Floats:
        return np.asarray(oracle.row(said).logits.numpy())

    return Opened(target.open(prompt), prompt, logits, outputs, model, target.may_draft)


MODELS = ("llama", "qwen2-sliding", "gemma3", "video-llava", "qwen2.5-vl")


@pytest.mark.parametrize("cache", ["growing", "preallocated", "padded"])
@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=10)
@given(data=st.data())
def test_any_drafter_leaves_a_models_answer_as_it_is(
    name: str, cache: str, data: st.DataObject
) -> None:
    """Forks of one picture, one after the other."""
    one = opened(name, cache)
    # A fresh forward takes a placeholder that was drawn for one more picture, so sampled answers
    # are held against it where there is none.
    choices = sorted(CHOICES) if name in models.DECODERS else ["greedy"]
    choice = data.draw(st.sampled_from(choices))
    choose, rule = CHOICES[choice]
    long, _ = plain(one.logits, Ends(14), choose)
    ends = data.draw(endings(long, room=False))
    words = (5, 6, 7, models.DRAFTABLE - 1, models.DRAFTABLE, models.VIDEO, models.VOCAB, -1)
    trial = data.draw(trials(long, words, False))
    found = answer(
        one.session.fork(),
        trial.drafter,
        ends.stopping(),
        trial.width,
        prompt=one.prompt,
        rule=rule,
        words=trial.words,
        allowed=one.allowed,
    )
    assert (found.tokens, found.end) == plain(one.logits, ends, choose)


@pytest.mark.parametrize("name", MODELS)
def test_plain_decoding_is_generate(name: str) -> None:
    one = opened(name, "growing")
    expected = greedy(one.model, one.outputs, 14)
    for drafter in (create("none"), Made(expected, spread=2), Made(expected, skill=0.0, spread=3)):
        found = answer(
            one.session.fork(),
            drafter,
            Ends(14).stopping(),
            Budget.tree(8, 5),
            prompt=one.prompt,
            allowed=one.allowed,
        )
        assert found.tokens == expected
    assert plain(one.logits, Ends(14), largest) == (expected, "length")


@pytest.mark.parametrize("skill", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("room", [3, 4, 7])
def test_an_answer_ends_where_the_cache_is_full(room: int, skill: float) -> None:
    """Question of three ids, then room for so many less; the same with and without drafts."""
    one = opened("llama", "preallocated", room)
    said, _ = plain(one.logits, Ends(room - 2), largest)
    for budget in (Budget.chain(9), Budget.tree(9, 9)):
        found = answer(
            one.session.fork(),
            Made(said, 1, skill=skill, spread=2),
            Ends(30).stopping(),
            budget,
            prompt=one.prompt,
            allowed=one.allowed,
        )
        assert (found.tokens, found.end) == (said, "length")


@pytest.mark.parametrize("skill", [0.0, 1.0])
def test_an_answer_ends_where_the_model_has_no_more_positions(skill: float) -> None:
    model = models.gpt2(positions=12)
    prompt = Prompt((3, 4, 5, 9), cut=3)
    oracle = Oracle(model, {"input_ids": torch.tensor([prompt.ids])})
    said, _ = plain(lambda of: np.asarray(oracle.row(of).logits), Ends(9), largest)
    target = Target(model)
    found = answer(
        target.open(prompt),
        Made(said, skill=skill, spread=2),
        Ends(30).stopping(),
        Budget.tree(9, 9),
        prompt=prompt,
        allowed=target.may_draft,
    )
    # Eight behind the prompt can be read; what the last of them says is said as well.
    assert (found.tokens, found.end) == (said, "length")
    expected = greedy(model, {"input_ids": torch.tensor([prompt.ids])}, 8)
    assert found.tokens[:8] == expected


@pytest.mark.parametrize("cache", ["growing", "preallocated", "padded"])
@pytest.mark.parametrize("name", ["qwen2-sliding", "qwen2.5-vl"])
def test_answers_on_two_forks_do_not_meet(name: str, cache: str) -> None:
    """A listener of one answer decodes another one from its start to its end, at every pass."""
    one = opened(name, cache)
    said, _ = plain(one.logits, Ends(10), largest)
    inner: list[tuple[int, ...]] = []

    def decoded(drafter: Drafter, listen: Callable[[Sequence[int]], None]) -> tuple[int, ...]:
        return answer(
            one.session.fork(),
            drafter,
            Ends(10).stopping(),
            Budget.tree(6, 3),
            prompt=one.prompt,
            allowed=one.allowed,
            on_tokens=listen,
        ).tokens

    def another(_: Sequence[int]) -> None:
        inner.append(decoded(Made(said, len(inner), skill=0.8, spread=2), lambda _: None))

    assert decoded(Made(said, 7, skill=0.8, spread=2), another) == said
    assert len(inner) >= 3
    assert set(inner) == {said}


@pytest.mark.parametrize("cache", ["growing", "preallocated"])
def test_drafters_that_need_states_hear_the_plain_ones(cache: str) -> None:
    """Rows of every pass, put together, are the states of plain decoding."""
    one = opened("gemma3", cache)
    said, _ = plain(one.logits, Ends(12), largest)
    oracle = _ORACLES["gemma3"]
    drafter = Noting(Made(said, 2, skill=0.8, spread=2), {"target_states"})
    found = answer(
        one.session.fork(),
        drafter,
        Ends(12, {said[-2]}).stopping(),
        Budget.tree(8, 4),
        prompt=one.prompt,
        allowed=one.allowed,
    )
    place = 0
    assert max(found.accepted) >= 2
    for (_, rows), one_pass in zip(drafter.calls("observe"), found.passes, strict=True):
        assert len(rows.hidden) == len(rows.logits) == one_pass.emitted
        for row in range(one_pass.emitted):
            expected = oracle.row(said[: place + row])
            torch.testing.assert_close(rows.hidden[row], expected.hidden, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(rows.logits[row], expected.logits, rtol=1e-9, atol=1e-9)
        place += one_pass.emitted


# --- a model that has learned something -----------------------------------------------------


@pytest.fixture(scope="module")
def lessons() -> tuple[Target, dict[tuple[int, int], tuple[int, ...]]]:
    """A trained model, and its answers by `generate`."""
    model = trained.trained()
    answers = {}
    for scene in trained.scenes():
        ids = torch.tensor([trained.prompt_of(scene).ids])
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        answers[scene] = greedy(model, inputs, 40)
    assert all(said[-1] == trained.EOS for said in answers.values())
    assert len(set(answers.values())) > 20
    return Target(model), answers


Lessons = tuple[Target, dict[tuple[int, int], tuple[int, ...]]]


@pytest.mark.parametrize("budget", [Budget.chain(6), Budget.tree(16, 8)], ids=["chain", "tree"])
@pytest.mark.parametrize("name", UNTRAINED)
def test_long_runs_are_accepted_and_counted_as_in_replay(
    name: str, budget: Budget, lessons: Lessons
) -> None:
    """The loop's passes are those that the replay of the recorded answer counts, drafter by
    drafter and answer by answer while it learns; what drafters hear is the same too."""
    target, answers = lessons
    live, recorded = Noting(create(name)), Noting(create(name))
    recent, tokens, passes = None, 0, 0
    for scene, said in list(answers.items())[:14]:
        prompt = trained.prompt_of(scene)
        words = (5, 6, 7, scene[0], 8, 20, scene[1])
        found = answer(
            target.open(prompt),
            live,
            Ends(48, {trained.EOS}).stopping(),
            budget,
            prompt=prompt,
            words=words,
            allowed=target.may_draft,
        )
        pair = replace(pair_of(said, words), question=QUESTION)
        outcome = replay(recorded, pair, budget, Arrival())
        recorded.finish(said)
        assert (found.tokens, found.end) == (said, "eos")
        assert (found.accepted, found.drafted) == (outcome.accepted, outcome.drafted)
        assert found.tau == pytest.approx(outcome.tokens / outcome.forwards)
        recent = found
        tokens, passes = tokens + len(said), passes + len(found.passes)
    heard = [[call[1:] for call in one.told if call[0] == "observe"] for one in (live, recorded)]
    assert heard[0] == heard[1]
    assert live.calls("finish") == recorded.calls("finish")
    assert [prefix for prefix, _ in live.calls("propose")] == [
        prefix for prefix, _ in recorded.calls("propose")
    ]
    if "suffix" in name:
        assert tokens / passes > 2.0
        assert recent is not None
        assert max(recent.accepted) >= 4
    elif name != "none":
        assert tokens / passes > 1.2


@pytest.mark.parametrize("rule", ["greedy", "cold"])
@pytest.mark.parametrize("cache", ["growing", "preallocated", "padded"])
def test_suffix_learns_while_answers_stay_the_models_own(
    cache: str, rule: str, lessons: Lessons
) -> None:
    model, answers = trained.trained(), lessons[1]
    target = Setting.of(model, cache, room=60).target
    drafter = create("suffix")
    tokens = passes = 0
    for scene, said in list(answers.items())[:10]:
        prompt = trained.prompt_of(scene)
        oracle = Oracle(model, {"input_ids": torch.tensor([prompt.ids])})
        oracle.row(said)  # one forward for all places of the likely answer
        choose, how = CHOICES[rule]
        found = answer(
            target.open(prompt),
            drafter,
            Ends(30, {trained.EOS}).stopping(),
            Budget.tree(16, 8),
            prompt=prompt,
            rule=how,
            allowed=target.may_draft,
        )
        assert (found.tokens, found.end) == plain(
            lambda of, oracle=oracle: np.asarray(oracle.row(of).logits),  # type: ignore[misc]
            Ends(30, {trained.EOS}),
            choose,
        )
        tokens, passes = tokens + len(found.tokens), passes + len(found.passes)
    assert tokens / passes > 1.5
