"""The target's two ends as the crossmodal network uses them: embeddings in, tokens out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from crossdraft.drafters.crossmodal.network import Crossmodal
from crossdraft.pairs.record import Head


@dataclass(frozen=True, eq=False)
class Ends:
    """Head and embedding of the target, where the network lives.

    Attributes:
        head: the whole one.
        proposing: of the ids alone that may be proposed.
        ids: [n] those.
        vocab: ids that have an embedding.
        null: [hidden] in place of a token that is not known.
    """

    head: Head
    proposing: Head
    ids: Tensor
    vocab: int
    null: Tensor

    @classmethod
    def of(cls, head: Head, ids: Tensor, vocab: int, network: Crossmodal) -> Ends:
        """On the network's device."""
        null = network.null_token
        here, chosen = head.to(null.device), ids.to(null.device)
        return cls(here, here.only(chosen), chosen, vocab, null)

    def embedded(self, ids: Tensor) -> Tensor:
        """[..., hidden] of ids; the null token where there is none that could be read."""
        known = (ids >= 0) & (ids < self.vocab)
        rows = self.head.embed(torch.where(known, ids, 0)).to(self.null.dtype)
        return torch.where(known[..., None], rows, self.null)

    def logits(self, states: Tensor) -> Tensor:
        """[..., n] float32 of what may be proposed."""
        return self.proposing.logits(states).float()
