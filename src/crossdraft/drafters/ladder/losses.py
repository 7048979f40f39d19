"""What the ladder learns from: tokens through the target's frozen head, or the seed study's states.

Only positions count where both the input and what it stands for exist.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.drafters.states import Predicted
from crossdraft.drafters.trainable import Loss, TokenBatch, TopBatch, hits
from crossdraft.pairs.record import Head


@dataclass(frozen=True, eq=False)
class Counted:
    """Outputs that count, and what they stand for.

    Attributes:
        inside: [batch, length] true where output t counts.
        labels: [count] the token that each of them stands for.
        shift: between an output and what it stands for.
    """

    inside: Tensor
    labels: Tensor
    shift: int

    @property
    def length(self) -> int:
        """Outputs that may count; those behind stand for nothing."""
        return self.inside.shape[1]

    @property
    def count(self) -> int:
        """How many count."""
        return len(self.labels)

    def of(self, rows: Tensor) -> Tensor:
        """[count, ...] of what lies [batch, n, ...] at the positions that are stood for."""
        return rows[:, self.shift : self.shift + self.length][self.inside]

    def hits(self, logits: Tensor) -> tuple[int, int]:
        """Labels that are the first of the candidates [count, vocab], and among the first five."""
        _, top1, top5 = hits(logits, self.labels)
        return top1, top5


def counted(batch: TokenBatch, outputs: int, lengths: Tensor, shift: int) -> Counted:
    """Outputs t with an input (t < lengths) and a target token t + shift."""
    length = max(0, min(outputs, batch.target.shape[1] - shift))
    place = torch.arange(length, device=batch.target.device)
    inside = (place < lengths[:, None]) & (place + shift < batch.target_lengths[:, None])
    return Counted(inside, batch.target[:, shift : shift + length][inside], shift)


def token_loss(
    said: Predicted,
    batch: TokenBatch,
    rows: Counted,
    head: Head,
    kl_weight: float,
    feature_weight: float,
    smoothing: float = 0.0,
) -> Loss:
    """Cross entropy of the tokens that outputs stand for, and of what is asked for beside it.

    Args:
        smoothing: of the labels.
    """
    chosen = said.states[:, : rows.length][rows.inside]
    if said.scores is None:
        logits = head.logits(chosen)
    else:
        logits = said.scores[:, : rows.length][rows.inside]
    if not rows.count:
        return Loss(said.states.sum() * 0.0, 0, 0, 0)
    value = functional.cross_entropy(logits.float(), rows.labels, label_smoothing=smoothing)
    if kl_weight and batch.top is not None:
        value = value + kl_weight * divergence(logits, batch.top, rows)
    if feature_weight:
        value = value + feature_weight * functional.mse_loss(
            chosen, rows.of(batch.states["target"])
        )
    with torch.no_grad():
        wanted = rows.of(batch.states["target"])
        cosine = float(functional.cosine_similarity(chosen, wanted, dim=-1).mean())
    return Loss(value, rows.count, *rows.hits(logits.detach()), cosine)


def divergence(logits: Tensor, top: TopBatch, rows: Counted) -> Tensor:
    """KL of the target's distribution from the drafter's: of the stored ids, and of all others in
    one.

    Args:
        logits: [count, vocab] of the drafter.
    """
    ids, total = rows.of(top.ids), rows.of(top.total)
    known = rows.of(top.logits) - total[:, None]
    said = logits.float().log_softmax(-1).gather(1, ids)
    divergence = (known.exp() * (known - said)).sum(-1)
    rest, theirs = _rest(known), _rest(said)
    return (divergence + rest * (rest.log() - theirs.log())).mean()


def _rest(logp: Tensor) -> Tensor:
    """[count] probability that is left beside those of [count, k]."""
    return (1 - logp.exp().sum(-1)).clamp(min=1e-6)


def seed_loss(
    states: Tensor, batch: TokenBatch, rows: Counted, aligned: Counted | None = None
) -> tuple[Tensor, float]:
    """The seed study's: mean squared error + 0.5 (1 - cosine) of the aligned states; where outputs
    stand for the next state, half of that and half the error there.

    Args:
        states: [batch, n, hidden].
        rows: outputs that count, and the states that they stand for.
        aligned: the same for the state in place, where outputs stand for the next one.

    Returns:
        The loss, and the mean cosine to the states that outputs stand for.
    """
    place = rows if aligned is None else aligned
    if not rows.count:
        return states.sum() * 0.0, 0.0
    target = batch.states["target"]
    here, wanted = states[:, : place.length][place.inside], place.of(target)
    cosine = functional.cosine_similarity(here, wanted, dim=-1).mean()
    align = functional.mse_loss(here, wanted) + 0.5 * (1 - cosine)
    if aligned is None:
        return align, float(cosine.detach())
    chosen = states[:, : rows.length][rows.inside]
    with torch.no_grad():
        said = float(functional.cosine_similarity(chosen, rows.of(target), dim=-1).mean())
    return 0.5 * align + 0.5 * functional.mse_loss(chosen, rows.of(target)), said
