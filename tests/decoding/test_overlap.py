"""The event model before the target and beside it in a thread: its words, what faults cost."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.event_words import EventWords
from crossdraft.decoding.overlap import MODES, OVERLAPPED, InThread, InTurn, Way
from crossdraft.decoding.speculator import Speculator
from crossdraft.drafters.base import Budget
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.target import Target
from tests.bench.tiny_pair import QUESTION
from tests.decoding.overlap_kit import (
    Loaded,
    Patient,
    Planted,
    begun,
    float64_pair,
    own_words,
    until,
    words_of,
)
from tests.decoding.test_speculator import Listener

TREE = Budget.tree(8, 4)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> PairModels:
    return PairModels(float64_pair(tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def plain(models: PairModels) -> tuple[int, ...]:
    return Speculator(models, "none").ask(MadeScene(), QUESTION, max_new_tokens=16).tokens


class Gate:
    """An event model that does not go on before it is told to."""

    def __init__(self, model: Target) -> None:
        self._model, self.opened, self.reached = model, threading.Event(), threading.Event()
        self.opens = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def open(self, *arguments: Any, **options: Any) -> Any:
        self.opens += 1
        self.reached.set()
        assert self.opened.wait(60)
        return self._model.open(*arguments, **options)


def model_of(gate: Any) -> Any:
    return lambda: gate


@given(st.sampled_from(MODES), st.booleans())
def test_a_way_is_what_it_says(mode: Any, goes_on: bool) -> None:
    way = Way(mode, goes_on or mode not in OVERLAPPED)
    assert Way.parse(str(way)) == way


@pytest.mark.parametrize("text", ["", "beside", "thread:", "thread:decode", "sequential:prefill"])
def test_what_is_no_way_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Way.parse(text)


@pytest.mark.parametrize("way", [Way("sequential"), Way("thread"), Way("thread", False)], ids=str)
@pytest.mark.parametrize("drafter", [DrafterText, Listener, Patient])
def test_the_answer_is_the_targets_own(
    models: PairModels, plain: tuple[int, ...], way: Way, drafter: Any
) -> None:
    with Speculator(models, drafter(), width=TREE, overlap=way) as speculator:
        answers = [speculator.ask(MadeScene(), QUESTION, max_new_tokens=16) for _ in range(2)]
    for answer in answers:
        assert answer.tokens == plain
        assert answer.overlap == str(way)
        assert answer.warnings == ()
        assert answer.drafter_spans is not None
        if drafter is Patient or way.mode == "sequential":
            assert sum(answer.drafted) > 0


@pytest.mark.parametrize("side", [InTurn, InThread])
def test_words_are_the_event_models_own_and_a_scene_is_read_once(
    models: PairModels, side: Any
) -> None:
    gate, scene = Gate(models.drafter), MadeScene()
    gate.opened.set()
    one = side(model_of(gate))
    said = own_words(models.drafter, scene)
    assert [words_of(one, scene) for _ in range(2)] == [(said, None)] * 2
    assert gate.opens == 1
    one.forget()
    assert words_of(one, scene) == (said, None)
    assert gate.opens == 2
    one.close()


@pytest.mark.parametrize("error", [MemoryError, RuntimeError, ZeroDivisionError])
@pytest.mark.parametrize("way", [Way("sequential"), Way("thread")], ids=str)
def test_a_failure_costs_the_drafts_alone(
    models: PairModels, plain: tuple[int, ...], way: Way, error: type[Exception]
) -> None:
    bad = Planted(error, elsewhere=False)
    with Speculator(models, Patient(), width=TREE, overlap=way) as speculator:
        answer = speculator.ask(bad, QUESTION, max_new_tokens=16)
        assert answer.tokens == plain
        assert sum(answer.drafted) == 0
        assert len(answer.warnings) == 1
        assert error.__name__ in answer.warnings[0]
        assert "without its words" in answer.warnings[0]
        after = speculator.ask(MadeScene(), QUESTION, max_new_tokens=16)
    assert (after.tokens, after.warnings) == (plain, ())
    assert sum(after.drafted) > 0


def test_a_scene_that_cannot_be_read_is_refused_before_the_target_begins_and_warned_of_beside_it(
    models: PairModels, plain: tuple[int, ...]
) -> None:
    bad = Planted(InputError, elsewhere=False)
    with pytest.raises(InputError, match="planted"):
        Speculator(models, Patient(), width=TREE, overlap=Way("sequential")).ask(bad, QUESTION)
    beside = Speculator(models, Patient(), width=TREE, overlap=Way("thread"))
    answer = beside.ask(bad, QUESTION, max_new_tokens=16)
    assert answer.tokens == plain
    assert "planted" in answer.warnings[0]


@pytest.mark.parametrize("side", [InTurn, InThread])
def test_a_model_that_is_not_there_is_a_failure_too(side: Any) -> None:
    def model() -> Target:
        raise MemoryError("no room for weights")

    words, warning = words_of(side(model), MadeScene())
    assert words == ()
    assert warning is not None and "no room for weights" in warning


def test_a_thread_that_hangs_makes_nobody_wait(models: PairModels, plain: tuple[int, ...]) -> None:
    gate = Gate(models.drafter)
    side = InThread(model_of(gate), patience_ms=60_000)
    with Speculator(models, DrafterText(), width=TREE, overlap=side) as speculator:
        for _ in range(2):  # it may be slow: nothing is said of it yet
            answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=16)
            assert (answer.tokens, answer.warnings) == (plain, ())
            assert sum(answer.drafted) == 0
        assert gate.reached.wait(60)
        side._patience_ms = 0.0
        answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=16)
        assert answer.tokens == plain
        assert "still hangs" in answer.warnings[0]
        gate.opened.set()
        until(lambda: side._now is None)
        assert gate.opens == 1, "what came and went meanwhile is not begun"
        assert words_of(side, MadeScene()) == (own_words(models.drafter, MadeScene()), None)


def test_the_question_that_waits_is_answered_when_the_thread_is_free(models: PairModels) -> None:
    gate, scene = Gate(models.drafter), MadeScene()
    side = InThread(model_of(gate))
    _, first = begun(side, scene)
    assert gate.reached.wait(60)
    first.end()
    stream, second = begun(side, scene)
    side.forget()  # does not take the picture away from the one that waits
    assert not stream.closed
    gate.opened.set()
    until(lambda: stream.closed)
    assert (stream.own, second.warning) == (own_words(models.drafter, scene), None)
    side.close()


def test_a_thread_ends_behind_its_token_when_nobody_reads(models: PairModels) -> None:
    side = InThread(lambda: models.drafter)
    stream, own = begun(side, MadeScene(), most=400)
    until(lambda: len(stream.own) > 0)
    own.end()
    side.close()
    assert side._thread is not None and not side._thread.is_alive()
    assert 0 < len(stream.own) < 400
    assert stream.closed


def test_words_come_from_whoever_was_given_and_unwanted_ways_are_ended(
    models: PairModels,
) -> None:
    side = InThread(lambda: models.drafter)
    words = EventWords(models, side)
    assert words.side(Way("thread", False)) is side
    other = words.side(Way("sequential"))
    words.keep(Way("thread"))
    assert words.side(Way("sequential")) is not other
    assert words.side(Way("thread")) is side
    alone = EventWords(Loaded(models.target, models.drafter))
    with pytest.raises(InputError, match="a process of its own"):
        alone.side(Way("process"))
    stream, own = words.begin(Way("none"), MadeScene(), QUESTION, 5, 0.0)
    assert (stream.snapshot().closed, stream.own, own) == (True, (), None)
