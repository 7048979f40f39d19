"""No split leaks, and leaks are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import blocks, check_leak, folds, without_neighbours
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


def test_too_few_drives_fall_back_to_blocks() -> None:
    assert not any(fold.by_drive for fold in folds(recorded_pairs(60, drives=2), 5, 4))


@pytest.mark.parametrize(("n", "count", "gap"), [(3, 5, 0), (8, 2, 8), (10, 1, 0)])
def test_impossible_folds_are_refused(n: int, count: int, gap: int) -> None:
    with pytest.raises(InputError):
        folds(recorded_pairs(n), count, gap)


def test_shared_clips_are_refused() -> None:
    pairs = recorded_pairs(40)
    with pytest.raises(InputError, match="share 1 clips, clip-0020"):
        check_leak(pairs[:21], pairs[20:], 0)
    renamed = [replace(p, clip=f"other-{p.index}", dataset="path/made_up_1s") for p in pairs[20:]]
    with pytest.raises(InputError, match="share 1 clips"):
        check_leak(pairs[:21], renamed, 0)


def test_neighbours_across_a_cut_are_refused() -> None:
    pairs = recorded_pairs(40)
    with pytest.raises(InputError, match="4 training clips stand within 4 places"):
        check_leak(pairs[:20], pairs[20:], 4)
    check_leak(pairs[:20], pairs[24:], 4)
    check_leak(pairs[:20], pairs[20:], 0)


def test_neighbours_can_be_left_out() -> None:
    pairs = recorded_pairs(40)
    kept, dropped = without_neighbours(pairs[:20], pairs[20:], 4)
    assert (len(kept), dropped) == (16, 4)
    check_leak(kept, pairs[20:], 4)


def test_clips_of_other_data_sets_are_no_neighbours() -> None:
    pairs = recorded_pairs(10)
    other = [replace(p, dataset="another", clip="o" + p.clip) for p in pairs]
    check_leak(pairs, other, 4)


def test_shared_drive_is_refused() -> None:
    pairs = [replace(p, drive="drive_a") for p in recorded_pairs(40)]
    with pytest.raises(InputError, match="share the drive drive_a"):
        check_leak(pairs[:10], pairs[30:], 4)


def test_same_drives_cut_another_way_are_recognised() -> None:
    pairs = [replace(p, target_tokens=(*p.target_tokens, p.index // 2)) for p in recorded_pairs(60)]
    longer = [replace(p, clip="l" + p.clip, dataset="made_up_2s", index=p.index // 2)
              for p in pairs[::2]]  # fmt: skip
    with pytest.raises(InputError, match="30 answers word for word in the same order"):
        check_leak(pairs, longer, 4)
    check_leak([replace(p, drive="a") for p in pairs], [replace(p, drive="b") for p in longer], 4)
    # The same answers in no order are a template, not the same recording.
    mixed = [replace(p, index=i * 7 % 30) for i, p in enumerate(longer)]
    check_leak(pairs, mixed, 4)


def test_shared_questions_are_refused_when_strict() -> None:
    pairs = recorded_pairs(40)
    check_leak(pairs[:10], pairs[30:], 4)
    with pytest.raises(InputError, match="share 1 questions"):
        check_leak(pairs[:10], pairs[30:], 4, strict=True)


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
