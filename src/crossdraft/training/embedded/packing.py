"""One clip with several questions as one row: the picture is read once, questions do not see one
another.

Behind the picture each question begins at the same position as it would alone, and attends to the
picture and to itself; so every answer gets the logits that it gets in a prompt of its own, at a
fraction of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdraft.drafters.trainable import IGNORE

#: Stands in rows that are shorter than others; nothing attends to it and no loss counts it.
_PAD = 0


@dataclass(frozen=True)
class Turn:
    """One question and its answer, as ids.

    Attributes:
        question: ids between the picture and the answer.
        answer: ids of the answer, the end token included.
        labels: what is to be said in place of `answer`, `IGNORE` where nothing is to be learned.
    """

    question: tuple[int, ...]
    answer: tuple[int, ...]
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Packed:
    """Rows of clips, each the picture's prefix and its turns.

    Attributes:
        ids: [batch, length] int64.
        positions: [batch, length] int64.
        mask: [batch, 1, length, length] bool, True where a position is attended to.
        labels: [batch, length] int64: what each position should say next, `IGNORE` where nothing
            is to be learned.
    """

    ids: Tensor
    positions: Tensor
    mask: Tensor
    labels: Tensor


def pack(prefix: Sequence[int], rows: Sequence[Sequence[Turn]]) -> Packed:
    """Pack clips.

    Args:
        prefix: ids of every prompt up to its picture's last slot.
        rows: turns of each clip, at least one.
    """
    start = len(prefix)
    lengths = [start + sum(len(t.question) + len(t.answer) - 1 for t in turns) for turns in rows]
    batch, longest = len(rows), max(lengths)
    ids = torch.full((batch, longest), _PAD)
    positions = torch.zeros((batch, longest), dtype=torch.int64)
    labels = torch.full((batch, longest), IGNORE)
    # The prefix is block 0, turns count from 1, padding is -1.
    blocks = torch.full((batch, longest), -1)
    ids[:, :start] = torch.tensor(prefix)
    positions[:, :start] = torch.arange(start)
    blocks[:, :start] = 0
    for row, turns in enumerate(rows):
        at = start
        for number, turn in enumerate(turns, 1):
            # The end token is said, and never read.
            read = (*turn.question, *turn.answer[:-1])
            here = slice(at, at + len(read))
            ids[row, here] = torch.tensor(read)
            positions[row, here] = torch.arange(start, start + len(read))
            blocks[row, here] = number
            told = slice(at + len(turn.question) - 1, here.stop)
            labels[row, told] = torch.tensor(turn.labels or turn.answer)
            at = here.stop
    # A padded position sees itself and other padding: a row without anything to see is no number.
    same = blocks[:, :, None] == blocks[:, None, :]
    picture = (blocks == 0)[:, None, :] & (blocks >= 0)[:, :, None]
    earlier = torch.ones((longest, longest), dtype=torch.bool).tril()
    return Packed(ids, positions, ((same | picture) & earlier)[:, None], labels)
