"""The network over whole answers at once: what it says behind every start, several tokens deep.

Beside the true rows stand rows of each depth, one per start that is gone on with; each sees the
true rows before its start and the predicted rows of its own chain, no other, and as much of the
memory as had arrived when its chain was begun.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdraft.drafters.crossmodal.network import Crossmodal
from crossdraft.drafters.translator_network import Decoded, KeyValue


@dataclass(frozen=True, eq=False)
class Answers:
    """A batch as the network reads it.

    Attributes:
        question: [batch, q, hidden] embeddings, padded on the left.
        question_lengths: [batch] how many of them are there, one or more.
        states: [batch, n, hidden] true states of the answers' tokens.
        hidden: [batch, n] true where the state is not to be seen; None: all are seen.
        tokens: [batch, n, hidden] embeddings of the answers' tokens.
        lengths: [batch] tokens of each answer.
        memory: [batch, ., 1 + words, .] from `Crossmodal.remember`.
        arrived: [batch, n] words that each start sees.
    """

    question: Tensor
    question_lengths: Tensor
    states: Tensor
    hidden: Tensor | None
    tokens: Tensor
    lengths: Tensor
    memory: tuple[KeyValue, ...]
    arrived: Tensor


def unrolled(
    network: Crossmodal, answers: Answers, steps: int, chosen: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Chains behind every start, one depth after the other.

    Args:
        chosen: [batch, s] starts, each of a row once, whose chains are deeper than one token; None:
            all of them. What the rows of one chain say does not depend on which others there are.

    Yields:
        For depth d and a row's s starts (all, n, at depth 0) the states [batch, s, hidden] that
        chains predict: of start i, which knows the first i tokens, the state i + d; [batch, s]
        those places i + d; and [batch, s] whether the answer has a token there.
    """
    batch, length = answers.tokens.shape[:2]
    device = answers.tokens.device
    start = torch.arange(length, device=device).expand(batch, -1)
    asked = answers.question.shape[1]
    first, past = _true_rows(network, answers)
    said = first[:, asked - 1 :]
    yield said, start, start < answers.lengths[:, None]
    mask = _true_mask(answers)[:, :, asked - 1 :]
    seen = _memory_mask(answers.arrived, answers.memory)
    if chosen is not None:
        start, said = chosen, _rows_at(said, chosen)
        mask, seen = (_rows_at(one[:, 0].expand(batch, -1, -1), chosen)[:, None]
                      for one in (mask, seen))  # fmt: skip
    own = torch.eye(start.shape[1], dtype=torch.bool, device=device).expand(batch, 1, -1, -1)
    for depth in range(1, steps):
        place = start + depth
        before = (place - 1).clamp(max=length - 1)
        rows = network.answer_rows(said, _rows_at(answers.tokens, before), before)
        mask = torch.cat([mask, own], dim=3)
        said, past = network.extend(rows, past, answers.memory, mask, seen)
        yield said, place, place < answers.lengths[:, None]


def _rows_at(values: Tensor, places: Tensor) -> Tensor:
    """[batch, s, ...] of [batch, n, ...] at [batch, s]."""
    return values[torch.arange(len(values), device=values.device)[:, None], places]


def _true_rows(network: Crossmodal, answers: Answers) -> tuple[Tensor, Decoded]:
    """The question, and all of the answer but its last token."""
    length = answers.tokens.shape[1]
    places = torch.arange(length - 1, device=answers.tokens.device)
    tokens = answers.tokens[:, :-1]
    rows = network.answer_rows(answers.states[:, :-1], tokens, places)
    if answers.hidden is not None:
        blind = network.hidden_rows(tokens, places)
        rows = torch.where(answers.hidden[:, :-1, None], blind, rows)
    asked = network.question_rows(answers.question)
    arrived = answers.arrived
    of_question = arrived[:, :1].expand(-1, asked.shape[1] - 1)
    seen = _memory_mask(torch.cat([of_question, arrived], dim=1), answers.memory)
    return network.extend(
        torch.cat([asked, rows], dim=1), None, answers.memory, _true_mask(answers), seen
    )


def _true_mask(answers: Answers) -> Tensor:
    """[batch, 1, q + n - 1, q + n - 1] which true row sees which."""
    asked = answers.question.shape[1]
    rows = asked + answers.tokens.shape[1] - 1
    place = torch.arange(rows, device=answers.tokens.device)
    there = place >= asked - answers.question_lengths[:, None]
    before = place[:, None] >= place
    # Padding sees itself: attention over nothing is no number.
    itself = torch.eye(rows, dtype=torch.bool, device=place.device)
    return ((before & there[:, None]) | itself)[:, None]


def _memory_mask(arrived: Tensor, memory: tuple[KeyValue, ...]) -> Tensor:
    """[batch, 1, rows, 1 + words] from [batch, rows]: the null row, and what has arrived."""
    words = torch.arange(memory[0][0].shape[2], device=arrived.device)
    return (words <= arrived[..., None])[:, None]
