"""Small made-up data for tests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from crossdraft.pairs.record import Pair

QUESTION = "What is in this scene?"


def pair_of(target: Sequence[int], draft: Sequence[int] = ()) -> Pair:
    """One pair of these two answers."""
    return Pair("clip", 0, QUESTION, 0, tuple(draft), tuple(target))


def recorded_pairs(
    clips: int, *, seed: int = 0, drives: int | None = None, timed: bool = False
) -> tuple[Pair, ...]:
    """Pairs like recorded ones: templated target answers that change slowly along a drive, and
    drafter answers in other words.

    Args:
        drives: number of driving sequences to name, None to name none.
        timed: give every pair measured stages.
    """
    rng = random.Random(seed)
    scene = [rng.randrange(100, 120) for _ in range(6)]
    pairs = []
    for i in range(clips):
        if rng.random() < 0.3:
            scene[rng.randrange(6)] = rng.randrange(100, 120)
        target = [5, 6, 7, scene[0], 8, scene[1], 9, 9, scene[2], 10, 5, scene[0], 11, scene[3]]
        draft = [20, scene[0], 21, rng.randrange(100, 120), 22][: rng.randrange(1, 6)]
        pairs.append(
            Pair(
                clip=f"clip-{i:04d}",
                index=i,
                question=QUESTION,
                question_index=0,
                draft_tokens=(*draft, 2),
                target_tokens=(*target[: rng.randrange(9, 15)], 2),
                draft_text="drafted words",
                target_text="target words",
                dataset="made_up_1s",
            )
        )
        if drives is not None:
            number = i * drives // clips
            pairs[-1] = replace(pairs[-1], drive=f"drive_{number:02d}")
        if timed:
            pairs[-1] = replace(
                pairs[-1],
                draft_stages_ms=(1.0, 2.0, 3.0, 14.0, 10.0 * (len(draft))),
                target_stages_ms=(5.0, 10.0, 0.0, 30.0, 15.0 * (len(pairs[-1].target_tokens) - 1)),
            )
    return tuple(pairs)
