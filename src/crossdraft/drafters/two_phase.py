"""Two drafters in turn: one for the drafts that the target's prefill verifies, one for the rest.

The seed study translates the event model's own words while the target prefills, and drafts with
another network from then on. Written `PREFILL:DECODE`; either may be `none`.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.drafters.base import Budget, Context, Drafter, Rows
from crossdraft.pairs.record import Pair

#: Stands between the names of the two drafters.
BETWEEN = ":"


class TwoPhaseDrafter(Drafter):
    """Proposes with one drafter while nothing is accepted yet, and with the other afterwards.

    Both hear everything that is accepted, so that the second one knows the answer's beginning.
    """

    def __init__(self, prefill: Drafter, decode: Drafter) -> None:
        """
        Args:
            prefill: proposes what the first verification sees.
            decode: proposes behind the first token.
        """
        self.prefill, self.decode = prefill, decode
        self.name = f"{prefill.name}{BETWEEN}{decode.name}"
        self.needs = prefill.needs | decode.needs
        self.stops = prefill.stops and decode.stops

    @property
    def phases(self) -> tuple[Drafter, Drafter]:
        """Both drafters, the first one first."""
        return self.prefill, self.decode

    def fit(self, pairs: Sequence[Pair]) -> None:
        for drafter in self.phases:
            drafter.fit(pairs)

    def begin(self, context: Context) -> None:
        for drafter in self.phases:
            drafter.begin(context)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return (self.decode if prefix else self.prefill).propose(prefix, budget)

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        for drafter in self.phases:
            drafter.observe(verification, rows)

    def finish(self, answer: Sequence[int]) -> None:
        for drafter in self.phases:
            drafter.finish(answer)


def split_phases(text: str) -> list[tuple[str, str]]:
    """Every way to read a text as `PREFILL:DECODE`; a path may hold the sign itself."""
    words = text.split(BETWEEN)
    return [
        (BETWEEN.join(words[:place]), BETWEEN.join(words[place:]))
        for place in range(1, len(words))
        if all((BETWEEN.join(words[:place]), BETWEEN.join(words[place:])))
    ]
