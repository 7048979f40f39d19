"""One batch of clips, asked together; alone only where that cannot be.

What a model computes depends in its last bits on what is computed beside it. So a batch that fails
is tried again as it is, and one that processes die in is searched for the clip whose fault it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from crossdraft.pairs.extract.claims import Claim
from crossdraft.pairs.extract.tries import together, tried
from crossdraft.pairs.extract.workplace import Phase
from crossdraft.pairs.store.manifest import Missing
from crossdraft.pairs.store.rows import Row
from crossdraft.scenes.workers import Failure

#: Rows by the number of the clip.
Rows = dict[int, list[Row]]


class Maker(Protocol):
    """Whoever has the models."""

    def prepare(self, phase: Phase, answered: bool) -> None:
        """Load what a batch needs: errors of that are no clip's.

        Args:
            answered: whether the target's halves are there.
        """

    def rows(
        self, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> list[list[Row]]:
        """[numbers] rows of clips, computed together: the target's halves; or, of the halves, whole
        pairs."""
        ...


@dataclass
class Batch:
    """Clips that are computed together.

    Attributes:
        numbers: of all of them, also of those that have failed.
        failed: clips that have failed; grows.
        name: of a clip, by its number.
        claim: on the shard.
        retries: how often what fails is tried again.
        alone: is told why a batch was given up and its clips asked one by one.
    """

    numbers: Sequence[int]
    failed: dict[int, Missing]
    name: Callable[[int], str]
    claim: Claim
    retries: int
    alone: Callable[[str], None]

    def ask(self, maker: Maker, phase: Phase, halves: Mapping[int, Sequence[Row]]) -> Rows:
        """Rows of all clips that have not failed.

        Raises:
            InputError: the disk is full, or the GPU takes no more work.
        """

        def rows(numbers: Sequence[int]) -> list[list[Row]]:
            return maker.rows(phase, numbers, {n: halves[n] for n in numbers if n in halves})

        def each() -> Rows:
            found = {n: self._one(n, rows) for n in self._left}
            return {n: one for n, one in found.items() if one is not None}

        whole = f"{self.numbers[0]}-{self.numbers[-1]}"
        deaths, found = self.claim.deaths(whole), None
        if len(self._left) > 1 and deaths > self.retries:
            found = each()
        left = self._left
        if len(left) > 1 and deaths <= 2 * self.retries + 1:
            outcome = together(lambda: rows(left), self.claim, whole, self.retries)
            if not isinstance(outcome, Failure):
                return dict(zip(left, outcome, strict=True))
            self.alone(outcome.reason)
        return each() if found is None else found

    @property
    def _left(self) -> list[int]:
        return [number for number in self.numbers if number not in self.failed]

    def _one(
        self, number: int, rows: Callable[[Sequence[int]], list[list[Row]]]
    ) -> list[Row] | None:
        """A clip's rows, asked alone; None where it fails."""
        outcome = tried(
            lambda: rows([number])[0], self.claim, number, self.name(number), self.retries
        )
        if isinstance(outcome, Missing):
            self.failed[number] = outcome
            return None
        return outcome
