"""Which drives to hold out, which to test together: the one rule for scenes and for answers.

Neighbouring clips of a drive overlap, so a drive never stands on two sides of a split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def drives_near(lengths: Mapping[str, int], share: float) -> set[str]:
    """Drives whose clips come close to a share of all: shortest first, as long as that helps.

    At least one drive is chosen and at least one left, where there are two.
    """
    wanted, held, filled = share * sum(lengths.values()), set[str](), 0
    for drive in sorted(lengths, key=lambda d: (lengths[d], d)):
        nearer = abs(filled + lengths[drive] - wanted) < abs(filled - wanted)
        if len(held) + 1 < len(lengths) and (nearer or not held):
            held.add(drive)
            filled += lengths[drive]
    return held


def balanced(lengths: Mapping[str, int], count: int) -> list[set[str]]:
    """Deal drives to `count` groups, longest first, always to the emptiest group."""
    groups: list[set[str]] = [set() for _ in range(count)]
    filled = [0] * count
    for drive in sorted(lengths, key=lambda d: (-lengths[d], d)):
        slot = filled.index(min(filled))
        groups[slot].add(drive)
        filled[slot] += lengths[drive]
    return groups


def few_of_each(drives: Sequence[str], count: int) -> list[int]:
    """Places of at most `count` clips: as many of each drive, evenly over its length.

    Args:
        drives: [clips] drive of each, in the order of the clips.
    """
    names = sorted(set(drives))
    kept: list[int] = []
    for number, name in enumerate(names):
        places = [place for place, drive in enumerate(drives) if drive == name]
        quota = (number + 1) * count // len(names) - number * count // len(names)
        quota = min(quota, len(places))
        kept += [places[i * len(places) // quota] for i in range(quota)]
    return sorted(kept)
