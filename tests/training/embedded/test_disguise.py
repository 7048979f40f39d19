"""Disguised clips: what is hidden is gone, everything else is there, and nobody asks for it."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch

from crossdraft.drafters.trainable import IGNORE
from crossdraft.training.embedded.disguise import (
    TO_ANSWER,
    TO_SEE,
    TO_TELL_APART,
    UNDISGUISED,
    Disguise,
    Mention,
    Owners,
    disguise_for,
    misread,
    repainted,
    reshaped,
    words_of,
)
from crossdraft.training.embedded.models import PATCH, SIDE
from crossdraft.training.embedded.packing import Turn, pack
from crossdraft.vlm.pixels import Pixels

CELLS = SIDE // PATCH
Ways = tuple[Disguise, ...]


@pytest.fixture
def clip() -> tuple[Pixels, Owners]:
    """Noise; two patches of the first, one of the second."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
    owners = np.zeros((3, CELLS, CELLS), np.int64)
    owners[:, 2, 3:5] = 1
    owners[:, 4, 0] = 2
    return pictures, owners.reshape(3, -1)


def _patches(picture: Pixels) -> Pixels:
    """[cells, cells, patch, patch, 3]."""
    return picture.reshape(CELLS, PATCH, CELLS, PATCH, 3).swapaxes(1, 2)


def _pixels(patches: Pixels) -> Counter[tuple[int, ...]]:
    return Counter(map(tuple, patches.reshape(-1, 3).tolist()))


def test_who_is_reshaped_keeps_pixels_and_loses_the_shape(clip: tuple[Pixels, Owners]) -> None:
    pictures, owners = clip
    before = pictures.copy()
    shown = reshaped(pictures, owners)
    assert np.array_equal(pictures, before), "the clip itself stays"
    assert shown.dtype == np.uint8
    for picture, disguised, owner in zip(pictures, shown, owners, strict=True):
        was, now = _patches(picture), _patches(disguised)
        for who in (1, 2):
            owned = (owner == who).reshape(CELLS, CELLS)
            assert _pixels(now[owned]) == _pixels(was[owned])
            # One in so many squares may stay where it was.
            assert (now[owned] != was[owned]).any(axis=-1).mean() > 0.5
        nobody = (owner == 0).reshape(CELLS, CELLS)
        assert np.array_equal(now[nobody], was[nobody])


def test_whoever_is_repainted_keeps_the_light(clip: tuple[Pixels, Owners]) -> None:
    # Mild colours: strong ones leave the range and are cut off.
    pictures = np.array([[[[120, 100, 140], [90, 90, 90], [140, 120, 100]]]], np.uint8)
    hues, grays = set(), set()
    torch.manual_seed(0)
    for _ in range(60):
        shown = repainted(pictures, clip[1])[0, 0].astype(float)
        assert np.abs(shown[1].mean() - 90) <= 1, "gray is tinted, and no lighter"
        assert np.abs(shown.mean(axis=-1) / pictures[0, 0].mean(axis=-1) - 1).max() < 0.2
        hues.add(int(shown[0].argmax()))
        grays.add(int(shown[1].argmax()))
    assert hues == grays == {0, 1, 2}


def test_one_paint_for_all_pictures_of_a_clip(clip: tuple[Pixels, Owners]) -> None:
    same = np.repeat(clip[0][:1], 3, axis=0)
    shown = repainted(same, clip[1])
    assert np.array_equal(shown[0], shown[2])
    assert not np.array_equal(shown[0], same[0])


def test_nobody_is_told_both_paint_and_kind_at_last() -> None:
    for way in (*TO_SEE, *TO_TELL_APART):
        assert way.hides & {"vehicle", "colour"}
    told = TO_SEE[0].told({"colour": "red", "second colour": "blue", "vehicle": "car"})
    assert told == {"vehicle": "car"}


@pytest.mark.parametrize("ways", [TO_SEE, TO_ANSWER, TO_TELL_APART])
def test_disguises_are_drawn_by_their_shares_where_paint_is_seen(ways: Ways) -> None:
    assert sum(way.share for way in ways) == 1.0
    torch.manual_seed(0)
    drawn = Counter(disguise_for({"colour": "red"}, ways).show.__name__ for _ in range(2000))
    for way in ways:
        assert abs(drawn[way.show.__name__] / 2000 - way.share) < 0.05
    assert disguise_for({"vehicle": "car"}, ways) is UNDISGUISED


# "a red car ahead, a blue bus": articles 1, paints 10 and 11, kinds 20 and 21, ahead 30.
TURN = Turn((5, 6), (1, 10, 20, 30, 1, 11, 21, 2))
MENTIONS = (
    Mention("colour", 1, 2), Mention("vehicle", 2, 3), Mention("motion", 3, 4),
    Mention("second colour", 5, 6), Mention("second vehicle", 6, 7),
)  # fmt: skip
WORDS = words_of([(TURN, MENTIONS)])
NO = IGNORE


@pytest.mark.parametrize(
    ("hidden", "labels"),
    [
        # The article may depend on the paint; the paint itself is asked for though a kind follows.
        ({"colour"}, (NO, NO, 20, 30, NO, NO, 21, 2)),
        ({"vehicle"}, (1, 10, NO, 30, 1, 11, NO, 2)),
        ({"motion"}, (1, 10, 20, NO, 1, 11, 21, 2)),
        (set(), TURN.answer),
    ],
)
def test_hidden_words_are_not_learned(hidden: set[str], labels: tuple[int, ...]) -> None:
    turn = misread(TURN, MENTIONS, frozenset(hidden), WORDS)
    assert turn.labels == labels
    packed = pack((7,), [[turn]])
    assert packed.ids[0].tolist() == [7, 5, 6, *turn.answer[:-1]]
    assert packed.labels[0].tolist() == [NO, NO, *labels]


def test_kinds_and_paints_are_read_as_any_other() -> None:
    assert WORDS["colour", 1] == ((10,), (11,)), "the second's words are the first's"
    read = set()
    torch.manual_seed(0)
    for _ in range(200):
        turn = misread(TURN, MENTIONS, frozenset(), WORDS)
        assert [turn.answer[place] for place in (0, 3, 4, 7)] == [1, 30, 1, 2]
        read.add(tuple(turn.answer[place] for place in (1, 2, 5, 6)))
    assert read == set(product((10, 11), (20, 21), (10, 11), (20, 21)))
