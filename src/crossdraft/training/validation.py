"""What is measured after each epoch: loss, top-1, top-5 and chain tau on held-out answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from crossdraft.decoding.chains import chain_forwards
from crossdraft.drafters.trainable import TokenBatch, Trainable


@dataclass(frozen=True)
class Validation:
    """One drafter on held-out answers; tau is that of chains, everything arrived."""

    loss: float
    top1: float
    top5: float
    tau: float


@torch.no_grad()
def validate(drafter: Trainable, batches: Sequence[TokenBatch], gamma: int) -> Validation:
    """Measure `drafter` on `batches`, in evaluation mode.

    Args:
        gamma: length of the chains.
    """
    drafter.network.eval()
    loss, tokens, top1, top5, emitted, forwards = 0.0, 0, 0, 0, 0, 0
    for batch in batches:
        said = drafter.loss(batch)
        loss += float(said.value) * said.tokens
        tokens, top1, top5 = tokens + said.tokens, top1 + said.top1, top5 + said.top5
        chains = drafter.rollouts(batch, gamma).cpu().numpy()
        lengths = batch.target_lengths.cpu().numpy()
        emitted += int(lengths.sum())
        forwards += int(chain_forwards(chains, batch.target.cpu().numpy(), lengths).sum())
    counted = max(1, tokens)
    return Validation(loss / counted, top1 / counted, top5 / counted, emitted / max(1, forwards))
