"""One answer of the event model while it is given, and what is said of one that fails."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from crossdraft.base.clock import Spans, now_ms
from crossdraft.base.errors import CrossdraftError, gist
from crossdraft.decoding.event_model import EventModel
from crossdraft.decoding.stream import AnswerStream


class Given:
    """An answer that runs somewhere, and how far it got."""

    def __init__(self, stream: AnswerStream, origin_ms: float) -> None:
        self.spans, self.stream = Spans(origin_ms), stream
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
            for arrival in model.answer(scene, question, most, self.spans):
                if self.unread.is_set():
                    break
                self.stream.append((arrival.token,), arrival.arrival_ms)
        finally:
            self.stream.close()

    def failed(self, error: BaseException) -> None:
        """Note why there are no more drafts of it."""
        self.warning = without_drafts(told(error))


def without_drafts(why: str) -> str:
    """The warning of an answer whose event model failed."""
    return f"the event model failed, the answer goes on without its words: {why}"


def told(error: BaseException) -> str:
    """One line about an error."""
    if isinstance(error, CrossdraftError):
        return str(error).splitlines()[0]
    name, why = type(error).__name__, gist(error)
    return name if why == name else f"{name}: {why}"
