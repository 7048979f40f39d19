"""No split leaks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.pairs.leak import check_leak
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import blocks, folds, hold_out
from tests.make import recorded_pairs


@given(st.integers(30, 80), st.integers(2, 5), st.integers(0, 4))
def test_block_folds_cover_everything_once_and_keep_the_gap(n: int, count: int, gap: int) -> None:
    pairs = recorded_pairs(n)
    made = folds(pairs, count, gap)
    assert sorted(p.index for fold in made for p in fold.test) == list(range(n))
    for fold in made:
        check_leak(fold.train, fold.test, gap)
        tested = {p.index for p in fold.test}
        assert max(tested) - min(tested) + 1 == len(tested), "test block is contiguous"
        distance = min(abs(a.index - b) for a in fold.train for b in tested)
        assert distance == gap + 1, "nothing more than the gap is left out"


def test_questions_of_one_clip_stay_together() -> None:
    pairs = [replace(p, question_index=q) for p in recorded_pairs(20) for q in range(3)]
    for fold in folds(pairs, 4, 1):
        assert not {p.clip for p in fold.train} & {p.clip for p in fold.test}
        assert len(fold.test) == 15


def test_known_drives_are_never_divided() -> None:
    pairs = recorded_pairs(60, drives=7)
    made = folds(pairs, 3, 4)
    assert all(fold.by_drive for fold in made)
    for fold in made:
        assert not {p.drive for p in fold.train} & {p.drive for p in fold.test}
        assert len(fold.train) + len(fold.test) == 60
    sizes = [len(fold.test) for fold in made]
    assert max(sizes) - min(sizes) <= 9, "drives are dealt evenly"


def test_few_drives_make_few_folds() -> None:
    made = folds(recorded_pairs(60, drives=2), 5, 4)
    assert [(fold.by_drive, len(fold.test)) for fold in made] == [(True, 30), (True, 30)]


def test_single_drive_is_cut_into_blocks() -> None:
    made = folds(recorded_pairs(60, drives=1), 5, 4)
    assert [fold.by_drive for fold in made] == [False] * 5


@pytest.mark.parametrize(("n", "count", "gap"), [(3, 5, 0), (8, 2, 8), (10, 1, 0)])
def test_impossible_folds_are_refused(n: int, count: int, gap: int) -> None:
    with pytest.raises(InputError):
        folds(recorded_pairs(n), count, gap)


@given(st.integers(1, 60), st.integers(1, 30))
def test_blocks_hold_every_pair_once_and_are_contiguous(n: int, size: int) -> None:
    pairs: list[Pair] = list(reversed(recorded_pairs(n)))
    groups = blocks(pairs, size)
    assert sorted(i for group in groups for i in group) == list(range(n))
    for group in groups:
        places = [pairs[i].index for i in group]
        assert places == list(range(places[0], places[0] + len(group)))
        assert len(group) <= size


def test_blocks_follow_drives() -> None:
    pairs = recorded_pairs(60, drives=12)
    assert len(blocks(pairs, 3)) == 12
    assert len(blocks(recorded_pairs(60, drives=3), 10)) == 6


@given(st.integers(20, 300), st.floats(0.05, 0.4), st.integers(0, 4), st.integers(1, 2))
def test_held_out_blocks_keep_the_gap(n: int, share: float, gap: int, questions: int) -> None:
    pairs = [replace(p, question_index=q) for p in recorded_pairs(n) for q in range(questions)]
    fold = hold_out(pairs, share, gap)
    held = {p.clip for p in fold.test}
    distance = min(abs(a.index - b.index) for a in fold.train for b in fold.test)
    assert distance == gap + 1
    assert len(held) == max(1, round(share * n))
    assert len(fold.test) == questions * len(held)
    blocks_held = min(4, max(1, len(held) // 12))
    left_out = n - len(held) - len({p.clip for p in fold.train})
    assert left_out <= 2 * gap * blocks_held, "nothing more than the gaps is left out"


def test_held_out_drives_are_whole_and_near_the_share() -> None:
    pairs = recorded_pairs(200, drives=10)
    fold = hold_out(pairs, 0.2, 4)
    assert fold.by_drive
    assert not {p.drive for p in fold.train} & {p.drive for p in fold.test}
    assert 20 <= len(fold.test) <= 60
    two = hold_out(recorded_pairs(40, drives=2), 0.1, 4)
    assert {len({p.drive for p in side}) for side in (two.train, two.test)} == {1}


def test_too_few_clips_to_hold_any_out() -> None:
    with pytest.raises(InputError, match="too few to train and validate"):
        hold_out(recorded_pairs(5), 0.1, 4)
