"""Items read ahead are the items, in order; what goes wrong reaches whoever asks."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.ahead import ahead, closed
from crossdraft.base.errors import InputError


@given(items=st.lists(st.one_of(st.none(), st.integers()), max_size=20), count=st.integers(1, 4))
def test_nothing_is_lost_or_changed(items: list[int | None], count: int) -> None:
    assert list(ahead(items, count)) == items


def test_no_more_are_made_than_may_wait() -> None:
    made: list[int] = []
    enough = threading.Event()

    def items() -> Iterator[int]:
        for number in range(50):
            made.append(number)
            if number == 3:  # one with the reader, two that wait, one that cannot be put down
                enough.set()
            yield number

    reader = ahead(items(), 2)
    assert next(reader) == 0
    assert enough.wait(10)
    reader.close()  # type: ignore[attr-defined]
    assert len(made) <= 5
    assert not [one for one in threading.enumerate() if one.name == "crossdraft-batches"]


def test_an_error_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise InputError("damaged")

    reader = ahead(items(), 3)
    assert next(reader) == 1
    with pytest.raises(InputError, match="damaged"):
        next(reader)


def test_a_fork_must_begin_a_pass_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ahead(range(1), 1)  # its thread has nothing left to do
    assert next(reader) == 0
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(InputError, match="another process"):
            next(reader)


def test_an_error_of_whoever_asks_ends_the_thread() -> None:
    def endless() -> Iterator[int]:
        while True:
            yield 1

    with (
        pytest.raises(InputError) as kept,  # its traceback keeps the frames, and what they hold
        closed(ahead(endless(), 2)) as items,
    ):
        for _ in items:
            raise InputError("wrong")
    assert kept.traceback
    assert not [one for one in threading.enumerate() if one.name == "crossdraft-batches"]
    with closed([1, 2]) as plain:
        assert list(plain) == [1, 2]
