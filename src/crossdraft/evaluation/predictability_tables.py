"""Tables that guess the next token from the last ones: how predictable answers are by themselves.

`TokenTable` is the plain one: of every context seen, the most frequent follower. `NGramDrafter`
lets it draft, so that its acceptance is counted where every drafter's is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.tree import DraftTree
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.pairs.record import Pair

Ints = NDArray[np.int64]


class Ids:
    """Small numbers for things that are not numbers; -1 for what was never seen."""

    def __init__(self, things: Sequence[str]) -> None:
        self._numbers = {thing: number for number, thing in enumerate(dict.fromkeys(things))}

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, thing: str | None) -> int:
        return -1 if thing is None else self._numbers.get(thing, -1)


@dataclass(frozen=True)
class Followers:
    """Contexts with what followed them: one row per kind of context and follower.

    Attributes:
        context, token, count: [rows], sorted by context, then from the most frequent to the
            rarest, equal ones by the smaller id.
        first: [contexts] the row at which each context begins.
    """

    context: Ints
    token: Ints
    count: Ints
    first: Ints

    @classmethod
    def counted(cls, context: Ints, token: Ints) -> Followers:
        """Count every pair of a context and a token, int64 [n] from 0 each."""
        width = int(token.max(initial=0)) + 1
        pairs, count = np.unique(context * width + token, return_counts=True)
        contexts, tokens = pairs // width, pairs % width
        order = np.lexsort((tokens, -count, contexts))
        context, token = contexts[order], tokens[order]
        first = np.flatnonzero(np.append(True, np.diff(context) != 0)) if len(context) else context
        return cls(context, token, count[order].astype(np.int64), first)

    @property
    def best(self) -> Ints:
        """[contexts] the most frequent follower of each."""
        return self.token[self.first]

    @property
    def sure(self) -> NDArray[np.bool_]:
        """[contexts] whether nothing else ever followed."""
        alone: NDArray[np.bool_] = np.diff(np.append(self.first, len(self.context))) == 1
        return alone


class TokenTable:
    """The most frequent follower of the longest known context.

    A context is the last `order` - 1 tokens at most; the answer's start counts as one of them, one
    per question. Where the longest was never seen, shorter ones are asked, down to none at all.
    Of equally frequent followers the smallest id is taken.

    Args:
        order: longest context plus one: 12 for the last eleven tokens.
        by_question: contexts of different questions are kept apart, however short.
    """

    def __init__(self, order: int, by_question: bool = False) -> None:
        self.order, self.by_question = order, by_question
        self._questions = Ids(())
        self._best: dict[tuple[int, ...], int] = {}

    def fit(self, pairs: Sequence[Pair]) -> None:
        """Count the target answers of `pairs`."""
        self._questions = Ids([pair.question for pair in pairs])
        rows = [self.row(pair.question, pair.target_tokens) for pair in pairs]
        row = np.array([token for row in rows for token in row], np.int64)
        # Behind how many tokens of its own answer each one stands, the start counted.
        behind = np.concatenate([np.arange(len(r)) for r in rows] or [np.zeros(0, int)])
        places = np.flatnonzero(behind > 0)
        asked = np.repeat([self._asked(p.question) for p in pairs], [len(r) - 1 for r in rows])
        self._best = dict(self._grown(row, behind, places, asked.astype(np.int64)))

    def row(self, question: str, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens of an answer behind the mark of its start, which is below zero."""
        return (-2 - self._questions.of(question), *tokens)

    def guess(self, question: str, row: Sequence[int]) -> int | None:
        """The token that follows `row`, an answer's beginning as `row` gives it; None where
        nothing is known."""
        asked = self._asked(question)
        for length in range(min(self.order - 1, len(row)), -1, -1):
            found = self._best.get((asked, *row[len(row) - length :]))
            if found is not None:
                return found
        return None

    def _asked(self, question: str) -> int:
        return self._questions.of(question) if self.by_question else 0

    def _grown(
        self, row: Ints, behind: Ints, places: Ints, context: Ints
    ) -> Iterator[tuple[tuple[int, ...], int]]:
        """Contexts and their best followers, from the shortest to the longest.

        Left out is what changes no guess: a context whose best follower is that of the shorter
        one, and every context longer than one that had a single follower.

        Args:
            row: [tokens] of all answers, one behind the other.
            behind: [tokens] how many tokens of its answer stand before each.
            places: [n] those that are to be guessed.
            context: [n] number of the context of no token, by place.
        """
        asked, guessed = context, np.full(len(places), -1, np.int64)
        for length in range(self.order):
            if length:
                fits = behind[places] >= length
                places, context, guessed = places[fits], context[fits], guessed[fits]
                asked = asked[fits]
                added = row[places - length]
                added -= added.min(initial=0)
                context = context * (int(added.max(initial=0)) + 1) + added
            if not len(places):
                return
            context = np.unique(context, return_inverse=True)[1].astype(np.int64)
            found = Followers.counted(context, row[places])
            best = found.best[context]
            _, newest = np.unique(context, return_index=True)
            for place in newest[best[newest] != guessed[newest]].tolist():
                at = int(places[place])
                yield (int(asked[place]), *row[at - length : at].tolist()), int(best[place])
            unsure = ~found.sure[context]
            places, context, asked = places[unsure], context[unsure], asked[unsure]
            guessed = best[unsure]


class NGramDrafter(Drafter):
    """A chain of a table's guesses, each behind the ones before it."""

    name = "n-gram"

    def __init__(self, table: TokenTable) -> None:
        self._table, self._question = table, ""

    def fit(self, pairs: Sequence[Pair]) -> None:
        self._table.fit(pairs)

    def begin(self, context: Context) -> None:
        self._question = context.question

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        row = list(self._table.row(self._question, prefix))
        for _ in range(min(budget.nodes, budget.depth)):
            token = self._table.guess(self._question, row)
            if token is None:
                break
            row.append(token)
        return DraftTree.chain(row[len(prefix) + 1 :], source=self.name)
