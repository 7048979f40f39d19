"""How predictable a set of answers is by itself, and how much of it attributes of the scene tell.

Answers that tables foresee flatter every drafter; answers that only the camera could give leave an
event model nothing to tell. Both are measured here on answers that the tables have not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.base.result import Estimate
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import rank_without_prefix, replay
from crossdraft.drafters.base import Budget
from crossdraft.drafters.position import PositionDrafter
from crossdraft.evaluation.bootstrap import BlockBootstrap, Floats, few_blocks
from crossdraft.evaluation.predictability_oracle import OracleTable
from crossdraft.evaluation.predictability_tables import NGramDrafter, TokenTable
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import blocks, drives_known

#: Longest table, short table, drafts per forward.
LONG, SHORT, GAMMA = 12, 5, 5
#: Clips of a recording per bootstrap block where drives are not known.
_BLOCK_CLIPS = 20
_RESAMPLES = 2000


@dataclass(frozen=True)
class Spoken:
    """One answer as tokens.

    Attributes:
        pair: the answer stands as its target's, the end token included where there is one.
        seen: attributes of the scene that an event camera sees, None where they are not known.
        camera_only: those that only a video camera sees, None where they are not known.
        camera_tokens: how many tokens overlap words marked with one of these, None without marks.
        words: how many words the answer's text has, None where only its tokens are known.
        ended: whether the last token ends the answer and is no part of the text.
    """

    pair: Pair
    seen: Mapping[str, str] | None = None
    camera_only: Mapping[str, str] | None = None
    camera_tokens: int | None = None
    words: int | None = None
    ended: bool = False


@dataclass(frozen=True)
class Part:
    """Answers to learn from and answers to measure on; no drive or clip stands in both."""

    train: tuple[Spoken, ...]
    test: tuple[Spoken, ...]


@dataclass
class _Counts:
    """One row per test answer; each list as long as the others."""

    columns: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **counts: float) -> None:
        for name, count in counts.items():
            self.columns.setdefault(name, []).append(count)

    def __getitem__(self, name: str) -> Floats:
        return np.array(self.columns[name], np.float64)

    def __contains__(self, name: str) -> bool:
        return name in self.columns


def predictability(
    parts: Sequence[Part], seed: int = 0, sink: ProgressSink = silent
) -> tuple[dict[str, Any], list[str]]:
    """Measure the test answers of all parts, tables fitted on each part's train answers.

    Args:
        seed: of the bootstrap.

    Returns:
        Plain JSON values and warnings. The values, all ratios of sums over test answers:

        `tau`: tokens per forward if the 12-gram table drafts chains of five and the first forward
        counts (`decoding.replay`). `position_match`: share of tokens equal to the most frequent one
        of that question at that position. `twelve_gram`, `five_gram`: share of tokens that the
        table guesses behind the right ones; the 5-gram keeps questions apart. `with_seen`,
        `with_all`: the same of the 5-gram that also knows attributes (`OracleTable`), those that an
        event camera sees, or all; `gain_seen`, `gain_all`: what they have over the 5-gram.
        `camera_tokens`: share of tokens that overlap words naming what only a camera sees. None
        stands where attributes or marks are not known of every answer, of all parts; a warning
        says so where some have them. `tokens`: mean, least and most per answer, and how many a
        word of the text has, the end token left out. `distinct`: different answers to a question
        over answers.
    """
    known, warnings = _known_to_all(parts)
    counts = _Counts()
    for part in track(parts, "splits", len(parts), sink):
        _measure(part, counts, known)
    spoken = [one for part in parts for one in part.test]
    tested = [one.pair for one in spoken]
    groups = blocks(tested, _BLOCK_CLIPS)
    bootstrap = BlockBootstrap(groups, _RESAMPLES, seed)
    lengths = [len(pair.target_tokens) for pair in tested]
    payload: dict[str, Any] = {
        name: None if estimate is None else estimate.to_json()
        for name, estimate in _estimates(counts, bootstrap).items()
    }
    payload["tokens"] = {
        "mean": sum(lengths) / len(lengths), "min": min(lengths), "max": max(lengths),
        "per_word": _per_word(spoken),
    }  # fmt: skip
    payload["distinct"] = len({(p.question, p.target_tokens) for p in tested}) / len(tested)
    payload["data"] = {
        "train_answers": [len(part.train) for part in parts],
        "test_answers": len(tested),
        "drives": len({p.drive for p in tested}) if drives_known(tested) else None,
        "questions": len({p.question for p in tested}),
        "bootstrap_blocks": len(groups),
    }
    return payload, [*warnings, *few_blocks(groups)]


def _known_to_all(parts: Sequence[Part]) -> tuple[set[str], list[str]]:
    """Which of `seen`, `all` and `camera` every answer knows, and what only some do not."""
    tested = {one.pair.key: one for part in parts for one in part.test}
    everyone = tested | {one.pair.key: one for part in parts for one in part.train}
    lacking = {
        "seen": [one.seen is None for one in everyone.values()],
        "all": [one.seen is None or one.camera_only is None for one in everyone.values()],
        "camera": [one.camera_tokens is None for one in tested.values()],
    }
    told = {
        "seen": "answers do not know what an event camera sees: no gain by it",
        "all": "answers do not know all attributes: no gain by them",
        "camera": "test answers do not know what only a camera sees: no camera-only tokens",
    }
    warnings = [
        f"{sum(lacks):,} of {len(lacks):,} {told[name]}"
        for name, lacks in lacking.items()
        if any(lacks) and not all(lacks) and not (name == "all" and lacks == lacking["seen"])
    ]
    return {name for name, lacks in lacking.items() if not any(lacks)}, warnings


def _per_word(spoken: Sequence[Spoken]) -> float | None:
    """Tokens per word of those answers whose text is known."""
    told = [one for one in spoken if one.words is not None]
    words = sum(one.words or 0 for one in told)
    tokens = sum(len(one.pair.target_tokens) - one.ended for one in told)
    return tokens / words if words else None


def _estimates(counts: _Counts, bootstrap: BlockBootstrap) -> dict[str, Estimate | None]:
    tokens = counts["tokens"]
    ratios = {
        "tau": (tokens, counts["forwards"]),
        "position_match": (counts["position"], tokens),
        "twelve_gram": (counts["long"], tokens),
        "five_gram": (counts["short"], tokens),
    }
    for known in ("seen", "all"):
        if known in counts:
            ratios[f"with_{known}"] = (counts[known], tokens)
            ratios[f"gain_{known}"] = (counts[known] - counts["short"], tokens)
    if "camera" in counts:
        ratios["camera_tokens"] = (counts["camera"], tokens)
    top, bottom = (np.stack(side, axis=1) for side in zip(*ratios.values(), strict=True))
    made = dict(zip(ratios, bootstrap.ratio(top, bottom), strict=True))
    optional = ("with_seen", "gain_seen", "with_all", "gain_all", "camera_tokens")
    return {**made, **{name: None for name in optional if name not in made}}


def _measure(part: Part, counts: _Counts, known: Set[str]) -> None:
    """Fit everything on the train answers, add a row for each test answer.

    Args:
        known: as `_known_to_all` gives it.
    """
    train = [spoken.pair for spoken in part.train]
    long, short = TokenTable(LONG), TokenTable(SHORT, by_question=True)
    drafter, position = NGramDrafter(long), PositionDrafter()
    drafter.fit(train)
    short.fit(train)
    position.fit(train)
    oracles = {name: _oracle(part, short, name) for name in ("seen", "all") if name in known}
    for spoken in part.test:
        pair = spoken.pair
        done = replay(drafter, pair, Budget.chain(GAMMA), Arrival())
        counts.add(
            tokens=done.tokens,
            forwards=done.forwards,
            position=rank_without_prefix(position, pair, 1).count(0),
            long=_right(long, pair),
            short=_right(short, pair),
            **{name: _right_knowing(o, short, spoken, name) for name, o in oracles.items()},
        )
        if "camera" in known:
            counts.add(camera=spoken.camera_tokens or 0)


def _oracle(part: Part, short: TokenTable, which: str) -> OracleTable:
    made = OracleTable(short)
    made.fit([s.pair for s in part.train], [_known(s, which) for s in part.train])
    return made


def _known(spoken: Spoken, which: str) -> Mapping[str, str]:
    seen = spoken.seen or {}
    return seen if which == "seen" else {**seen, **(spoken.camera_only or {})}


def _right(table: TokenTable, pair: Pair) -> int:
    row = table.row(pair.question, pair.target_tokens)
    return sum(
        table.guess(pair.question, row[max(0, place - table.order + 1) : place]) == row[place]
        for place in range(1, len(row))
    )


def _right_knowing(oracle: OracleTable, plain: TokenTable, spoken: Spoken, which: str) -> int:
    pair = spoken.pair
    values = oracle.values_of(_known(spoken, which))
    row = plain.row(pair.question, pair.target_tokens)
    return sum(
        oracle.guess(pair.question, row[max(0, place - plain.order + 1) : place], values)
        == row[place]
        for place in range(1, len(row))
    )
