"""Progress as events, so that only the command line decides how it looks.

A long piece of work calls a sink with `Progress`; the command line draws a bar from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps of `stage` are finished."""

    stage: str
    done: int
    total: int


ProgressSink = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The sink that ignores everything."""


def track(items: Iterable[T], stage: str, total: int, sink: ProgressSink) -> Iterator[T]:
    """Yield `items` and report after each one."""
    sink(Progress(stage, 0, total))
    for done, item in enumerate(items, start=1):
        yield item
        sink(Progress(stage, done, total))
