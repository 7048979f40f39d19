"""The event model's own words, as far as they have arrived."""

from __future__ import annotations

from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.drafter_text import DrafterText


def test_words_stand_at_their_own_position() -> None:
    stream = RecordedStream((10, 11, 12, 13))
    drafter = DrafterText()
    drafter.begin(Context("q", stream))
    assert drafter.propose([], Budget.chain(2)).tokens.tolist() == [10, 11]
    assert drafter.propose([99, 98, 97], Budget.chain(5)).tokens.tolist() == [13]
    assert len(drafter.propose([1] * 4, Budget.chain(5))) == 0


def test_only_arrived_words_are_read() -> None:
    stream = RecordedStream((10, 11, 12, 13))
    stream.visible = 2
    drafter = DrafterText()
    drafter.begin(Context("q", stream))
    assert drafter.propose([], Budget.chain(5)).tokens.tolist() == [10, 11]
    assert not stream.snapshot().closed
    stream.visible = 4
    assert drafter.propose([0], Budget.tree(2, 5)).tokens.tolist() == [11, 12]
    assert stream.snapshot().closed
