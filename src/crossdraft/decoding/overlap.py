"""Who runs the event model, and when: before the target, beside it in a thread, or in a process.

    with_words = InThread(lambda: event_model)
    own = with_words.begin(scene, question, 50, stream, now_ms())   # returns at once
    ...                                                             # drafters read the stream
    own.end()                                                       # nobody reads it any more

A thread has a CUDA stream of its own, and serves models on devices of their own as well. On a CPU
threads share the interpreter and its cores; there a process is the way (`overlap_process.py`).
Whatever happens to the event model beside the target costs its drafts and nothing else.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from crossdraft.base.clock import Spans, beside, waiting
from crossdraft.base.errors import CrossdraftError
from crossdraft.decoding.event_model import EventModel
from crossdraft.decoding.overlap_given import PATIENCE_MS, Given, without_drafts
from crossdraft.decoding.stream import AnswerStream
from crossdraft.vlm.target import Target

Mode = Literal["none", "sequential", "thread", "process"]
MODES: tuple[Mode, ...] = ("none", "sequential", "thread", "process")
#: Those in which the event model works while the target does.
OVERLAPPED: tuple[Mode, ...] = ("thread", "process")


class Way(NamedTuple):
    """How the event model takes part.

    Attributes:
        mode: `none` is not to ask it.
        goes_on: whether it goes on while the target decodes, or ends with the prefill.
    """

    mode: Mode
    goes_on: bool = True

    def __str__(self) -> str:
        return self.mode + ("" if self.goes_on or self.mode not in OVERLAPPED else ":prefill")

    @classmethod
    def parse(cls, text: str) -> Way:
        """What `str` gave.

        Raises:
            ValueError: something else.
        """
        mode, colon, until = text.partition(":")
        for known in MODES:
            if mode == known and (not colon or (until == "prefill" and known in OVERLAPPED)):
                return cls(known, not colon)
        raise ValueError(text)


class OwnAnswer(Protocol):
    """One answer of the event model while it is given.

    Attributes:
        spans: its stages so far, on the clock of the question.
        warning: what kept it from being given whole; None where nothing did.
    """

    spans: Spans
    warning: str | None

    def end(self) -> None:
        """Nobody reads it any more: stop where that is possible. Does not wait."""
        ...

    def follow(self, answer: Sequence[int], first: int) -> Tensor | None:
        """The event model's states over the target's words, by one pass over what is new.

        The first call ends its own answer where that is; what it has read of it and the target
        says too, is not read again. Waits for the token that it is at, never for its first one.

        Args:
            answer: the target's words, and drafts behind them.
            first: row from which states are wanted.

        Returns:
            [len(answer) + 1 - first, hidden] float32 on the host; None where it cannot follow, not
            yet, or not any more.
        """
        ...


class EventSide(Protocol):
    """Runs the event model for one question after another."""

    @property
    def mode(self) -> Mode:
        """How."""
        ...

    def begin(
        self,
        scene: Any,
        question: str | Sequence[int],
        most: int,
        stream: AnswerStream,
        origin_ms: float,
    ) -> OwnAnswer:
        """Have a question answered into a stream.

        Args:
            most: tokens at most.
            origin_ms: moment of `now_ms` that spans and arrivals count from.
        """
        ...

    def forget(self) -> None:
        """Forget the scene that was read last."""
        ...

    def close(self) -> None:
        """Give back the memory of scenes, and end what runs."""
        ...


class InTurn:
    """The event model answers whole before the target begins."""

    mode: Mode = "sequential"

    def __init__(self, model: Callable[[], Target]) -> None:
        self._model, self._asked = model, EventModel()

    def begin(
        self,
        scene: Any,
        question: str | Sequence[int],
        most: int,
        stream: AnswerStream,
        origin_ms: float,
    ) -> Given:
        """See `EventSide.begin`.

        Raises:
            InputError: the scene or the question cannot be read.
        """
        given = Given(stream, origin_ms)
        try:
            given.fill(self._asked.of(self._model()), scene, question, most)
        except CrossdraftError:
            raise  # the call was wrong, and nothing has been answered yet
        except Exception as error:  # whatever it was, the target can answer
            stream.close()
            self._asked.forget()
            given.failed(error)
        return given

    def forget(self) -> None:
        """See `EventSide.forget`."""
        self._asked.forget()

    def close(self) -> None:
        """See `EventSide.close`."""
        self.forget()


class _Job(NamedTuple):
    """A question for the thread, and who is asked."""

    given: Given
    asked: EventModel
    scene: Any
    question: str | Sequence[int]
    most: int


class InThread:
    """The event model answers in a thread, on a CUDA stream of its own where it is on a GPU.

    A question that comes while it is still at a token of an earlier one waits for that in the
    thread; the target does not.

    Args:
        model: gives the event model; called in the thread.
        patience_ms: after that, an answer that nobody reads and that does not end counts as hung.
    """

    mode: Mode = "thread"

    def __init__(self, model: Callable[[], Target], *, patience_ms: float = PATIENCE_MS) -> None:
        self._model, self._asked, self._patience_ms = model, EventModel(), patience_ms
        self._streams: dict[torch.device, torch.cuda.Stream] = {}
        self._thread: threading.Thread | None = None
        #: Guards what follows: what the thread is at, and what it goes on with.
        self._lock = threading.Lock()
        self._now: _Job | None = None
        self._next: _Job | None = None

    def begin(
        self,
        scene: Any,
        question: str | Sequence[int],
        most: int,
        stream: AnswerStream,
        origin_ms: float,
    ) -> Given:
        """See `EventSide.begin`. What goes wrong is a warning of the answer."""
        given = Given(stream, origin_ms, self._patience_ms)
        job = _Job(given, self._asked, scene, question, most)
        with self._lock:
            if self._now is not None:
                if self._now.given.hangs(self._patience_ms):
                    stream.close()
                    given.warning = without_drafts("it still hangs in an earlier question")
                else:
                    self._next = job  # one that waited there is not read any more
                return given
            self._now = job
        aside = beside()

        def work() -> None:
            with aside:
                self._work()

        self._thread = threading.Thread(target=work, daemon=True, name="event model")
        self._thread.start()
        return given

    def _work(self) -> None:
        """Answer what there is to answer."""
        while (job := self._now) is not None:
            try:
                model = self._model()
                with self._on_a_stream(model.device):
                    job.given.fill(job.asked.of(model), job.scene, job.question, job.most)
            except BaseException as error:  # a thread has nobody to raise to
                job.asked.forget()
                job.given.failed(error)
                job.given.stream.close()
            with self._lock:
                self._now, self._next = self._next, None

    @contextlib.contextmanager
    def _on_a_stream(self, device: torch.device) -> Iterator[None]:
        """One stream for all questions: what a picture left on it is in order for the next."""
        if device.type != "cuda":
            yield
            return
        if device not in self._streams:
            torch.cuda.synchronize(device)  # weights that are still on their way
            self._streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._streams[device]):
            yield

    def forget(self) -> None:
        """See `EventSide.forget`."""
        self._asked = EventModel()  # the thread may still be at the one before

    def close(self) -> None:
        """See `EventSide.close`."""
        self.forget()
        if self._thread is not None:
            with waiting():
                self._thread.join(self._patience_ms / 1e3)
