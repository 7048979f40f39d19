"""Small crossmodal drafters, batches of made pairs, and a stream whose words a test lets come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from crossdraft.decoding.arrival import RecordedStream
from crossdraft.decoding.replay import RecordedRows
from crossdraft.drafters.base import Context
from crossdraft.drafters.crossmodal.drafter import CrossmodalDrafter
from crossdraft.drafters.crossmodal.unrolling import Answers, unrolled
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from tests.drafters.ladder.made import made_pairs
from tests.tiny import built

PAIRS = made_pairs(12, seed=3)


def drafter_of(
    pairs: Sequence[Pair] = PAIRS, *, compiled: bool = False, double: bool = False, **options: Any
) -> CrossmodalDrafter:
    """Random weights, large enough that every input matters."""
    drafter = built("crossmodal", pairs, **{"num_layers": 2, "dropout": 0.0, **options})
    assert isinstance(drafter, CrossmodalDrafter)
    with torch.random.fork_rng(devices=()), torch.no_grad():
        torch.manual_seed(5)
        for name, weight in drafter.network.named_parameters():
            if "norm" not in name:
                weight.copy_(0.3 * torch.randn(weight.shape))
    drafter.compiled = compiled
    if double:
        drafter.network.double()
    drafter.network.eval()
    return drafter


def batch_of(drafter: CrossmodalDrafter, pairs: Sequence[Pair] = PAIRS) -> TokenBatch:
    """Some pairs as training sees them."""
    return TokenBatch.of(pairs, drafter.max_length, needs=drafter.batch_needs)


def begun(
    drafter: CrossmodalDrafter, pair: Pair, *, head: Any = None, question: Sequence[int] = (-1,)
) -> RecordedStream:
    """Begin an answer; nothing has arrived yet."""
    thoughts = thoughts_of(pair)
    own = None if drafter.config.memory == "none" else thoughts.states("own")
    stream = RecordedStream(pair.draft_tokens, own)
    stream.visible = 0
    asked = thoughts.question_ids if tuple(question) == (-1,) else tuple(question)
    drafter.begin(Context(pair.question, stream, head=head or thoughts.head, question_ids=asked))
    return stream


def rows_of(pair: Pair, first: int, end: int) -> RecordedRows:
    """The target's states of some tokens, as a pass keeps them."""
    return RecordedRows(thoughts_of(pair).states("target")[first:end])


def depths(
    drafter: CrossmodalDrafter, answers: Answers, steps: int, chosen: Tensor | None = None
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """All that `unrolled` yields."""
    with torch.no_grad():
        return list(unrolled(drafter.network, answers, steps, chosen))
