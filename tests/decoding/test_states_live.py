"""Drafters that read states, live: the target's own answer, and the states that are recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from crossdraft.base.clock import now_ms
from crossdraft.bench.lossless import chain, tree, verify_lossless
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.overlap import EventSide, InThread, InTurn, Way
from crossdraft.decoding.overlap_process import InProcess
from crossdraft.decoding.replay import replay
from crossdraft.decoding.speculator import Speculator
from crossdraft.decoding.stream import AnswerStream
from crossdraft.drafters.base import DRAFT_STATES, FORCED_STATES, TARGET_STATES, Budget
from crossdraft.drafters.registry import LADDER
from crossdraft.pairs.record import Pair
from crossdraft.vlm.drafting import Follower
from crossdraft.vlm.live_head import head_of
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import QUESTION
from tests.decoding.overlap_kit import Loaded, float64_pair, until
from tests.decoding.states_kit import Reader, apart, cat, recorded
from tests.drafters.ladder.test_drafting import level

MOST = 12
ALL = (DRAFT_STATES, FORCED_STATES, TARGET_STATES)
NEEDS = [*((need,) for need in ALL), ALL]
WIDTHS = [Budget.chain(3), Budget.tree(8, 4)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> PairModels:
    return PairModels(float64_pair(tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def pair(models: PairModels) -> Pair:
    return recorded(models.target, models.drafter, MadeScene(), MOST)


@pytest.fixture(scope="module")
def sides(models: PairModels) -> Iterator[dict[str, EventSide]]:
    process = InProcess(models.pair)
    assert process.wait_until_ready()
    thread = InThread(lambda: models.drafter)
    yield {"sequential": InTurn(lambda: models.drafter), "thread": thread, "process": process}
    process.close()
    thread.close()


class Patient(Reader):
    """Begins only when the event model's own answer is there."""

    def begin(self, context: Any) -> None:
        until(lambda: context.stream.snapshot().closed)
        super().begin(context)


@pytest.mark.parametrize("mode", ["sequential", "thread", "process"])
@pytest.mark.parametrize("needs", NEEDS, ids="+".join)
def test_the_answer_is_the_targets_own_and_states_are_those_of_extraction(
    models: PairModels, sides: dict[str, EventSide], pair: Pair, needs: Sequence[str], mode: str
) -> None:
    assert pair.thoughts is not None
    for width in WIDTHS:
        drafter = Patient(*needs)
        with_words = mode if {DRAFT_STATES, FORCED_STATES} & drafter.needs else "none"
        side = sides[mode] if with_words == mode else None
        speculator = Speculator(models, drafter, width=width, overlap=side or Way("none"))
        answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
        assert (answer.tokens, answer.warnings) == (pair.target_tokens, ())
        assert sum(answer.drafted) > 0
        if DRAFT_STATES in needs:
            assert drafter.own is not None
            assert drafter.own.dtype == torch.float32
            assert len(drafter.own) == len(pair.draft_tokens)
            assert apart(drafter.own, pair.thoughts.states("own")) < 1e-5
        for prefix, states in drafter.followed.items():
            assert states is not None
            assert len(states) == len(prefix) + 1
            assert apart(states, pair.thoughts.states("forced")[: len(prefix) + 1]) < 1e-5
        if TARGET_STATES in needs:
            assert apart(cat(drafter.rows), pair.thoughts.states("target")) < 1e-5
        assert bool(drafter.followed) == (FORCED_STATES in needs)


def test_each_word_is_read_once(models: PairModels, pair: Pair, monkeypatch: Any) -> None:
    """One pass of the event model over what is new; nothing where all was read."""
    read: list[tuple[int, ...]] = []
    follow = Follower.follow

    def noted(self: Follower, words: Sequence[int]) -> None:
        read.append(tuple(words))
        follow(self, words)

    monkeypatch.setattr(Follower, "follow", noted)
    drafter = Reader(FORCED_STATES)
    speculator = Speculator(models, drafter, width=Budget.chain(3), overlap=Way("sequential"))
    answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
    assert answer.tokens == pair.target_tokens
    assert len(read) == len(set(read)) > 1
    assert answer.drafter_spans is not None
    # Each is paid for where drafts are paid for, on the clock of the answer.
    last = [span for span in answer.drafter_spans.spans if span.name == "decode"][-1]
    drafting = [span for span in answer.spans.spans if span.name == "draft"]
    assert any(d.start_ms <= last.start_ms and last.end_ms <= d.end_ms for d in drafting)


