"""Where answers end: token by token or run by run, at the same place for the same reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.decoding.stopping import StopAt, TextUntil
from tests.decoding.engine import Ends, plain, spell

answers = st.lists(st.integers(0, 3), min_size=1, max_size=12)
#: Letters a to d stand for tokens 0 to 3; strings that several tokens complete, and overlapping.
strings = st.lists(st.text("abcd", min_size=1, max_size=3), max_size=2).map(tuple)
limits = st.builds(Ends, st.integers(1, 14), st.frozensets(st.integers(0, 3), max_size=2), strings)


@given(tokens=answers, ends=limits, data=st.data())
def test_runs_end_where_single_tokens_do(
    tokens: list[int], ends: Ends, data: st.DataObject
) -> None:
    """Whatever a pass accepts at once: what stands behind the end is never looked at."""
    tokens += [sorted(ends.eos)[0]] if ends.eos else [0] * ends.most
    expected, why = plain(lambda _: None, ends, lambda _, place: tokens[place])  # type: ignore[arg-type, return-value]
    stopping = ends.stopping()
    said: list[int] = []
    end = None
    while end is None:
        run = tokens[len(said) : len(said) + data.draw(st.integers(1, 5))]
        count, end = stopping.cut(said, run)
        assert 1 <= count <= len(run)
        assert end is not None or count == len(run)
        said += run[:count]
    assert (tuple(said), end) == (expected, why)


def test_the_end_token_comes_before_other_reasons() -> None:
    stopping = StopAt(frozenset({2}), 3, ("c",), spell)
    assert stopping.cut([0, 1], [2]) == (1, "eos")
    assert StopAt(frozenset(), 3, ("c",), spell).cut([0, 1], [2, 2]) == (1, "stop")
    assert StopAt(frozenset(), 3, ("d",), spell).cut([0, 1], [2, 2]) == (1, "length")


def test_a_stop_string_may_begin_in_what_was_said_before() -> None:
    stopping = StopAt(frozenset(), 9, ("bcd",), spell)
    assert stopping.cut([0, 1], [2]) == (1, None)
    assert stopping.cut([0, 1, 2], [3, 0, 0]) == (1, "stop")


def test_the_first_stop_string_is_the_one_that_begins_first() -> None:
    stopping = StopAt(frozenset(), 9, ("cd", "bc", "x"), spell)
    assert stopping.stop_in("abcd") == 1
    assert stopping.stop_in("cd bc") == 0
    assert stopping.stop_in("dcba") is None
    assert StopAt(frozenset(), 9).stop_in("abcd") is None


def test_limits_can_be_asked_for() -> None:
    stopping = StopAt(frozenset({2, 5}), 7, ["x"], spell)
    assert (stopping.most, stopping.eos_ids, stopping.strings) == (7, frozenset({2, 5}), ("x",))


@pytest.mark.parametrize("most", [0, -1])
def test_an_answer_has_a_token(most: int) -> None:
    with pytest.raises(InputError, match="max_new_tokens"):
        StopAt(frozenset(), most)


def test_strings_need_text_to_stop_at() -> None:
    with pytest.raises(InputError, match="without a tokenizer"):
        StopAt(frozenset(), 5, ("x",))
    with pytest.raises(InputError, match="empty stop string"):
        StopAt(frozenset(), 5, ("x", ""), spell)


def test_text_is_given_up_to_the_stop_string_that_begins_first() -> None:
    """In pieces of any size, a stop string that is listed last too."""
    for size in (1, 2, 3, 7):
        until = TextUntil(("yz", "cd"))
        pieces = [until.push("abcdxyz"[at : at + size]) for at in range(0, 7, size)]
        assert "".join(pieces) + until.close() == "ab"
    until = TextUntil(("cd",))
    assert (until.push("abc"), until.push("c"), until.close()) == ("ab", "c", "c")
