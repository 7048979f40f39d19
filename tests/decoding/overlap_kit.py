"""What tests of the event model beside the target share: a pair, scenes that misbehave, a drafter
that waits for words, and one that always says what it should."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding.event_model import EventModel
from crossdraft.decoding.overlap import EventSide, OwnAnswer
from crossdraft.decoding.stream import AnswerStream
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.target import Target
from tests.bench.tiny_pair import QUESTION, write_pair

#: Real seconds after which a test gives up.
LIMIT_S = 60.0


def float64_pair(folder: Path) -> ModelPair:
    """The tiny pair, in double precision."""
    return ModelPair.find(
        str(write_pair(folder)), ("target.dtype=float64", "drafter.dtype=float64")
    )


class Loaded:
    """Models that were loaded elsewhere."""

    def __init__(self, target: Any, drafter: Any) -> None:
        self.target, self.drafter = target, drafter


class Planted(MadeScene):
    """A scene whose events end badly, in any process but this one if it says so."""

    def __init__(self, error: type[BaseException], *, elsewhere: bool = True) -> None:
        self.error, self.home = error, os.getpid() if elsewhere else None

    def events(self) -> Any:
        if os.getpid() == self.home:
            return super().events()
        raise self.error("planted")


class Fatal(MadeScene):
    """A scene that ends every process that reads it."""

    def events(self) -> Any:
        os._exit(7)


class Unreadable(MadeScene):
    """A scene that can be sent, and not be put together again."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise InputError("planted where it is put together")


class Patient(DrafterText):
    """Drafts the event model's words, and begins only when all of them are there."""

    def begin(self, context: Context) -> None:
        until(lambda: context.stream.snapshot().closed)
        super().begin(context)


class Knows(Drafter):
    """Proposes given words as far as the event model has said as many, and keeps how many it had
    said whenever it was asked."""

    name = "knows"
    needs = frozenset({"draft_tokens"})

    def __init__(self, words: Sequence[int]) -> None:
        self.words, self.saw = tuple(words), list[tuple[float, int]]()

    def begin(self, context: Context) -> None:
        self._stream = context.stream

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        there = len(self._stream.snapshot().tokens)
        self.saw.append((now_ms(), there))
        known = self.words[:there][len(prefix) :]
        return DraftTree.chain(known[: min(budget.nodes, budget.depth)], source=self.name)


def until(done: Callable[[], bool]) -> None:
    """Wait for something that is sure to come."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < LIMIT_S, "it never came"
        time.sleep(0.002)


def begun(side: EventSide, scene: Any, most: int = 8) -> tuple[AnswerStream, OwnAnswer]:
    """A question that somebody has been asked."""
    stream = AnswerStream()
    return stream, side.begin(scene, QUESTION, most, stream, now_ms())


def words_of(side: EventSide, scene: Any, most: int = 8) -> tuple[tuple[int, ...], str | None]:
    """What somebody says about a scene, and the warning."""
    stream, own = begun(side, scene, most)
    until(lambda: stream.snapshot().closed)
    own.end()
    return stream.own, own.warning


def own_words(model: Target, scene: Any, most: int = 8) -> tuple[int, ...]:
    """What an event model says about a scene."""
    answer = EventModel().of(model).answer(scene, QUESTION, most, Spans())
    return tuple(one.token for one in answer)
