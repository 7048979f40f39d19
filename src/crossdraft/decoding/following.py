"""The event model on the target's words, as a drafter reads it: what it has read, it keeps.

A pass of the event model is made for what is new in an answer alone; asked again about a part of
what it has read, it costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

#: (answer, first) -> states over the answer from that row on, as `OwnAnswer.follow` gives them.
States = Callable[[Sequence[int], int], Tensor | None]


class Following:
    """See `StateFollower`. Of one answer; closed with it, as it keeps the event model's memory.

    Args:
        states: who reads.
    """

    def __init__(self, states: States) -> None:
        self._states: States | None = states
        self._read: tuple[int, ...] = ()
        self._rows: Tensor | None = None

    def follow(self, answer: Sequence[int]) -> Tensor | None:
        """See `StateFollower.follow`. The first call ends the event model's own answer."""
        if self._states is None:
            return None
        wanted = tuple(map(int, answer))
        common = 0
        for mine, theirs in zip(self._read, wanted, strict=False):
            if mine != theirs:
                break
            common += 1
        if self._rows is not None and common == len(wanted):
            return self._rows[: common + 1]
        known = None if self._rows is None else self._rows[: common + 1]
        new = self._states(wanted, 0 if known is None else len(known))
        if new is None:
            return None
        self._rows = new if known is None else torch.cat([known, new])
        self._read = wanted
        return self._rows

    def close(self) -> None:
        """The answer has ended: nothing is kept."""
        self._states = self._rows = None
