"""Splits that do not leak.

Neighbouring clips overlap, so their answers repeat each other. Pairs are split by drive where the
drives are known, else into contiguous blocks with a gap; there is no random split on purpose.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.pairs.record import Pair

Lane = tuple[str, str | None]  # clips are neighbours within one data set and drive


@dataclass(frozen=True)
class Fold:
    """One train/test split; `by_drive` says that no drive stands on both sides."""

    train: tuple[Pair, ...]
    test: tuple[Pair, ...]
    by_drive: bool = False


def lane(pair: Pair) -> Lane:
    """Where the index of a clip counts: clips of one lane may be neighbours.

    Files of one data set name its folder with more or less of the path before it.
    """
    return (PurePosixPath(pair.dataset).name, pair.drive)


def in_recording_order(pairs: Iterable[Pair]) -> list[Pair]:
    """Pairs sorted by data set, drive, place in the drive, question."""
    return sorted(pairs, key=lambda p: (p.dataset, p.drive or "", p.index, p.question_index))


def drives_known(pairs: Sequence[Pair]) -> bool:
    """Whether every pair names its drive."""
    return all(pair.drive is not None for pair in pairs)


def folds(pairs: Sequence[Pair], count: int, gap: int) -> list[Fold]:
    """Split into `count` train/test folds, every pair once in a test part.

    By whole drives where all pairs name theirs and there are at least `count`; else by contiguous
    blocks of clips, with `gap` clips on both sides of the test block left out of training.

    Raises:
        InputError: fewer clips than folds, or nothing is left to train on.
    """
    if count < 2:
        raise InputError(f"{count} folds", expected="at least 2")
    ordered = in_recording_order(pairs)
    drives = sorted({str(pair.drive) for pair in ordered})
    if drives_known(ordered) and len(drives) >= count:
        groups = _balanced(ordered, drives, count)
        made = [
            Fold(
                tuple(p for p in ordered if p.drive not in group),
                tuple(p for p in ordered if p.drive in group),
                by_drive=True,
            )
            for group in groups
        ]
    else:
        made = _block_folds(ordered, count, gap)
    for fold in made:
        if not fold.train or not fold.test:
            raise InputError(
                f"{len({p.clip for p in ordered})} clips do not fill {count} folds with a gap "
                f"of {gap} clips",
                hint="use fewer folds or a smaller gap",
            )
    return made


def _balanced(ordered: Sequence[Pair], drives: Sequence[str], count: int) -> list[set[str]]:
    """Deal drives to folds, longest first, always to the emptiest fold."""
    length = {drive: sum(p.drive == drive for p in ordered) for drive in drives}
    groups: list[set[str]] = [set() for _ in range(count)]
    filled = [0] * count
    for drive in sorted(drives, key=lambda d: (-length[d], d)):
        slot = filled.index(min(filled))
        groups[slot].add(drive)
        filled[slot] += length[drive]
    return groups


def _block_folds(ordered: Sequence[Pair], count: int, gap: int) -> list[Fold]:
    clips = list(dict.fromkeys(pair.clip for pair in ordered))
    made = []
    for number in range(count):
        low, high = len(clips) * number // count, len(clips) * (number + 1) // count
        test = set(clips[low:high])
        near = set(clips[max(0, low - gap) : high + gap])
        made.append(
            Fold(
                tuple(p for p in ordered if p.clip not in near),
                tuple(p for p in ordered if p.clip in test),
            )
        )
    return made


def blocks(pairs: Sequence[Pair], clips_per_block: int) -> list[list[int]]:
    """Indices of pairs grouped for the bootstrap: by drive where all are known and there are at
    least ten, else by contiguous blocks of clips within one lane."""
    ordered = sorted(
        range(len(pairs)),
        key=lambda i: (
            pairs[i].dataset, pairs[i].drive or "", pairs[i].index, pairs[i].question_index
        ),
    )  # fmt: skip
    by_drive = drives_known(pairs) and len({pair.drive for pair in pairs}) >= 10
    groups: list[list[int]] = []
    current: Lane | None = None
    clips: set[str] = set()
    for i in ordered:
        pair = pairs[i]
        full = not by_drive and pair.clip not in clips and len(clips) >= clips_per_block
        if lane(pair) != current or full:
            groups.append([])
            current, clips = lane(pair), set()
        groups[-1].append(i)
        clips.add(pair.clip)
    return groups


def without_neighbours(
    train: Sequence[Pair], test: Sequence[Pair], gap: int
) -> tuple[tuple[Pair, ...], int]:
    """Leave out training clips within `gap` places of a test clip in the same lane (the test
    clips themselves stay, for `check_leak` to find).

    Returns:
        What may be trained on, and how many clips were left out.
    """
    near = _near_test(test, gap) - _near_test(test, 0)
    kept = tuple(pair for pair in train if (lane(pair), pair.index) not in near)
    dropped = {p.clip for p in train} - {p.clip for p in kept}
    return kept, len(dropped)


def _near_test(test: Sequence[Pair], gap: int) -> set[tuple[Lane, int]]:
    return {
        (lane(pair), pair.index + offset)
        for pair in test
        for offset in range(-gap, gap + 1)
    }  # fmt: skip


#: Two recordings that share this many distinct answers in this nearly the same order are taken
#: for the same drives. On 638 real answers, blocks of different drives share at most 11 (rank
#: correlation 0.5); the same drives cut at other lengths share 16 to 112 (0.97 and more).
_SAME_ANSWERS, _SAME_ORDER = 12, 0.8


def repeats_in_order(train: Sequence[Pair], test: Sequence[Pair]) -> tuple[int, float]:
    """How much two recordings look like the same drives.

    Returns:
        Number of distinct target answers that stand in both word for word, and the rank
        correlation of their places (0 where fewer than three are shared). Questions are not
        compared: some formats do not record them.
    """
    places = [_median_places(side) for side in (train, test)]
    shared = sorted(places[0].keys() & places[1].keys())
    if len(shared) < 3:
        return len(shared), 0.0
    first, second = (np.argsort(np.argsort([side[key] for key in shared])) for side in places)
    return len(shared), float(np.corrcoef(first, second)[0, 1])


def _median_places(pairs: Sequence[Pair]) -> dict[tuple[int, ...], float]:
    """Where each distinct answer stands, by the median of its clips."""
    places: dict[tuple[int, ...], list[int]] = {}
    for pair in pairs:
        places.setdefault(pair.target_tokens, []).append(pair.index)
    return {tokens: float(np.median(indices)) for tokens, indices in places.items()}


def check_leak(
    train: Sequence[Pair], test: Sequence[Pair], gap: int, *, strict: bool = False
) -> None:
    """Refuse a train/test pair that leaks.

    Raises:
        InputError: both share clips or a drive, a training clip stands within `gap` places of
            a test clip, or drives are not named and both tell the same answers in the same order
            (the same drives cut another way); with `strict`, also when both ask the same question.
    """
    tested, same_place = {pair.clip for pair in test}, _near_test(test, 0)
    shared = {p.clip for p in train if p.clip in tested or (lane(p), p.index) in same_place}
    if shared:
        raise InputError(
            f"train and test share {len(shared)} clips, {sorted(shared)[0]} among them",
            expected="train and test from different drives",
            hint="use --folds to split one file",
        )
    drives = {p.drive for p in train} & {p.drive for p in test} - {None}
    if drives:
        raise InputError(
            f"train and test share the drive {sorted(map(str, drives))[0]}",
            expected="train and test from different drives",
        )
    near = _near_test(test, gap)
    close = sorted({pair.clip for pair in train if (lane(pair), pair.index) in near})
    if close:
        raise InputError(
            f"{len(close)} training clips stand within {gap} places of a test clip, "
            f"{close[0]} among them; neighbours overlap and nearly repeat each other",
            expected=f"a gap of more than {gap} clips",
            hint="leave those clips out of training, or lower --gap if they do not overlap",
        )
    if not (drives_known(train) and drives_known(test)):
        count, correlation = repeats_in_order(train, test)
        if count >= _SAME_ANSWERS and correlation >= _SAME_ORDER:
            raise InputError(
                f"train and test tell {count} answers word for word in the same order (rank "
                f"correlation {correlation:.2f}): they look like the same drives cut another way",
                expected="train and test from different drives",
                hint="name the drives of both files if they really differ",
            )
    if strict:
        questions = {p.question for p in train} & {p.question for p in test}
        if questions:
            raise InputError(
                f"train and test share {len(questions)} questions, "
                f"{sorted(questions)[0]!r} among them (--strict)",
                expected="questions that training has not seen",
            )
