"""The other end of `overlap_process.py`: a process that holds an event model and answers questions.

It reads what it is asked from a socket that only its parent has, and ends when the parent does.
Sent back: `Ready`, then for each question its words as they come, with their stages, and `Over`;
or `Unable`, and nothing more. What it prints is kept by the parent for the day it dies.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

import torch

from crossdraft.base.clock import Span, Spans
from crossdraft.decoding.event_model import EventModel
from crossdraft.decoding.overlap_given import told
from crossdraft.vlm.drafting import Arrival
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels


@dataclass(frozen=True)
class Start:
    """The first message to the process.

    Attributes:
        pair: whose event model it holds.
        threads: of its computing.
        cores: that it may run on; None: any.
    """

    pair: ModelPair
    threads: int
    cores: tuple[int, ...] | None


@dataclass(frozen=True)
class Ask:
    """A question; the answer to the one before it is not read any more.

    Attributes:
        scene: pickled, so that one that cannot be read is this question's misfortune alone.
    """

    number: int
    scene: bytes
    question: str | Sequence[int]
    most: int
    origin_ms: float


@dataclass(frozen=True)
class Enough:
    """The answer to a question is not read any more."""

    number: int


@dataclass(frozen=True)
class Forget:
    """The scene that was read last will not be asked about again."""


@dataclass(frozen=True)
class Ready:
    """The model is loaded."""


@dataclass(frozen=True)
class Unable:
    """The model cannot be loaded; the process ends."""

    error: str


@dataclass(frozen=True)
class Words:
    """Tokens that have arrived, and the stages since the last message."""

    number: int
    tokens: tuple[int, ...]
    arrival_ms: float
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Over:
    """The answer has ended, or is given up; `error`: what kept it from being given whole."""

    number: int
    spans: tuple[Span, ...]
    error: str | None = None


class _Inbox:
    """Messages of the parent, taken from the socket as they come; the process ends with them, be it
    in the middle of loading."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._queue = pipe, SimpleQueue[Any]()
        #: Number of the last question that is not to be answered on.
        self.enough = -1
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        try:
            while True:
                message = self._pipe.recv()
                if isinstance(message, Enough):
                    self.enough = max(self.enough, message.number)
                elif isinstance(message, Forget):
                    self._queue.put(message)
                else:
                    self.enough = max(self.enough, message.number - 1)
                    self._queue.put(message)
        except (EOFError, OSError):
            os._exit(0)  # nobody is there to read what is being computed

    def next(self) -> Ask | Forget:
        message: Ask | Forget = self._queue.get()
        return message


class _Scenes:
    """The scene that came last. Sent again it is the same object, whose picture is known."""

    def __init__(self) -> None:
        self._pickled, self._scene = b"", None

    def of(self, pickled: bytes) -> Any:
        """The scene of a question."""
        if pickled != self._pickled:
            self._scene, self._pickled = pickle.loads(pickled), pickled  # noqa: S301  # the parent's
        return self._scene

    def forget(self) -> None:
        self._pickled, self._scene = b"", None


def serve(pipe: Connection) -> None:
    """Load what the first message names, then answer until the parent is gone."""
    start: Start = pipe.recv()
    if start.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, start.cores)  # threads that are started later inherit it
    inbox, asked, scenes = _Inbox(pipe), EventModel(), _Scenes()
    torch.set_num_threads(start.threads)
    try:
        model = PairModels(start.pair, ("drafter",)).drafter
    except Exception as error:  # whatever it is, the parent has to know
        pipe.send(Unable(told(error)))
        return
    pipe.send(Ready())
    while True:
        message = inbox.next()
        if isinstance(message, Forget):
            asked.forget()
            scenes.forget()
        else:
            _answer(pipe, inbox, asked.of(model), scenes, message)


def _answer(pipe: Connection, inbox: _Inbox, asked: EventModel, scenes: _Scenes, ask: Ask) -> None:
    spans, sent = Spans(ask.origin_ms), 0

    def since() -> tuple[Span, ...]:
        nonlocal sent
        new, sent = tuple(spans.spans[sent:]), len(spans.spans)
        return new

    error = None
    try:
        words: Iterator[Arrival] = iter(())
        if inbox.enough < ask.number:  # else it came while another one was answered
            words = asked.answer(scenes.of(ask.scene), ask.question, ask.most, spans)
        for one in words:
            if inbox.enough >= ask.number:
                break
            pipe.send(Words(ask.number, (one.token,), one.arrival_ms, since()))
    except Exception as raised:  # too little memory, a scene that cannot be read: the next one may
        asked.forget()
        scenes.forget()
        error = told(raised)
    pipe.send(Over(ask.number, since(), error))


def main() -> None:
    """Serve the socket whose number is the argument."""
    pipe = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(pipe)
