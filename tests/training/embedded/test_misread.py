"""Answers that are misread: kinds and paints any, all else as it is; what is unasked unlearned."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from crossdraft.drafters.trainable import IGNORE
from crossdraft.training.embedded.misread import Mention, misread, words_of
from crossdraft.training.embedded.packing import Turn, pack

# "a red car ahead, a blue bus": articles 1, paints 10 and 11, kinds 20 and 21, ahead 30.
TURN = Turn((5, 6), (1, 10, 20, 30, 1, 11, 21, 2))
MENTIONS = (
    Mention("colour", 1, 2), Mention("vehicle", 2, 3), Mention("motion", 3, 4),
    Mention("second colour", 5, 6), Mention("second vehicle", 6, 7),
)  # fmt: skip
WORDS = words_of([(TURN, MENTIONS)])
NO = IGNORE


@pytest.mark.parametrize(
    ("unasked", "labels"),
    [
        # The article may depend on the paint; the paint itself is asked for though a kind follows.
        ({"colour"}, (NO, NO, 20, 30, 1, 11, 21, 2)),
        ({"second colour"}, (1, 10, 20, 30, NO, NO, 21, 2)),
        ({"vehicle"}, (1, 10, NO, 30, 1, 11, 21, 2)),
        ({"colour", "second vehicle"}, (NO, NO, 20, 30, 1, 11, NO, 2)),
        (set(), TURN.answer),
    ],
)
def test_what_is_unasked_is_not_learned(unasked: set[str], labels: tuple[int, ...]) -> None:
    turn = misread(TURN, MENTIONS, WORDS, frozenset(unasked))
    assert turn.labels == labels
    packed = pack((7,), [[turn]])
    assert packed.ids[0].tolist() == [7, 5, 6, *turn.answer[:-1]]
    assert packed.labels[0].tolist() == [NO, NO, *labels]


def test_kinds_and_paints_are_read_as_any_other() -> None:
    assert WORDS["colour", 1] == ((10,), (11,)), "the second's words are the first's"
    read = set()
    torch.manual_seed(0)
    for _ in range(200):
        turn = misread(TURN, MENTIONS, WORDS, frozenset())
        assert [turn.answer[place] for place in (0, 3, 4, 7)] == [1, 30, 1, 2]
        read.add(tuple(turn.answer[place] for place in (1, 2, 5, 6)))
    assert read == set(product((10, 11), (20, 21), (10, 11), (20, 21)))
