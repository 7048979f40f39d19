"""The event model in a process of its own: on a CPU the only way to work beside the target.

The process is started at once and loads while the target does. Nothing here waits for it: what has
come is taken from its socket when a drafter looks, and a process that hangs, dies or runs out of
memory costs its drafts. It is started anew then, a few times; not where it cannot load its model.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.clock import now_ms, waiting
from crossdraft.decoding.event_process import (
    Ask,
    Enough,
    Follow,
    Forget,
    Over,
    Read,
    Ready,
    Start,
    Unable,
    Words,
)
from crossdraft.decoding.overlap import Mode
from crossdraft.decoding.overlap_child import Child
from crossdraft.decoding.overlap_given import PATIENCE_MS, Given, told, without_drafts
from crossdraft.decoding.stream import AnswerStream
from crossdraft.vlm.pair import ModelPair

#: Questions of which the process may not have said yet that they are over.
_UNHEARD = 2
#: A message of so many bytes fits into any socket's buffer: sending it never waits.
_SMALL = 48 * 1024
#: Processes that are started at most.
_LIVES = 4
#: How long a process may be silent before its model is loaded.
_LOADING_MS = 600_000.0


class InProcess:
    """The event model answers in another process.

    Args:
        pair: whose event model; the process loads it itself.
        threads: of its computing.
        cores: that the process may run on; None: any.
        patience_ms: how long it may be silent over a question that nobody reads any more, before
            it is ended and another one started.
    """

    mode: Mode = "process"

    def __init__(
        self,
        pair: ModelPair,
        *,
        threads: int = 1,
        cores: Sequence[int] | None = None,
        patience_ms: float = PATIENCE_MS,
    ) -> None:
        self._start = Start(pair, threads, None if cores is None else tuple(cores))
        self._patience_ms = patience_ms
        self._child: Child | None = None
        self._ready = False
        self._unable: str | None = None
        self._how = "not started"
        self._given: dict[int, Given] = {}
        self._read: Read | None = None
        self._ended_ms: dict[int, float] = {}
        self._heard_ms = now_ms()
        self._forgetful = True
        self._number = self._lives = 0
        self._revive()

    def begin(
        self,
        scene: Any,
        question: str | Sequence[int],
        most: int,
        stream: AnswerStream,
        origin_ms: float,
    ) -> Given:
        """See `EventSide.begin`. What goes wrong is a warning of the answer."""
        self.look()
        self._end_if_hung()
        if self._child is None:
            self._revive()
        self._number += 1
        given = _Asked(self, self._number, stream, origin_ms)
        stream.look = self.look
        self._given[self._number] = given
        why = self._ask(scene, question, most, given)
        if why is not None:
            given.warning = without_drafts(why)
            self._close(self._number)
        return given

    def wait_until_ready(self, limit_ms: float = _LOADING_MS) -> bool:
        """Wait for the model to be loaded, as a benchmark does; whether it is."""
        began_ms = now_ms()
        while self._child is not None and not self._ready and now_ms() - began_ms < limit_ms:
            self._child.pipe.poll(0.05)
            self.look()
        return self._ready

    def look(self) -> None:
        """Take what has come. Never waits."""
        try:
            while self._child is not None and self._child.pipe.poll():
                self._take(self._child.pipe.recv())
        except (EOFError, OSError, pickle.UnpicklingError):
            self._died()

    def _take(self, message: Any) -> None:
        self._heard_ms = now_ms()
        if isinstance(message, Ready):
            self._ready = True
            return
        if isinstance(message, Unable):
            self._unable = message.error
            self._died()
            return
        if isinstance(message, Read):
            self._read = message
            return
        given = self._given.get(message.number)
        if given is None:
            return
        given.spans.spans.extend(message.spans)
        if isinstance(message, Words):
            if not given.stream.closed:
                states = None if message.states is None else torch.from_numpy(message.states)
                given.stream.append(message.tokens, message.arrival_ms, states)
        elif isinstance(message, Over):
            if message.error is not None:
                given.warning = without_drafts(message.error)
            self._close(message.number)

    def _ask(
        self, scene: Any, question: str | Sequence[int], most: int, given: Given
    ) -> str | None:
        """Hand the question over; why it could not be."""
        if self._child is None:
            often = " too often" if self._lives >= _LIVES else ""
            return self._unable or f"its process ended{often} ({self._how})"
        if len(self._given) > _UNHEARD:
            return "it is still busy with earlier questions"
        try:
            pickled = pickle.dumps(scene)
        except Exception as error:  # whatever a scene is made of
            return f"the scene cannot be sent to another process ({type(error).__name__})"
        if len(pickled) > _SMALL and (not self._ready or len(self._given) > 1):
            return "the scene is large, and its process is not there to take it yet"
        self._forgetful = False
        stream, origin_ms = given.stream, given.spans.origin_ms
        wanted = stream.keeps_states, stream.followed
        if not self._send(Ask(self._number, pickled, question, most, origin_ms, *wanted)):
            return f"its process ended ({self._how})"
        return None

    def _send(self, message: Any) -> bool:
        """Whether the process is there to take a message."""
        if self._child is None:
            return False
        try:
            self._child.pipe.send(message)
        except OSError:
            self._died()
            return False
        return True

    def ended(self, number: int) -> None:
        """Nobody reads an answer any more."""
        self.look()
        if number in self._given and number not in self._ended_ms:
            self._ended_ms[number] = now_ms()
            self._send(Enough(number))

    def follow(self, number: int, answer: Sequence[int], first: int) -> Read | str:
        """States over the target's words; why there are none, where the process is gone. One that
        does not answer in time is ended."""
        self._read = None
        sent = self._send(Follow(number, tuple(answer), first))
        began_ms = now_ms()
        while sent and self._child is not None and self._read is None:
            if now_ms() - began_ms > self._patience_ms:
                self._died()
                break
            with waiting():
                self._child.pipe.poll(0.05)
            self.look()
        read, self._read = self._read, None
        return read or f"its process ended ({self._how})"

    def _close(self, number: int) -> None:
        given = self._given.pop(number, None)
        self._ended_ms.pop(number, None)
        if given is not None:
            given.stream.look = None
            given.stream.close()

    def _end_if_hung(self) -> None:
        if not self._ended_ms:
            return
        since_ms = max(self._heard_ms, min(self._ended_ms.values()))
        patience_ms = _LOADING_MS if not self._ready else self._patience_ms
        if now_ms() - since_ms > patience_ms:
            self._died()

    def _died(self) -> None:
        """The process is gone, or has to go: its answers end here."""
        child, self._child, self._ready = self._child, None, False
        why = self._unable
        if child is not None:
            self._how = child.end()
            why = why or f"its process ended ({self._how})"
        for number, given in list(self._given.items()):
            given.warning = without_drafts(why or "its process ended")
            self._close(number)

    def _revive(self) -> None:
        """Start a process, unless too many have died or it cannot load its model."""
        if self._lives >= _LIVES or self._unable is not None:
            return
        self._lives += 1
        try:
            self._child = Child(self._start.threads)
        except OSError as error:
            self._how = told(error)
            return
        self._heard_ms, self._forgetful = now_ms(), True
        self._send(self._start)

    def forget(self) -> None:
        """Forget the scene that was read last."""
        self.look()
        if not self._forgetful:  # once: a process that loads reads nothing yet
            self._forgetful = True
            self._send(Forget())

    def close(self) -> None:
        """End the process; the next question would start another."""
        if self._child is not None:
            self._died()
            self._lives -= 1


class _Asked(Given):
    """An answer of the process."""

    def __init__(
        self, side: InProcess, number: int, stream: AnswerStream, origin_ms: float
    ) -> None:
        super().__init__(stream, origin_ms)
        self._side, self._number = side, number

    def end(self) -> None:
        """See `OwnAnswer.end`."""
        self._side.ended(self._number)

    def _states(self, answer: Sequence[int], first: int) -> Tensor | None:
        read = self._side.follow(self._number, answer, first)
        if isinstance(read, str):
            self.lose(read)
            return None
        self.spans.spans.extend(read.spans)
        if read.error is not None:
            self.lose(read.error)
        return None if read.states is None else torch.from_numpy(read.states)
