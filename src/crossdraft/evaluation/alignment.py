"""Rows of tokens against the target, position by position: hits, runs, and what sums up samples.

A row is what somebody writes without being corrected. This is not acceptance in decoding, where
the drafter goes on from the target's own words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.pairs.record import Pair

#: One token id per position, None where the row has none.
Row = tuple[int | None, ...]


@dataclass(frozen=True)
class Comparison:
    """A row against the target, position by position.

    Attributes:
        hits: for each compared position whether both say the same token; a position without a
            token of the row's is a miss.
    """

    hits: tuple[bool, ...]

    @classmethod
    def of(cls, row: Sequence[int | None], target: Sequence[int], first: int) -> Comparison:
        """Compare from position `first` to the end of the target."""
        padded = [*row, *[None] * len(target)]
        return cls(tuple(a == b for a, b in zip(padded[first:], target[first:], strict=False)))

    @property
    def matched(self) -> int:
        return sum(self.hits)

    @property
    def consecutive(self) -> int:
        """Matches before the first miss: what one verification of the row accepts."""
        return (*self.hits, False).index(False)

    def to_json(self) -> dict[str, Any]:
        return {
            "compared": len(self.hits),
            "matched": self.matched,
            "match_rate": _share(self.matched, len(self.hits)),
            "consecutive": self.consecutive,
        }


def written_alone(drafter: Drafter, pair: Pair) -> Row:
    """What the drafter writes when nobody corrects it: its first candidate at every position of
    the target's answer, from its own earlier ones, all of the event model's answer at hand.

    The procedure of `decoding.replay.rank_without_prefix`, which keeps ranks and not tokens.
    """
    drafter.begin(Context(pair.question, RecordedStream(pair.draft_tokens)))
    written: list[int] = []
    for _ in pair.target_tokens:
        offered = drafter.propose(written, Budget.next_token(1)).tokens
        written.append(int(offered[0]) if len(offered) else -1)
    return tuple(None if token < 0 else token for token in written)


def summarise(comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Numbers over samples; the match rate is a ratio of sums."""
    matched = sum(c.matched for c in comparisons)
    compared = sum(len(c.hits) for c in comparisons)
    runs = [c.consecutive for c in comparisons]
    return {
        "samples": len(runs),
        "compared": compared,
        "matched": matched,
        "match_rate": _share(matched, compared),
        "consecutive_mean": mean(runs),
        "consecutive_median": float(median(runs)),
        "consecutive_max": max(runs),
        "consecutive_zero": runs.count(0) / len(runs),
        "consecutive_counts": {str(n): count for n, count in sorted(Counter(runs).items())},
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
