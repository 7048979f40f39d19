"""`none`: proposes nothing, so that plain decoding runs through the same loop as all others."""

from __future__ import annotations

from collections.abc import Sequence

from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget, Drafter


class NoDrafter(Drafter):
    """Plain decoding: one token per target forward."""

    name = "none"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.empty()
