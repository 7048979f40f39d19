"""Timed answers by question: rounds become medians, and drives become blocks.

Every ratio of a benchmark is computed here on the same draws, so that intervals can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.base.result import Estimate
from crossdraft.bench.wallclock.record import Run
from crossdraft.evaluation.bootstrap import BlockBootstrap

#: [questions] one value each, None where there is none.
Column = Sequence[float | None]
#: What is read off one timed answer.
Reading = Callable[[Run], float | None]


@dataclass(frozen=True)
class Answers:
    """What one configuration answered.

    Attributes:
        name: of the configuration.
        asked: [questions] the runs of each in order of round; empty where it was not asked.
    """

    name: str
    asked: tuple[tuple[Run, ...], ...]

    @property
    def runs(self) -> list[Run]:
        """All runs, question by question."""
        return [run for runs in self.asked for run in runs]

    def medians(self, reading: Reading) -> list[float | None]:
        """[questions] median over the rounds."""
        return [_of(median, map(reading, runs)) for runs in self.asked]

    def mean(self, reading: Reading) -> float | None:
        """Mean over questions of their medians; None where no question has one."""
        return _of(fmean, self.medians(reading))

    def sums(self, reading: Reading) -> list[float | None]:
        """[questions] sum over the rounds."""
        return [_of(sum, map(reading, runs)) for runs in self.asked]

    def in_round(self, number: int) -> Answers:
        """What was answered in one round alone."""
        kept = (tuple(run for run in runs if run.round == number) for runs in self.asked)
        return Answers(self.name, tuple(kept))

    def stages_ms(self) -> dict[str, float]:
        """Mean of each stage. Their sum is the mean of `total_ms`: of every question the stages
        are those of its median run, of the two in the middle where the rounds are even."""
        middles = [_middle(runs) for runs in self.asked if runs]
        names = dict.fromkeys(name for runs in middles for run in runs for name in run.stages_ms)
        return {
            name: fmean(fmean(run.stages_ms.get(name, 0.0) for run in runs) for runs in middles)
            for name in names
        }


class Questions:
    """The questions that a benchmark asked, in order, and one set of draws of their drives.

    Args:
        runs: every timed answer.
        resamples: draws of the bootstrap.
        seed: of the draws.

    Raises:
        InputError: one number stands for two questions.
    """

    def __init__(self, runs: Sequence[Run], resamples: int, seed: int) -> None:
        known: dict[int, Run] = {}
        for run in runs:
            first = known.setdefault(run.number, run)
            asked, before = ((one.scene, one.question, one.drive) for one in (run, first))
            if asked != before:
                raise InputError(
                    f"question {run.number} of `{run.configuration}` is {asked}, of "
                    f"`{first.configuration}` {before}",
                    expected="the same questions in every configuration",
                )
        self.numbers = sorted(known)
        groups: dict[str, list[int]] = {}
        for place, number in enumerate(self.numbers):
            groups.setdefault(known[number].drive, []).append(place)
        #: Places of the questions of each drive.
        self.drives = list(groups.values())
        self._bootstrap = BlockBootstrap(self.drives, resamples, seed)

    def answers(self, name: str, runs: Iterable[Run]) -> Answers:
        """The runs of one configuration, sorted."""
        asked: dict[int, list[Run]] = {number: [] for number in self.numbers}
        for run in runs:
            if run.configuration == name:
                asked[run.number].append(run)
        in_turn = (sorted(asked[number], key=lambda run: run.round) for number in self.numbers)
        return Answers(name, tuple(map(tuple, in_turn)))

    def ratio(self, top: Column, bottom: Column) -> Estimate:
        """Ratio of sums over the questions that have both, with its interval over drives."""
        both = [
            (0.0, 0.0) if above is None or below is None else (above, below)
            for above, below in zip(top, bottom, strict=True)
        ]
        values = np.array(both, dtype=np.float64)
        return self._bootstrap.ratio(values[:, :1], values[:, 1:])[0]


def first(run: Run) -> float | None:
    """When the first token was there."""
    return run.first_ms if run.arrival_ms else None


def kth(k: int) -> Reading:
    """When the k-th token was there; None of a shorter answer."""
    return lambda run: run.arrival_ms[k - 1] if len(run.arrival_ms) >= k else None


def total(run: Run) -> float:
    """Until the last token."""
    return run.total_ms


def decoding(run: Run) -> float | None:
    """From the first token to the last."""
    return run.total_ms - run.first_ms if run.arrival_ms else None


def drafting(run: Run) -> float:
    """What the answer spent on drafts: making them, and waiting for the event model."""
    return run.stages_ms.get("draft", 0.0) + run.stages_ms.get("event model", 0.0)


def _middle(runs: Sequence[Run]) -> list[Run]:
    """The median run by `total_ms`, or the two around the median."""
    ranked = sorted(runs, key=total)
    return ranked[(len(ranked) - 1) // 2 : len(ranked) // 2 + 1]


def _of(gather: Callable[[list[float]], float], values: Iterable[float | None]) -> float | None:
    """What gathers the values that are there; None without any."""
    there = [value for value in values if value is not None]
    return gather(there) if there else None
