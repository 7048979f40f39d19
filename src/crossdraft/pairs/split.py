"""Splits that do not leak.

Neighbouring clips overlap, so their answers repeat each other. Pairs are split by drive where the
drives are known, else into contiguous blocks with a gap; there is no random split on purpose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from crossdraft.base.errors import InputError
from crossdraft.pairs.record import Pair
from crossdraft.scenes.drives import balanced, drives_near

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
    return sorted(pairs, key=_order)


def _order(pair: Pair) -> tuple[str, str, int, int]:
    return (pair.dataset, pair.drive or "", pair.index, pair.question_index)


def drives_known(pairs: Sequence[Pair]) -> bool:
    """Whether every pair names its drive."""
    return all(pair.drive is not None for pair in pairs)


def folds(pairs: Sequence[Pair], count: int, gap: int) -> list[Fold]:
    """Split into train/test folds, every pair once in a test part.

    By whole drives where all pairs name theirs and there are two or more: a drive is never
    divided, so there are at most as many folds as drives. Else `count` contiguous blocks of
    clips, with `gap` clips on both sides of the test block left out of training.

    Raises:
        InputError: fewer clips than folds, or nothing is left to train on.
    """
    if count < 2:
        raise InputError(f"{count} folds", expected="at least 2")
    ordered = in_recording_order(pairs)
    drives = sorted({str(pair.drive) for pair in ordered})
    if drives_known(ordered) and len(drives) > 1:
        groups = balanced(_clips_per_drive(ordered), min(count, len(drives)))
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


def _clips_per_drive(ordered: Sequence[Pair]) -> Counter[str]:
    return Counter(str(pair.drive) for pair in ordered)


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


def hold_out(pairs: Sequence[Pair], share: float, gap: int) -> Fold:
    """Hold a share of the pairs out for validation.

    By whole drives where all pairs name theirs and there are two or more: the drives that come
    closest to the share. Else blocks of clips spread over the recording, with `gap` clips on
    both sides of each left out of training.

    Raises:
        InputError: too few clips to train and validate on.
    """
    ordered = in_recording_order(pairs)
    drives = sorted({str(pair.drive) for pair in ordered})
    if drives_known(ordered) and len(drives) > 1:
        held = drives_near(_clips_per_drive(ordered), share)
        fold = Fold(
            tuple(p for p in ordered if p.drive not in held),
            tuple(p for p in ordered if p.drive in held),
            by_drive=True,
        )
    else:
        fold = _spread_blocks(ordered, share, gap)
    if not fold.train or not fold.test:
        raise InputError(
            f"{len({p.clip for p in ordered})} clips are too few to train and validate on",
            expected=f"enough for a share of {share:g} and gaps of {gap} clips",
            hint="more clips, a smaller gap, or validation answers of their own",
        )
    return fold


def _spread_blocks(ordered: Sequence[Pair], share: float, gap: int) -> Fold:
    """Up to four blocks of at least 12 clips each, each in the middle of its stretch."""
    clips = list(dict.fromkeys(pair.clip for pair in ordered))
    wanted = max(1, round(share * len(clips)))
    number = max(1, min(4, wanted // 12))
    held: set[str] = set()
    near: set[str] = set()
    for block in range(number):
        size = wanted * (block + 1) // number - wanted * block // number
        middle = len(clips) * (2 * block + 1) // (2 * number)
        low = max(0, middle - size // 2)
        held |= set(clips[low : low + size])
        near |= set(clips[max(0, low - gap) : low + size + gap])
    return Fold(
        tuple(p for p in ordered if p.clip not in near),
        tuple(p for p in ordered if p.clip in held),
    )


def every_nth_clip(pairs: Sequence[Pair], stride: int) -> tuple[Pair, ...]:
    """The pairs of every `stride`-th clip."""
    clips = list(dict.fromkeys(pair.clip for pair in pairs))
    kept = set(clips[::stride])
    return tuple(pair for pair in pairs if pair.clip in kept)


def blocks(pairs: Sequence[Pair], clips_per_block: int) -> list[list[int]]:
    """Indices of pairs grouped for the bootstrap: by drive where all are known and there are at
    least ten, else by contiguous blocks of clips within one lane."""
    ordered = sorted(range(len(pairs)), key=lambda i: _order(pairs[i]))
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
