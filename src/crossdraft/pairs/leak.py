"""What training may have seen of the test.

Clips of one recording overlap and answers repeat, so a number from a leaking split is worth
nothing. Clips are told apart by their names, by their place in a drive or data set, and where
neither helps by what was answered about them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import Lane, drives_known, lane

Place = tuple[Lane, int]

#: Two recordings that share this many distinct answers in this nearly the same order are taken
#: for the same drives. On 638 real answers, blocks of different drives share at most 11 (rank
#: correlation 0.5); the same drives cut at other lengths share 16 to 112 (0.97 and more).
_SAME_ANSWERS, _SAME_ORDER = 12, 0.8


def place(pair: Pair) -> Place:
    """Where the pair's clip stands: data set, drive and index."""
    return (lane(pair), pair.index)


def shared_clips(train: Sequence[Pair], test: Sequence[Pair]) -> list[str]:
    """Training clips that the test shows too: by name, or by place and answers."""
    tested = {pair.clip for pair in test}
    shared = {pair.clip for pair in train if pair.clip in tested}
    if not numbered_apart(train, test):
        places = {place(pair) for pair in test}
        shared |= {pair.clip for pair in train if place(pair) in places}
    return sorted(shared)


def numbered_apart(train: Sequence[Pair], test: Sequence[Pair]) -> bool:
    """Whether both number their clips independently, so that places say nothing.

    They do if clips at the same place were mostly answered differently: the target decodes
    greedily, so one clip has one answer.
    """
    answers = {(place(p), p.question_index): p.target_tokens for p in train}
    same = [
        answers[key] == pair.target_tokens
        for pair in test
        if (key := (place(pair), pair.question_index)) in answers
    ]
    return 2 * sum(same) < len(same)


def without_neighbours(
    train: Sequence[Pair], test: Sequence[Pair], gap: int
) -> tuple[tuple[Pair, ...], int]:
    """Leave out training clips within `gap` places of a test clip (the test clips themselves
    stay, for `check_leak` to find).

    Returns:
        What may be trained on, and how many clips were left out.
    """
    if numbered_apart(train, test):
        return tuple(train), 0
    near = _near(test, gap) - _near(test, 0)
    kept = tuple(pair for pair in train if place(pair) not in near)
    return kept, len({pair.clip for pair in train} - {pair.clip for pair in kept})


def check_leak(
    train: Sequence[Pair], test: Sequence[Pair], gap: int, *, strict: bool = False
) -> None:
    """Refuse a train/test pair that leaks.

    Raises:
        InputError: both share clips or a drive, a training clip stands within `gap` places of
            a test clip, or drives are not named and both tell the same answers in the same order
            (the same drives cut another way); with `strict`, also when both ask the same question.
    """
    shared = shared_clips(train, test)
    if shared:
        raise InputError(
            f"train and test share {len(shared)} clips, {shared[0]} among them",
            expected="train and test from different drives",
            hint="use --folds to split one file",
        )
    drives = {p.drive for p in train} & {p.drive for p in test} - {None}
    if drives:
        raise InputError(
            f"train and test share the drive {sorted(map(str, drives))[0]}",
            expected="train and test from different drives",
        )
    _check_neighbours(train, test, gap)
    if not (drives_known(train) and drives_known(test)):
        _check_answers(train, test)
    if strict:
        check_questions(train, test)


def check_questions(train: Sequence[Pair], test: Sequence[Pair]) -> None:
    """Refuse a test that asks what training asked.

    Raises:
        InputError: a question stands on both sides.
    """
    questions = {pair.question for pair in train} & {pair.question for pair in test}
    if questions:
        raise InputError(
            f"train and test share {len(questions)} questions, "
            f"{sorted(questions)[0]!r} among them (--strict)",
            expected="questions that training has not seen",
        )


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


def _check_neighbours(train: Sequence[Pair], test: Sequence[Pair], gap: int) -> None:
    if numbered_apart(train, test):
        return
    near = _near(test, gap)
    close = sorted({pair.clip for pair in train if place(pair) in near})
    if close:
        raise InputError(
            f"{len(close)} training clips stand within {gap} places of a test clip, "
            f"{close[0]} among them; neighbours overlap and nearly repeat each other",
            expected=f"a gap of more than {gap} clips",
            hint="leave those clips out of training, or lower --gap if they do not overlap",
        )


def _check_answers(train: Sequence[Pair], test: Sequence[Pair]) -> None:
    count, correlation = repeats_in_order(train, test)
    if count >= _SAME_ANSWERS and correlation >= _SAME_ORDER:
        raise InputError(
            f"train and test tell {count} answers word for word in the same order (rank "
            f"correlation {correlation:.2f}): they look like the same drives cut another way",
            expected="train and test from different drives",
            hint="name the drives of both files if they really differ",
        )


def _near(test: Sequence[Pair], gap: int) -> set[Place]:
    """Every place within `gap` of a test clip."""
    return {(lane(pair), pair.index + offset) for pair in test for offset in range(-gap, gap + 1)}


def _median_places(pairs: Sequence[Pair]) -> dict[tuple[int, ...], float]:
    """Where each distinct answer stands, by the median of its clips."""
    places: dict[tuple[int, ...], list[int]] = {}
    for pair in pairs:
        places.setdefault(pair.target_tokens, []).append(pair.index)
    return {tokens: float(np.median(indices)) for tokens, indices in places.items()}
