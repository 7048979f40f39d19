"""`position`: the most frequent target token at each position, with no input at all.

The control that every drafter must beat: on the seed study's data this table scores what its
45-million-parameter TokenAdapter scored.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.best_first import best_first_tree
from crossdraft.pairs.record import Pair

_Table = list[Counter[int]]
#: Ranked tokens per position; deeper ranks carry next to nothing.
_KEEP = 64


class PositionDrafter(Drafter):
    """Token counts per position, per question where the question was seen, else over all."""

    name = "position"

    def __init__(self) -> None:
        self._all: _Table = []
        self._by_question: dict[str, _Table] = {}
        self._ranked: dict[int, list[tuple[int, float]]] = {}
        self._question = ""

    def fit(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            self._learn(pair.question, pair.target_tokens)

    def begin(self, context: Context) -> None:
        self._question = context.question
        self._ranked.clear()

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        start = len(prefix)
        return best_first_tree(lambda path: self._rank(start + len(path)), budget, self.name)

    def finish(self, answer: Sequence[int]) -> None:
        self._learn(self._question, answer)
        self._ranked.clear()

    def _learn(self, question: str, answer: Sequence[int]) -> None:
        for table in (self._all, self._by_question.setdefault(question, [])):
            table.extend(Counter() for _ in range(len(answer) - len(table)))
            for counts, token in zip(table, answer, strict=False):
                counts[token] += 1

    def _rank(self, position: int) -> list[tuple[int, float]]:
        """Tokens at `position` with log probabilities, most frequent first, then smallest id."""
        if position not in self._ranked:
            table = self._by_question.get(self._question, self._all)
            counts = table[position] if position < len(table) else Counter()
            total = counts.total()
            ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:_KEEP]
            self._ranked[position] = [(token, math.log(n / total)) for token, n in ordered]
        return self._ranked[position]
