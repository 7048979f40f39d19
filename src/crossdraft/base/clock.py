"""The one clock.

Every time in the project comes from `now_ms` (monotonic) and every measured stretch is a `Span`,
so that two numbers in one table can be compared. Tests of scheduling put a time in its place that
passes only where they say so (`told_by`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


class Time(Protocol):
    """Where the time comes from."""

    def now_ms(self) -> float:
        """Milliseconds since some moment."""
        ...

    def beside(self) -> AbstractContextManager[None]:
        """Around what another thread is about to do at the same time. Made by the thread that
        starts it, entered by the one that does it."""
        ...

    def waiting(self) -> AbstractContextManager[None]:
        """Around waiting for another thread."""
        ...


class _Monotonic:
    """The machine's clock, which runs by itself. It is one for all processes of a machine."""

    def now_ms(self) -> float:
        return time.monotonic_ns() / 1e6

    def beside(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def waiting(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()


_time: Time = _Monotonic()


def now_ms() -> float:
    """Milliseconds of the monotonic clock; only differences mean anything."""
    return _time.now_ms()


def beside() -> AbstractContextManager[None]:
    """See `Time.beside`."""
    return _time.beside()


def waiting() -> AbstractContextManager[None]:
    """See `Time.waiting`."""
    return _time.waiting()


@contextlib.contextmanager
def told_by(other: Time) -> Iterator[None]:
    """Inside, every time of this process comes from another clock."""
    global _time
    before, _time = _time, other
    try:
        yield
    finally:
        _time = before


@dataclass(frozen=True)
class Span:
    """One measured stretch of work on one device."""

    name: str
    start_ms: float
    end_ms: float
    device: str = "cpu"

    @property
    def duration_ms(self) -> float:
        return self.end_ms - self.start_ms


@dataclass
class Spans:
    """Spans of one run, relative to the moment this object was made."""

    origin_ms: float = field(default_factory=now_ms)
    spans: list[Span] = field(default_factory=list)

    @contextlib.contextmanager
    def measure(self, name: str, device: str = "cpu") -> Iterator[None]:
        """Record the block as a span, also when it raises."""
        began_ms = now_ms()
        try:
            yield
        finally:
            self.add(name, began_ms, device)

    def add(self, name: str, began_ms: float, device: str = "cpu") -> float:
        """Record what began at a moment of `now_ms` and ends now; returns its duration."""
        ended_ms = now_ms()
        self.spans.append(Span(name, began_ms - self.origin_ms, ended_ms - self.origin_ms, device))
        return ended_ms - began_ms

    def total_ms(self, name: str) -> float:
        """Summed duration of all spans called `name`."""
        return sum(span.duration_ms for span in self.spans if span.name == name)

    def to_records(self) -> list[dict[str, Any]]:
        """Plain dictionaries, in order of start."""
        return [asdict(span) for span in sorted(self.spans, key=lambda span: span.start_ms)]

    @contextlib.contextmanager
    def gathering(self) -> Iterator[None]:
        """Inside, what calls itself a `stage` is recorded here."""
        token = _gathered.set(self)
        try:
            yield
        finally:
            _gathered.reset(token)


_gathered: ContextVar[Spans | None] = ContextVar("gathered", default=None)


def stage(name: str, device: str = "cpu") -> AbstractContextManager[None]:
    """A part of somebody else's stretch, such as a file read while a prompt is made; recorded where
    that somebody gathers, nowhere else."""
    spans = _gathered.get()
    return contextlib.nullcontext() if spans is None else spans.measure(name, device)
