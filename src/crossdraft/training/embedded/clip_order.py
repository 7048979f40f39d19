"""In which order clips are read: shuffled passes one after the other, found again at any place."""

from __future__ import annotations

import torch


class ClipOrder:
    """The `number`-th clip that is read, whatever was read before.

    Args:
        clips: how many there are.
        seed: of the order.
    """

    def __init__(self, clips: int, seed: int) -> None:
        self._clips, self._seed, self._pass = clips, seed, -1
        self._order: list[int] = []

    def __getitem__(self, number: int) -> int:
        which, place = divmod(number, self._clips)
        if which != self._pass:
            generator = torch.Generator().manual_seed(self._seed * 1_000_003 + which)
            self._pass = which
            self._order = torch.randperm(self._clips, generator=generator).tolist()
        return self._order[place]
