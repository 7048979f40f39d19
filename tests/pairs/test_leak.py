"""Leaks between train and test are refused, whatever they hide behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.leak import (
    check_leak,
    numbered_apart,
    repeats_in_order,
    without_neighbours,
)
from crossdraft.pairs.split import folds
from tests.make import recorded_pairs


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


def test_files_that_number_their_clips_apart_are_not_confused() -> None:
    train = recorded_pairs(40)
    test = [replace(p, clip="t" + p.clip) for p in recorded_pairs(40, seed=1)]
    assert numbered_apart(train, test)
    assert without_neighbours(train, test, 4) == (train, 0)
    check_leak(train, test, 4)


def test_same_drives_and_others_are_far_apart_on_real_answers(real_answers: Path) -> None:
    """The figures behind the threshold of twelve answers in 0.8 rank correlation."""
    files = {n: real_answers.with_name(f"benchmark_{n}s.json.gz") for n in (2, 4, 5, 8, 10)}
    sets = {1: read_pairs(real_answers).pairs, **{n: read_pairs(f).pairs for n, f in files.items()}}
    same = [repeats_in_order(sets[1], sets[n]) for n in files]
    assert [count for count, _ in same] == [112, 55, 41, 16, 25]
    assert min(correlation for _, correlation in same) > 0.96
    other = [
        repeats_in_order(f.train, f.test) for found in sets.values() for f in folds(found, 5, 4)
    ]
    assert max(count for count, _ in other) == 11
