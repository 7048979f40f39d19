"""Drafters that try to change what the target says, for `crossdraft verify`.

They know the answer that plain decoding gives. A drafter that is always right makes every kept row
count, one that is always wrong every rolled-back one, and the others put drafts where an answer
ends, where a budget ends, or where there is no such token.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.drafters.base import Budget, Drafter


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What an adversary knows.

    Attributes:
        answer: of plain decoding.
        most: tokens that it might have had.
        eos_ids: tokens that end answers of the target.
        vocabulary: number of the target's ids.
        draftable: int64 [n] ids that may be drafted, ascending.
    """

    answer: tuple[int, ...]
    most: int
    eos_ids: frozenset[int]
    vocabulary: int
    draftable: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        answer: tuple[int, ...],
        most: int,
        eos_ids: frozenset[int],
        vocabulary: int,
        may_draft: Callable[[NDArray[np.integer[Any]]], NDArray[np.bool_]],
    ) -> Knowledge:
        """With the ids that `may_draft` allows, [n] ids -> [n] whether each is drafted."""
        draftable = np.flatnonzero(may_draft(np.arange(vocabulary)))
        return cls(answer, most, eos_ids, vocabulary, draftable)

    def wrong(self, token: int, count: int = 1) -> list[int]:
        """Up to so many ids that may be drafted and are not this one, all different."""
        ids, first = self.draftable, int(np.searchsorted(self.draftable, token, side="right"))
        nearby = (int(ids[(first + i) % len(ids)]) for i in range(min(count + 1, len(ids))))
        return [other for other in nearby if other != token][:count]


class Adversary(Drafter):
    """A drafter for one question, of which it knows the plain answer.

    Attributes:
        eos_ids: tokens that end the answer that it drafts for.
        most: tokens that this answer has at most.
        one_width: whether it does the same at every width.
    """

    one_width = False

    def __init__(self, known: Knowledge) -> None:
        self.known = known
        self.eos_ids, self.most = known.eos_ids, known.most

    def rest(self, prefix: Sequence[int], count: int) -> list[int]:
        """What follows, `count` tokens of it; made up behind the end of the answer."""
        told = list(self.known.answer[len(prefix) :])[:count]
        behind: list[int] = self.known.draftable[:1].tolist()
        return (told + behind * count)[:count]


class Rows:
    """A tree in the making, within a budget."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self.depth: list[int] = []
        self._taken: set[tuple[int, int]] = set()
        self._children: dict[int, int] = {}

    def add(self, parent: int, token: int) -> int | None:
        """The new node, or None where the budget or the tree has no place for it."""
        depth = 1 + self.above(parent)
        children = self._children.get(parent, 0)
        full = len(self.tokens) >= self.budget.nodes or children >= self.budget.branch
        if full or depth > self.budget.depth or (parent, token) in self._taken:
            return None
        self._taken.add((parent, token))
        self._children[parent] = children + 1
        self.tokens.append(token)
        self.parents.append(parent)
        self.depth.append(depth)
        return len(self.tokens) - 1

    def above(self, parent: int) -> int:
        """Depth of a node, 0 for the root."""
        return 0 if parent == ROOT else self.depth[parent]

    def chain(self, parent: int, tokens: Sequence[int]) -> None:
        """Hang tokens below each other, as far as there is place."""
        node: int | None = parent
        for token in tokens:
            if node is None:
                return
            node = self.add(node, token)

    def tree(self, source: str) -> DraftTree:
        """What was added."""
        return DraftTree.from_parents(self.tokens, self.parents, source=source)


class Random(Adversary):
    """Any tokens in trees of any shape; every other one is a word of the answer, and some of them
    are right, so that paths are kept from the middle of wide trees."""

    name = "random"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        # Pure: the same prefix gives the same numbers.
        numbers = np.random.default_rng([len(prefix), budget.nodes, *prefix[-3:]])
        right, rows = self.rest(prefix, budget.depth), Rows(budget)
        for _ in range(3 * budget.nodes):
            parent = int(numbers.integers(ROOT, len(rows.tokens)))
            parent = len(rows.tokens) - 1 if budget.branch == 1 else parent
            word = right[min(rows.above(parent), len(right) - 1)] if right else 0
            kind = numbers.integers(4)
            if kind == 0:
                word = int(numbers.choice(np.array(self.known.answer)))
            elif kind == 1:
                word = int(numbers.integers(self.known.vocabulary))
            rows.add(parent, word)
        return rows.tree(self.name)


class AlwaysWrong(Adversary):
    """First tokens that are wrong, and below them the words that would have come."""

    name = "always wrong"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rows, right = Rows(budget), self.rest(prefix, budget.depth)
        if not right:
            return DraftTree.empty()
        firsts = self.known.wrong(right[0], min(3, budget.branch))
        nodes = [rows.add(ROOT, token) for token in firsts]
        for node in nodes:
            if node is not None:
                rows.chain(node, right[1 : 1 + budget.nodes // 2])
        return rows.tree(self.name)


class AlwaysRight(Adversary):
    """The answer itself; in trees every right node stands behind wrong ones, so that what is kept
    has to be moved."""

    name = "always right"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rows, node = Rows(budget), ROOT
        levels = budget.nodes if budget.branch == 1 else max(1, budget.nodes // 2)
        for token in self.rest(prefix, min(levels, budget.depth)):
            if budget.branch > 1 and budget.nodes > 1:
                for other in self.known.wrong(token):
                    rows.add(node, other)
            added = rows.add(node, token)
            if added is None:
                break
            node = added
        return rows.tree(self.name)


class Empty(Adversary):
    """Nothing, whenever it is asked."""

    name = "empty"
    one_width = True

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.empty()


class PastTheLimit(Adversary):
    """More nodes and longer paths than it may propose, behind the end of the answer too, and ids
    that there are not; asked for an answer of half the length, which ends within a draft."""

    name = "past the limit"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self.most = (len(known.answer) + 1) // 2

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        levels = max(budget.nodes, budget.depth) + 4
        beyond = Budget(3 * levels, levels + 4, budget.branch + 4)
        rows, node = Rows(beyond), ROOT
        strange = (-1, self.known.vocabulary, self.known.vocabulary + 99)
        for token in self.rest(prefix, levels):
            if budget.branch > 1:
                rows.add(node, strange[len(rows.tokens) % len(strange)])
            added = rows.add(node, token)
            if added is None:
                break
            node = added
        rows.chain(node, strange)
        return rows.tree(self.name)


class EarlyEnd(Adversary):
    """End tokens among right ones, and more words behind them; a token from the middle of the
    answer ends it too, so that accepted paths go on behind the end."""

    name = "early end"

    def __init__(self, known: Knowledge) -> None:
        super().__init__(known)
        self.eos_ids = known.eos_ids | {known.answer[len(known.answer) // 2]}

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rows, node = Rows(budget), ROOT
        right = self.rest(prefix, min(budget.nodes, budget.depth))
        ends = sorted(self.known.eos_ids)[:1]
        for place, token in enumerate(right):
            if budget.branch == 1 and place and place == len(right) // 2 and len(prefix) % 2:
                rows.chain(node, [*ends, *right[place:]])
                break
            if budget.branch > 1:
                for end in ends:
                    rows.chain(node, [end, *right[place : place + 1]])
            added = rows.add(node, token)
            if added is None:
                break
            node = added
        return rows.tree(self.name)


ADVERSARIES: tuple[type[Adversary], ...] = (
    Random, AlwaysWrong, AlwaysRight, Empty, PastTheLimit, EarlyEnd,
)  # fmt: skip
