"""The one clock.

Every time in the project comes from `now_ms` (monotonic) and every measured stretch is a `Span`,
so that two numbers in one table can be compared.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any


def now_ms() -> float:
    """Milliseconds of the monotonic clock; only differences mean anything."""
    return time.perf_counter_ns() / 1e6


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
