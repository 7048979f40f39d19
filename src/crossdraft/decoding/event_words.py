"""The event model's words for one answer after another: which way they come, and in whose tokens.

Between the decoding loop, which reads a stream, and the sides that fill it (`overlap.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from crossdraft.base.errors import InputError
from crossdraft.decoding.models import Models, bridge_to, tokenizer_of
from crossdraft.decoding.overlap import EventSide, InThread, InTurn, OwnAnswer, Way
from crossdraft.decoding.overlap_process import InProcess
from crossdraft.decoding.stream import AnswerStream
from crossdraft.vlm.model_config import model_config
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge


class EventWords:
    """Has the event model answer, one way or another.

    Args:
        models: the pair.
        side: who runs the event model; None: made for the way that is asked for.
    """

    def __init__(self, models: Models, side: EventSide | None = None) -> None:
        self._models, self._given = models, side
        self._sides: dict[str, EventSide] = {} if side is None else {side.mode: side}

    @property
    def pair(self) -> ModelPair | None:
        """Where the models come from; None of models that were loaded elsewhere."""
        return self._models.pair if isinstance(self._models, PairModels) else None

    def side(self, way: Way) -> EventSide:
        """Who runs the event model this way. A process is started by the first call.

        Raises:
            InputError: a process for models that are in this one.
        """
        if way.mode not in self._sides:
            self._sides[way.mode] = self._made(way)
        return self._sides[way.mode]

    def begin(
        self,
        way: Way,
        scene: Any,
        question: str | Sequence[int],
        most: int,
        origin_ms: float,
        needs: frozenset[str] = frozenset(),
    ) -> tuple[AnswerStream, OwnAnswer | None]:
        """The stream of an answer, and the answer itself; none and a closed stream where the event
        model takes no part.

        Args:
            needs: of the drafter that will read it, see `AnswerStream`.

        Raises:
            InputError: it answers before the target, and cannot read the scene or the question.
        """
        if way.mode == "none":
            return silent(), None
        side = self.side(way)
        stream = AnswerStream(self.bridge, needs=needs)
        return stream, side.begin(scene, question, most, stream, origin_ms)

    @cached_property
    def bridge(self) -> TokenizerBridge | None:
        """From the event model's tokens to the target's; its weights are not needed."""
        target, pair = self._models.target, self.pair
        if pair is None or "process" not in self._sides:
            source = self._models.drafter
            return bridge_to(target, tokenizer_of(source), source.decoder.vocabulary)
        tokenizer = PairModels(pair).tokenizers()[0]
        config = model_config(pair.drafter.place("drafter"))
        vocabulary = int(config.get_text_config(decoder=True).vocab_size)
        return bridge_to(target, tokenizer, vocabulary)

    def wait_until_ready(self, way: Way) -> None:
        """Wait for a process to have loaded its model, as measurements do; nothing else waits."""
        if way.mode != "process":
            return
        side = self.side(way)
        if isinstance(side, InProcess):
            side.wait_until_ready()

    def prepare(self, way: Way) -> None:
        """Have ready what the first answer would wait for: a process, and the way from one model's
        tokens to the other's."""
        self.wait_until_ready(way)
        _ = self.bridge

    def keep(self, way: Way) -> None:
        """End what runs in any other way."""
        for mode in [mode for mode in self._sides if mode != way.mode]:
            self._sides.pop(mode).close()

    def forget_scene(self) -> None:
        """Forget the scene that was read last."""
        for side in self._sides.values():
            side.forget()

    def close(self) -> None:
        """Give back the memory of scenes, and end what runs."""
        for side in self._sides.values():
            side.close()

    def _made(self, way: Way) -> EventSide:
        if way.mode == "thread":
            return InThread(lambda: self._models.drafter)
        if way.mode == "sequential":
            return InTurn(lambda: self._models.drafter)
        if self.pair is None:
            raise InputError(
                "a process of its own for an event model that is loaded in this one",
                where="overlap",
                expected="a pair's name or file, of which the process loads its model",
                hint="sequential or thread",
            )
        return InProcess(self.pair)


def silent() -> AnswerStream:
    """The stream of an event model that says nothing."""
    stream = AnswerStream()
    stream.close()
    return stream


def ways_of(models: Models, cores: int) -> tuple[Way, ...]:
    """The ways that could be the fastest one here, `none` among them.

    Args:
        cores: that this process may run on.
    """
    alone = (Way("none"), Way("sequential"))
    if not isinstance(models, PairModels):
        devices = {models.target.device, models.drafter.device}
        beside = torch.device("cpu") not in devices or len(devices) > 1
        return (*alone, Way("thread"), Way("thread", False)) if beside else alone
    places = {spec.device for spec in (models.pair.target, models.pair.drafter)}
    gpu = models.target.device.type != "cpu"
    found = [*alone]
    if gpu or len(places) > 1:
        found += [Way("thread"), Way("thread", False)]
    if gpu or cores > 1:
        found += [Way("process"), Way("process", False)]
    return tuple(found)
