"""The event model on the target's words: the right rows, and one pass over what is new."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.decoding.following import Following

Words = tuple[int, ...]


def row(words: Words) -> list[float]:
    """A state that says all that was read."""
    return [float(len(words)), float(hash(words) % 10007)]


def rows(words: Words, first: int = 0) -> Tensor:
    return torch.tensor([row(words[:end]) for end in range(first, len(words) + 1)])


class Reader:
    """Notes what it is asked to read; cannot read where `able` is false."""

    def __init__(self) -> None:
        self.able = True
        self.passes: list[tuple[Words, int]] = []

    def __call__(self, answer: Sequence[int], first: int) -> Tensor | None:
        words = tuple(answer)
        self.passes.append((words, first))
        return rows(words, first) if self.able else None


def in_common(one: Words, other: Words) -> int:
    return next(n for n in range(min(len(one), len(other)), -1, -1) if one[:n] == other[:n])


@given(st.lists(st.tuples(st.lists(st.integers(0, 1), max_size=5), st.booleans()), max_size=8))
def test_rows_of_any_answer_from_passes_over_what_is_new(
    asked: list[tuple[list[int], bool]],
) -> None:
    reader = Reader()
    following = Following(reader)
    read: Words | None = None
    for answer, reader.able in asked:
        words, before = tuple(answer), len(reader.passes)
        got = following.follow(words)
        new = reader.passes[before:]
        common = -1 if read is None else in_common(read, words)
        if read is not None and common == len(words):
            assert new == [], "it has been read"
        else:
            assert new == [(words, common + 1)]
            if not reader.able:
                assert got is None
                continue
            read = words
        assert got is not None and torch.equal(got, rows(words))


def test_words_of_any_kind_of_number_are_ids() -> None:
    reader = Reader()
    Following(reader).follow(torch.tensor([3, 4]))  # type: ignore[arg-type]
    assert reader.passes == [((3, 4), 0)]
    assert all(type(word) is int for word in reader.passes[0][0])


def test_closed_it_reads_nothing_and_keeps_nothing() -> None:
    reader = Reader()
    following = Following(reader)
    assert following.follow((3, 4)) is not None
    following.close()
    assert following.follow((3, 4)) is None and following.follow((3, 4, 5)) is None
    assert len(reader.passes) == 1
    assert following._rows is None
