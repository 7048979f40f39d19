"""The event model's words as drafters read them: appended, translated, never taken back."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.decoding.stream import AnswerStream
from crossdraft.drafters.base import Snapshot


class Bridge:
    """Ten more than each id; the last word is held back until the answer is closed."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], bool]] = []

    def translate(self, tokens: Sequence[int], *, closed: bool) -> Any:
        self.asked.append((tuple(tokens), closed))
        settled = tokens if closed else tokens[:-1]
        return SimpleNamespace(ids=tuple(token + 10 for token in settled))


@given(st.lists(st.lists(st.integers(0, 99), max_size=4), max_size=6))
def test_what_was_appended_is_there_in_order(runs: list[list[int]]) -> None:
    stream = AnswerStream()
    said: list[int] = []
    assert stream.snapshot() == Snapshot((), closed=False)
    for run in runs:
        before = stream.snapshot()
        stream.append(run)
        said += run
        assert stream.snapshot() == Snapshot(tuple(said), closed=False)
        assert stream.own == tuple(said)
        assert before.tokens == tuple(said[: len(said) - len(run)]), "a snapshot never changes"
    stream.close()
    assert stream.snapshot() == Snapshot(tuple(said), closed=True)


def test_nothing_comes_behind_the_end() -> None:
    stream = AnswerStream()
    stream.append([4])
    stream.close()
    with pytest.raises(RuntimeError, match="behind the end"):
        stream.append([5])
    assert stream.snapshot() == Snapshot((4,), closed=True)


def test_words_are_the_targets_as_far_as_they_are_settled() -> None:
    bridge: Any = Bridge()
    stream = AnswerStream(bridge)
    assert (stream.snapshot(), bridge.asked) == (Snapshot((), closed=False), [])
    stream.append([1, 2])
    stream.append([3])
    for _ in range(3):
        assert stream.snapshot() == Snapshot((11, 12), closed=False)
    assert bridge.asked == [((1, 2, 3), False)], "translated once, when somebody looks"
    assert stream.own == (1, 2, 3)
    stream.close()
    assert stream.snapshot() == Snapshot((11, 12, 13), closed=True)
    assert bridge.asked[1:] == [((1, 2, 3), True)]


def test_ids_of_arrays_become_plain_numbers() -> None:
    import numpy as np

    stream = AnswerStream()
    stream.append(np.array([3, 4]))  # type: ignore[arg-type]
    assert [type(token) for token in stream.snapshot().tokens] == [int, int]