def test_a_process_is_heard_by_following_alone(sides: dict[str, EventSide]) -> None:
    """Nobody else need look for its first word."""
    stream = AnswerStream(needs=frozenset({FORCED_STATES}))
    own = sides["process"].begin(MadeScene(), QUESTION, MOST, stream, now_ms())
    until(lambda: own.follow((3, 4), 0) is not None)


def test_without_following_its_own_answer_goes_on(models: PairModels, pair: Pair) -> None:
    drafter = Reader(DRAFT_STATES, FORCED_STATES)
    speculator = Speculator(
        models, drafter, width=Budget.chain(3), overlap=Way("sequential"), follows=False
    )
    answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
    assert answer.tokens == pair.target_tokens
    assert not drafter.followed


@pytest.mark.parametrize("name", LADDER)
@pytest.mark.parametrize("mode", ["sequential", "thread", "process"])
def test_levels_of_the_ladder_draft_live_what_they_draft_in_a_replay(
    models: PairModels, sides: dict[str, EventSide], pair: Pair, name: str, mode: str
) -> None:
    """All of its own answer there from the beginning, as in the replay."""
    drafter = level(name, [pair])
    reads = {DRAFT_STATES, FORCED_STATES} & drafter.needs
    if not reads and mode != "sequential":
        pytest.skip("reads no event model")
    begin = drafter.begin

    def patient(context: Any) -> None:
        until(lambda: context.stream.snapshot().closed)
        begin(context)

    drafter.begin = patient  # type: ignore[method-assign]
    for width in WIDTHS if mode == "sequential" else WIDTHS[:1]:
        side = sides[mode] if reads else Way("none")
        speculator = Speculator(models, drafter, width=width, overlap=side)
        answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
        assert (answer.tokens, answer.warnings) == (pair.target_tokens, ())
        again = level(name, [pair])
        again.network = drafter.network
        if width.branch == 1:
            said = replay(again, pair, width, Arrival())
            assert sum(said.drafted) > 0
            assert said.accepted == answer.accepted


class Broken:
    """An event model that fails when it is to read somebody else's words."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *_: Any) -> Tensor:
        raise self.error


def test_a_follower_that_fails_costs_its_drafts(
    models: PairModels, pair: Pair, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Follower, "follow", Broken(RuntimeError("planted")))
    drafter = Reader(FORCED_STATES)
    both = Loaded(models.target, models.drafter)
    speculator = Speculator(both, drafter, width=Budget.chain(3), overlap=Way("sequential"))
    answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
    assert answer.tokens == pair.target_tokens
    assert ["planted" in text for text in answer.warnings] == [True]
    assert set(drafter.followed.values()) == {None}


def test_a_process_that_dies_costs_its_drafts(models: PairModels, pair: Pair) -> None:
    side = InProcess(models.pair)
    assert side.wait_until_ready()

    class Killing(Patient):
        def begin(self, context: Any) -> None:
            super().begin(context)
            if context.follower is not None and side._child is not None:
                side._child.process.kill()

    drafter = Killing(FORCED_STATES)
    speculator = Speculator(models, drafter, width=Budget.chain(3), overlap=side)
    answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=MOST)
    side.close()
    assert answer.tokens == pair.target_tokens
    assert len(answer.warnings) == 1
    assert set(drafter.followed.values()) == {None}


def test_the_head_is_the_models_own(models: PairModels, pair: Pair) -> None:
    session = models.target.open(MadeScene())
    step = session.ask(QUESTION)
    head = head_of(models.target)
    assert torch.equal(head.logits(step.hidden), step.logits)
    assert head.draftable == models.target.draftable


@pytest.mark.parametrize("needs", [NEEDS[0], NEEDS[-1]], ids="+".join)
def test_verify_covers_drafters_of_states(models: PairModels, needs: Sequence[str]) -> None:
    drafter = Reader(*needs)
    lines = verify_lossless(
        models, [drafter], [QUESTION], max_new_tokens=6, widths={**chain(2), **tree(8)}
    )
    next(lines)
    line: Any = next(lines)
    assert line.equal
    assert line.runs > 0
    assert all(states is not None for states in drafter.followed.values())
