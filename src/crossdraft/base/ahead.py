"""Reading ahead: a thread makes the next items while the last one is used."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from crossdraft.base.errors import InputError

Item = TypeVar("Item")
#: How long the thread waits before it looks whether anybody still wants its item.
_PATIENCE_S = 0.05


class _End:
    """Behind the last item; with what ended it, where that was an error."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def ahead(items: Iterable[Item], count: int) -> Iterator[Item]:
    """The same items, up to `count` of them made before they are asked for.

    The thread ends when nobody asks any more; what it raises is raised to whoever asks.

    Raises:
        InputError: asked on in a process that was forked meanwhile: a fork does not copy threads.
    """
    ready: queue.Queue[Item | _End] = queue.Queue(count)
    unwanted = threading.Event()
    process = os.getpid()

    def put(item: Item | _End) -> None:
        while not unwanted.is_set():
            try:
                return ready.put(item, timeout=_PATIENCE_S)
            except queue.Full:
                continue

    def prepare() -> None:
        try:
            for item in items:
                if unwanted.is_set():
                    return
                put(item)
            put(_End())
        except BaseException as error:  # it belongs to whoever asks
            put(_End(error))

    thread = threading.Thread(target=prepare, name="crossdraft-batches", daemon=True)
    thread.start()
    try:
        while True:
            if os.getpid() != process:
                raise InputError(
                    "this pass over the store was begun in another process",
                    expected="a pass of this process",
                    hint="ask the store for batches again",
                )
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        if os.getpid() == process:
            unwanted.set()
            thread.join()


@contextmanager
def closed(items: Iterable[Item]) -> Iterator[Iterator[Item]]:
    """Iterate, and end whoever makes the items, however it is left: an error's traceback would keep
    a thread that reads ahead alive."""
    one_by_one = iter(items)
    try:
        yield one_by_one
    finally:
        if (close := getattr(one_by_one, "close", None)) is not None:
            close()
