"""Rows of one answer that a network has been through, so that each goes through it once.

A row stays as long as everything that it and the rows before it were made of stays the same.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from crossdraft.drafters.ladder.blocks import Before
from crossdraft.drafters.ladder.inputs import LadderNetwork, LayeredNetwork
from crossdraft.drafters.states import Predicted


class KeptRows:
    """What a network has made of the rows of an answer so far.

    Args:
        network: whose keys and values are kept, where its rows see each other.
    """

    def __init__(self, network: LadderNetwork) -> None:
        layers = len(network.layers) if isinstance(network, LayeredNetwork) else 0
        self.before: Sequence[Before] | None = [Before() for _ in range(layers)] or None
        self._made_of: list[Hashable] = []
        self._states: list[Tensor] = []
        self._scores: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._made_of)

    def keep(self, made_of: Sequence[Hashable]) -> int:
        """Forget the rows from the first one on that is made of something else; how many stay."""
        same = 0
        for ours, theirs in zip(self._made_of, made_of, strict=False):
            if ours != theirs:
                break
            same += 1
        # Rows behind those that are asked for may still be the same, and are asked for next.
        if same < min(len(self), len(made_of)):
            del self._made_of[same:], self._states[same:], self._scores[same:]
            for before in self.before or ():
                before.crop(same)
        return min(len(self), len(made_of))

    def add(self, made_of: Sequence[Hashable], said: Predicted) -> None:
        """Rows behind those that are kept, and what the network said about them.

        Args:
            said: [1, rows, ...].
        """
        self._made_of += made_of
        self._states += said.states[0].unbind()
        if said.scores is not None:
            self._scores += said.scores[0].unbind()

    def state(self, row: int) -> Tensor:
        """[hidden] that a row's output is."""
        return self._states[row]

    def said(self, row: int) -> Predicted:
        """[1, ...] a row's output."""
        scores = self._scores[row][None] if self._scores else None
        return Predicted(self._states[row][None], scores)


def seen_by(first: int, end: int, device: torch.device) -> Tensor:
    """[end - first, end] true where the rows from `first` on see a row: itself and all before."""
    return torch.ones(end, end, dtype=torch.bool, device=device).tril()[first:]
