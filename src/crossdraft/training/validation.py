"""What is measured after each epoch on held-out answers: loss, top-1, top-5 and chain tau; of
drafters that predict states also how near these come to the true ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from crossdraft.decoding.chains import chain_forwards
from crossdraft.drafters.states import StateDrafter
from crossdraft.drafters.trainable import TokenBatch, Trainable

#: Cosines that the seed study counted as accepted.
_THRESHOLDS = (80, 85, 90, 95)


@dataclass(frozen=True)
class Validation:
    """One drafter on held-out answers; tau is that of chains, everything arrived.

    Attributes:
        states: of drafters that predict states: `cos_sim`, their mean cosine to the state that
            they stand for, and `accept_80` and so on, the share above that.
    """

    loss: float
    top1: float
    top5: float
    tau: float
    states: dict[str, float] = field(default_factory=dict)


@torch.no_grad()
def validate(drafter: Trainable, batches: Iterable[TokenBatch], gamma: int) -> Validation:
    """Measure `drafter` on `batches`, in evaluation mode.

    Args:
        gamma: length of the chains.
    """
    drafter.network.eval()
    loss, tokens, top1, top5, emitted, forwards = 0.0, 0, 0, 0, 0, 0
    near = _Near()
    for batch in batches:
        said = drafter.loss(batch)
        loss += float(said.value) * said.tokens
        tokens += said.tokens
        top1, top5 = top1 + (said.top1 or 0), top5 + (said.top5 or 0)
        chains = drafter.rollouts(batch, gamma).cpu().numpy()
        lengths = batch.target_lengths.cpu().numpy()
        emitted += int(lengths.sum())
        forwards += int(chain_forwards(chains, batch.target.cpu().numpy(), lengths).sum())
        if isinstance(drafter, StateDrafter):
            near.add(drafter, batch)
    counted = max(1, tokens)
    return Validation(
        loss / counted, top1 / counted, top5 / counted, emitted / max(1, forwards), near.shares()
    )


class _Near:
    """How near predicted states come to those that they stand for."""

    def __init__(self) -> None:
        self._count, self._sum = 0, 0.0
        self._above = dict.fromkeys(_THRESHOLDS, 0)

    def add(self, drafter: StateDrafter, batch: TokenBatch) -> None:
        alignment, shift = drafter.alignment, drafter.shift
        states = drafter.predicted(batch, alignment).states
        target = batch.states["target"][:, shift : shift + states.shape[1]]
        length = target.shape[1]
        place = torch.arange(length, device=target.device)
        inside = place + shift < batch.target_lengths[:, None]
        if alignment == "own" and "own_states" in drafter.reads("own"):
            inside = inside & (place < batch.draft_lengths[:, None])
        cosine = functional.cosine_similarity(states[:, :length][inside], target[inside], dim=-1)
        self._count += len(cosine)
        self._sum += float(cosine.sum())
        for threshold in _THRESHOLDS:
            self._above[threshold] += int((cosine > threshold / 100).sum())

    def shares(self) -> dict[str, float]:
        if not self._count:
            return {}
        shares = {f"accept_{t}": above / self._count for t, above in self._above.items()}
        return {"cos_sim": self._sum / self._count, **shares}
