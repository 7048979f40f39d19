"""One answer of the event model while it is given, and what is said of one that fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.clock import Spans, now_ms, waiting
from crossdraft.base.errors import CrossdraftError, gist
from crossdraft.decoding.event_model import EventModel
from crossdraft.decoding.stream import AnswerStream
from crossdraft.vlm.drafting import Follower

#: How long the event model may go on with an answer that nobody reads any more before it counts as
#: hung.
PATIENCE_MS = 5_000.0


class Given:
    """An answer that runs somewhere, and how far it got."""

    def __init__(
        self, stream: AnswerStream, origin_ms: float, patience_ms: float = PATIENCE_MS
    ) -> None:
        self.spans, self.stream = Spans(origin_ms), stream
        self._patience_ms = patience_ms
        self._reading: Follower | None = None
        self._filled, self._lost = threading.Event(), False
        self.warning: str | None = None
        self.unread = threading.Event()
        self._ended_ms: float | None = None

    def end(self) -> None:
        """See `OwnAnswer.end`."""
        if self._ended_ms is None:
            self._ended_ms = now_ms()
        self.unread.set()

    def hangs(self, patience_ms: float) -> bool:
        """Whether nobody has been reading it for longer than that."""
        return self._ended_ms is not None and now_ms() - self._ended_ms > patience_ms

    def fill(self, model: EventModel, scene: Any, question: str | Sequence[int], most: int) -> None:
        """Append what the model says until it has ended or nobody reads it; then close."""
        try:
            if self.unread.is_set():  # it came too late to be begun
                return
            reading = model.reading(scene, question, self.spans)
            for arrival in reading.speak(most, model.eos_ids, self.spans.origin_ms):
                if self.unread.is_set():
                    break
                states = arrival.state[None] if self.stream.keeps_states else None
                self.stream.append((arrival.token,), arrival.arrival_ms, states)
            if self.stream.followed:
                self._reading = reading
        finally:
            self.stream.close()
            self._filled.set()

    def failed(self, error: BaseException) -> None:
        """Note why there are no more drafts of it."""
        self.warning = without_drafts(told(error))

    def follow(self, answer: Sequence[int], first: int) -> Tensor | None:
        """See `OwnAnswer.follow`."""
        if self.stream.look is not None:
            self.stream.look()
        # It has not read its own picture yet: the target does not wait for that.
        if self._lost or not self.stream.own:
            return None
        self.end()
        try:
            return self._states(answer, first)
        except ValueError:  # ids that it does not know
            return None
        except Exception as error:  # whatever it was, the target can answer
            self.lose(told(error))
            return None

    def lose(self, why: str) -> None:
        """It does not follow any more."""
        self._lost, self._reading = True, None
        self.warning = self.warning or without_drafts(why)

    def _states(self, answer: Sequence[int], first: int) -> Tensor | None:
        """[len(answer) + 1 - first, hidden]; None where it has stopped with an error.

        Raises:
            Exception: whatever reading raises.
        """
        if not self._filled.is_set():  # it is at its next token
            with waiting():
                self._filled.wait(self._patience_ms / 1e3)
        if not self._filled.is_set():
            self.lose("it hangs in its own answer")
        reading = self._reading
        return None if reading is None else states_over(reading, answer, first)


def states_over(reading: Follower, answer: Sequence[int], first: int) -> Tensor:
    """[len(answer) + 1 - first, hidden] float32, on the host: states over an answer, from `first`.

    Raises:
        InputError, ValueError: as `Follower.follow`.
    """
    reading.follow(answer)
    return reading.states[first:].detach().to("cpu", torch.float32)


def without_drafts(why: str) -> str:
    """The warning of an answer whose event model failed."""
    return f"the event model failed, the answer goes on without its words: {why}"


def told(error: BaseException) -> str:
    """One line about an error."""
    if isinstance(error, CrossdraftError):
        return str(error).splitlines()[0]
    name, why = type(error).__name__, gist(error)
    return name if why == name else f"{name}: {why}"
