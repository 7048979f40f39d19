"""What the attributes of a scene tell about the next token, beyond the last four.

A table per context of the one attribute, or pair of attributes, whose values tell its followers
apart best. All attributes at once would never be seen twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossdraft.evaluation.predictability_tables import Followers, Ids, Ints, TokenTable
from crossdraft.pairs.record import Pair

#: A context with a value counts from this many training tokens on; one alone could be chance.
_SUPPORT = 2
#: The value of an attribute that a scene does not have.
_ABSENT = "\0"


@dataclass(frozen=True)
class _Choice:
    """Which attributes a context asks: columns, -1 for none."""

    first: int
    second: int


class OracleTable:
    """The 5-gram that also knows attributes of the scene.

    Training chooses for every context (question and last four tokens) the attribute, and then the
    second one beside it, by which most of its followers would be guessed right if each was left out
    of the count in turn; where none does better than no attribute, none is asked. A guess is the
    most frequent follower of the context with these values, then with the first value alone, then
    the plain table's.

    What it gains over the plain table is a lower bound of what the attributes give: it knows two of
    them at a time, and only contexts that training has seen.
    """

    def __init__(self, plain: TokenTable) -> None:
        """
        Args:
            plain: fitted on the same answers, by question.
        """
        self._plain = plain
        self._names: list[str] = []
        self._values: list[Ids] = []
        self._contexts: dict[tuple[int | str, ...], int] = {}
        self._choices: dict[int, _Choice] = {}
        self._best: dict[tuple[int, ...], int] = {}

    def fit(self, pairs: Sequence[Pair], attributes: Sequence[Mapping[str, str]]) -> None:
        """Choose attributes and count followers.

        Args:
            attributes: of each pair's scene, by name.
        """
        self._names = sorted({name for known in attributes for name in known})
        self._values = [
            Ids([_ABSENT, *(known.get(name, _ABSENT) for known in attributes)])
            for name in self._names
        ]
        context, token, answer = self._places(pairs)
        value = np.array([self.values_of(known) for known in attributes], np.int64)
        value = value.reshape(len(pairs), len(self._names))[answer]
        self._choose(context, token, value)

    def values_of(self, known: Mapping[str, str]) -> tuple[int, ...]:
        """A scene's attributes as numbers, -1 for a value that training never saw."""
        return tuple(
            values.of(known.get(name, _ABSENT))
            for name, values in zip(self._names, self._values, strict=True)
        )

    def guess(self, question: str, row: Sequence[int], values: Sequence[int]) -> int | None:
        """The token that follows `row`, an answer's beginning as `TokenTable.row` gives it.

        Args:
            values: as `values_of` gives them.
        """
        context = self._contexts.get(self._key(question, row), -1)
        choice = self._choices.get(context)
        if choice is not None:
            asked = [values[column] for column in (choice.first, choice.second) if column >= 0]
            while asked:
                found = self._best.get((context, *asked))
                if found is not None:
                    return found
                asked.pop()
        return self._plain.guess(question, row)

    def _key(self, question: str, row: Sequence[int]) -> tuple[int | str, ...]:
        return (question, *row[max(0, len(row) - self._plain.order + 1) :])

    def _places(self, pairs: Sequence[Pair]) -> tuple[Ints, Ints, Ints]:
        """Every token of the answers: number of its context, the token, number of its answer."""
        contexts, tokens, answers = [], [], []
        for number, pair in enumerate(pairs):
            row = self._plain.row(pair.question, pair.target_tokens)
            for place in range(1, len(row)):
                near = row[max(0, place - self._plain.order + 1) : place]
                key = self._key(pair.question, near)
                contexts.append(self._contexts.setdefault(key, len(self._contexts)))
                tokens.append(row[place])
                answers.append(number)
        return np.array(contexts, np.int64), np.array(tokens, np.int64), np.array(answers, np.int64)

    def _choose(self, context: Ints, token: Ints, value: Ints) -> None:
        """Choose for every context, then keep the best followers.

        Args:
            value: [places, attributes].
        """
        if not value.size:
            return
        kinds = len(self._contexts)
        width = int(value.max()) + 1
        nothing = np.full(kinds, -1, np.int64)
        alone = np.zeros(len(context), np.int64)
        least = _left_out(context, alone, token, kinds)
        first, least = _better(context, token, [*value.T], kinds, least, nothing)
        of_first = np.where(first[context] >= 0, _picked(value, first[context]), 0)
        both = [of_first * width + column for column in value.T]
        second, _ = _better(context, token, both, kinds, least, nothing)
        of_second = _picked(value, second[context])
        self._choices = {
            number: _Choice(int(first[number]), int(second[number]))
            for number in np.flatnonzero(first >= 0).tolist()
        }
        asked = first[context] >= 0
        self._keep((context[asked], of_first[asked]), token[asked])
        asked = second[context] >= 0
        self._keep((context[asked], of_first[asked], of_second[asked]), token[asked])

    def _keep(self, columns: Sequence[Ints], token: Ints) -> None:
        """The best follower of every combination that was seen often enough."""
        if not len(token):
            return
        keys, group = np.unique(np.stack(columns, axis=1), axis=0, return_inverse=True)
        found = Followers.counted(group.reshape(-1).astype(np.int64), token)
        seen = np.add.reduceat(found.count, found.first)
        for key, best, often in zip(keys.tolist(), found.best.tolist(), seen.tolist(), strict=True):
            if often >= _SUPPORT:
                self._best[tuple(key)] = best


def _better(
    context: Ints, token: Ints, values: Sequence[Ints], kinds: int, least: Ints, chosen: Ints
) -> tuple[Ints, Ints]:
    """By context the column that guesses most, and how much; -1 where none guesses more than
    `least`."""
    for column, value in enumerate(values):
        right = _left_out(context, value, token, kinds)
        chosen = np.where(right > least, column, chosen)
        least = np.maximum(right, least)
    return chosen, least


def _left_out(context: Ints, value: Ints, token: Ints, kinds: int) -> Ints:
    """[contexts] followers that the context with its value guesses right, each one left out of
    the count that guesses it; ties guess nothing."""
    width = int(value.max(initial=0)) + 1
    keys, group = np.unique(context * width + value, return_inverse=True)
    found = Followers.counted(group.reshape(-1).astype(np.int64), token)
    most = found.count[found.first]
    behind = np.append(found.count, 0)[found.first + 1]
    alone = found.sure
    next_most: NDArray[np.int64] = np.where(alone, 0, behind)
    right = np.where(most - 1 > next_most, most, 0)
    return np.bincount(keys // width, weights=right, minlength=kinds).astype(np.int64)


def _picked(value: Ints, column: Ints) -> Ints:
    """One column of each row, 0 where it is -1."""
    return np.where(column >= 0, value[np.arange(len(value)), np.maximum(column, 0)], 0)
