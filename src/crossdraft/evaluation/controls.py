"""What stands beside every number.

A drafter is only worth something against drafters that know nothing: plain decoding, a table of
positions, earlier answers, the event model's raw words, and each drafter that reads the event
model fed with another scene's answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crossdraft.drafters.registry import create
from crossdraft.pairs.record import Pair

ALWAYS = ("none", "position", "suffix", "drafter-text")
SHUFFLED = "@shuffled"


def with_controls(asked: Sequence[str]) -> list[str]:
    """What runs: the controls, what was asked for, and shuffled twins of all that read drafts."""
    plain = list(dict.fromkeys([*ALWAYS, *asked]))
    readers = [name for name in plain if "draft_tokens" in create(name).needs]
    return [*plain, *(name + SHUFFLED for name in readers)]


def shuffled_drafts(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs, each with the drafter's answer to its question about a clip half the set away.

    A fixed shift, not a random one: it is the same for every drafter and never lands on an
    overlapping neighbour in a set of ordinary size. A question asked once keeps its own answer.
    """
    by_question: dict[str, list[int]] = {}
    for i, pair in enumerate(pairs):
        by_question.setdefault(pair.question, []).append(i)
    shuffled = list(pairs)
    for indices in by_question.values():
        half = len(indices) // 2
        for place, i in enumerate(indices):
            other = pairs[indices[(place + half) % len(indices)]]
            shuffled[i] = replace(pairs[i], draft_tokens=other.draft_tokens)
    return shuffled
