"""`drafter-text`: the event model's own words, position for position.

The seed study's direct matching: its token i is proposed for the target's token i, whatever the
target has said so far.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget, Context, Drafter


class DrafterText(Drafter):
    """Proposes the rest of the event model's answer, as far as it has arrived."""

    name = "drafter-text"
    needs = frozenset({"draft_tokens"})

    def begin(self, context: Context) -> None:
        self._stream = context.stream

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        tokens = self._stream.snapshot().tokens
        length = min(budget.nodes, budget.depth)
        return DraftTree.chain(tokens[len(prefix) : len(prefix) + length], source=self.name)
