"""The first look at the seed study's states: is everything right, and what do they need?

A state that is not a number, a value in the padding or a clip that stands twice is found before
anything is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.pairs.seed_chunks import OWN, TARGET, Chunk
from crossdraft.pairs.store.kinds import SIDES, Side
from crossdraft.pairs.store.packing import EXACT, exact_dtypes

#: What the files call the states of each side.
KEYS: Mapping[Side, str] = {"own": OWN, "target": TARGET}
#: States looked at at once.
_BLOCK_BYTES = 64 << 20
#: Numbers of questions beyond are no list of questions.
_MAX_QUESTIONS = 10_000


@dataclass
class Survey:
    """What the first round over the files finds.

    Attributes:
        exact: of each kind, the number formats that hold every value so far.
        seen: where each clip and question stands.
        questions: by number.
        positions: states of each side.
        width: of a state; 0 before the first chunk.
        unknown: names of what the files hold beyond the study's fields.
    """

    exact: dict[Side, list[str]] = field(default_factory=lambda: {s: [*EXACT] for s in SIDES})
    seen: dict[tuple[int, int], str] = field(default_factory=dict)
    questions: dict[int, str] = field(default_factory=dict)
    positions: int = 0
    width: int = 0
    unknown: set[str] = field(default_factory=set)

    def question_list(self) -> tuple[str, ...]:
        """The questions by number; those that nobody asked are empty."""
        count = max(self.questions) + 1
        if count > _MAX_QUESTIONS:
            return ()
        return tuple(self.questions.get(number, "") for number in range(count))


def look(chunk: Chunk, survey: Survey) -> None:
    """Check one chunk's pairs and states, and add what it shows to the survey.

    Raises:
        InputError: a clip and question stands twice, a state is not finite, the padding is not
            zero, or the width is not that of the chunks before.
    """
    for place, sample in enumerate(chunk.samples):
        here = f"{chunk.path.name}, pair {place}"
        key = (sample.index, sample.question_index)
        first = survey.seen.setdefault(key, here)
        if first != here:
            raise InputError(
                f"pair {place} repeats sample {key[0]}, question {key[1]} of {first}",
                where=chunk.path,
                expected="every sample and question once",
            )
        survey.questions.setdefault(sample.question_index, sample.question)
    width = chunk.own.shape[2]
    if survey.width not in (0, width):
        raise InputError(
            f"states of width {width}, those before have {survey.width}",
            where=chunk.path,
            expected="one width",
        )
    survey.width = width
    survey.unknown.update(chunk.unknown)
    survey.positions += sum(chunk.lengths)
    for side in SIDES:
        for start, block in blocks(chunk.own if side == "own" else chunk.target):
            valid = _valid(block, chunk.lengths[start : start + len(block)], chunk, side, start)
            survey.exact[side] = exact_dtypes(valid, survey.exact[side])


def _valid(block: Tensor, lengths: tuple[int, ...], chunk: Chunk, side: Side, start: int) -> Tensor:
    """The states [positions, width] of a padded block, once they and the padding are checked."""
    there = torch.arange(block.shape[1])[None] < torch.tensor(lengths)[:, None]
    for faulty, found, expected in (
        (~block.isfinite().all(dim=2) & there, "is not finite", "numbers"),
        ((block != 0).any(dim=2) & ~there, "stands behind the answer's end", "zeros there"),
    ):
        if faulty.any():
            pair, position = faulty.nonzero()[0].tolist()
            raise InputError(
                f"{KEYS[side]}: state {position} of pair {start + pair} {found}",
                where=chunk.path,
                expected=expected,
            )
    return block[there]


def blocks(states: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Padded states [n, longest, width] as float32, some pairs at a time, each with its place."""
    each = max(1, states.shape[1] * states.shape[2] * 4)
    step = max(1, _BLOCK_BYTES // each)
    for start in range(0, len(states), step):
        yield start, states[start : start + step].float()
