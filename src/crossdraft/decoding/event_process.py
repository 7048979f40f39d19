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
from queue import Queue, SimpleQueue
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossdraft.base.clock import Span, Spans
from crossdraft.decoding.event_model import EventModel
from crossdraft.decoding.overlap_given import states_over, told
from crossdraft.vlm.drafting import Arrival, Follower
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.target import Target


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
        states: whether the state behind each word is sent, too.
        followed: whether `Follow` may come behind it.
    """

    number: int
    scene: bytes
    question: str | Sequence[int]
    most: int
    origin_ms: float
    states: bool = False
    followed: bool = False


@dataclass(frozen=True)
class Enough:
    """The answer to a question is not read any more."""

    number: int


@dataclass(frozen=True)
class Follow:
    """Read the target's words behind a question, whose own answer ends here.

    Attributes:
        first: row from which states are wanted.
    """

    number: int
    answer: tuple[int, ...]
    first: int


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
    states: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Over:
    """The answer has ended, or is given up; `error`: what kept it from being given whole."""

    number: int
    spans: tuple[Span, ...]
    error: str | None = None


@dataclass(frozen=True, eq=False)
class Read:
    """States from the row that was asked for on, [n, hidden]; None: ids that the model does not
    know, or `error`."""

    number: int
    spans: tuple[Span, ...]
    states: NDArray[np.float32] | None
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
                if isinstance(message, Enough | Follow):
                    self.enough = max(self.enough, message.number)
                elif isinstance(message, Ask):
                    self.enough = max(self.enough, message.number - 1)
                if not isinstance(message, Enough):
                    self._queue.put(message)
        except (EOFError, OSError):
            os._exit(0)  # nobody is there to read what is being computed

    def next(self) -> Ask | Follow | Forget:
        message: Ask | Follow | Forget = self._queue.get()
        return message


class _Outbox:
    """Messages to the parent, sent as it takes them. It takes none during a pass of the target, and
    states would fill the socket: the model must not wait for that."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._queue = pipe, Queue[Any]()
        threading.Thread(target=self._give, daemon=True).start()

    def send(self, message: Any) -> None:
        self._queue.put(message)

    def flush(self) -> None:
        """Wait until all is sent."""
        self._queue.join()

    def _give(self) -> None:
        try:
            while True:
                self._pipe.send(self._queue.get())
                self._queue.task_done()
        except OSError:
            os._exit(0)  # nobody is there to read what is being computed


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


class _Answers:
    """The model, and what it has read of the last question."""

    def __init__(self, model: Target, inbox: _Inbox, outbox: _Outbox) -> None:
        self._model, self._inbox, self._outbox = model, inbox, outbox
        self._asked, self._scenes = EventModel(), _Scenes()
        self._number = -1
        self._reading: Follower | None = None
        self._spans, self._sent = Spans(), 0

    def forget(self) -> None:
        """Give back the memory of the last scene."""
        self._asked.forget()
        self._scenes.forget()
        self._reading = None

    def answer(self, ask: Ask) -> None:
        """Say the model's own answer, until it is not read any more."""
        self._reading, self._number = None, ask.number
        self._spans, self._sent = Spans(ask.origin_ms), 0
        error = None
        try:
            for one in self._words(ask):
                if self._inbox.enough >= ask.number:
                    break
                state = one.state[None].to("cpu", torch.float32).numpy() if ask.states else None
                said = Words(ask.number, (one.token,), one.arrival_ms, self._since(), state)
                self._outbox.send(said)
        except Exception as raised:  # too little memory, a scene that cannot be read: the next may
            self.forget()
            error = told(raised)
        if not ask.followed:
            self._reading = None
        self._outbox.send(Over(ask.number, self._since(), error))

    def follow(self, told_to: Follow) -> None:
        """Read the target's words."""
        states, error = None, None
        try:
            if self._reading is None or told_to.number != self._number:
                error = "it has stopped"
            else:
                rows = states_over(self._reading, told_to.answer, told_to.first)
                states = rows.numpy()
        except ValueError:  # ids that it does not know
            pass
        except Exception as raised:
            self.forget()
            error = told(raised)
        self._outbox.send(Read(told_to.number, self._since(), states, error))

    def _words(self, ask: Ask) -> Iterator[Arrival]:
        if self._inbox.enough >= ask.number:  # it came while another one was answered
            return iter(())
        asked = self._asked.of(self._model)
        scene = self._scenes.of(ask.scene)
        self._reading = asked.reading(scene, ask.question, self._spans)
        return self._reading.speak(ask.most, asked.eos_ids, ask.origin_ms)

    def _since(self) -> tuple[Span, ...]:
        """Stages since the last message."""
        new, self._sent = tuple(self._spans.spans[self._sent :]), len(self._spans.spans)
        return new


def serve(pipe: Connection) -> None:
    """Load what the first message names, then answer until the parent is gone."""
    start: Start = pipe.recv()
    if start.cores is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, start.cores)  # threads that are started later inherit it
    inbox, outbox = _Inbox(pipe), _Outbox(pipe)
    torch.set_num_threads(start.threads)
    try:
        model = PairModels(start.pair, ("drafter",)).drafter
    except Exception as error:  # whatever it is, the parent has to know
        outbox.send(Unable(told(error)))
        outbox.flush()
        return
    outbox.send(Ready())
    outbox.flush()
    answers = _Answers(model, inbox, outbox)
    while True:
        message = inbox.next()
        if isinstance(message, Forget):
            answers.forget()
        elif isinstance(message, Follow):
            answers.follow(message)
        else:
            answers.answer(message)


def main() -> None:
    """Serve the socket whose number is the argument."""
    pipe = Connection(int(sys.argv[1]))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        serve(pipe)
