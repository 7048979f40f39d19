"""What the cost model of `crossdraft estimate` says of each configuration's time.

Its times are calibrated on validation drives, which no reported number is made of. What is drafted
and accepted is replayed on the test answers with drafters in the state of a round's beginning, by
the replay that `estimate` uses, each forward at the price of its width. For transformers' own
decoding, whose drafts nobody replays, a first token and a time per token are calibrated.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.bench.wallclock.answering import Ground, cost_told, passes_of, width_of
from crossdraft.bench.wallclock.configuration import Configuration
from crossdraft.bench.wallclock.record import Run
from crossdraft.bench.wallclock.thought import Thought
from crossdraft.decoding.arrival import StageTimes
from crossdraft.decoding.loop import Passes
from crossdraft.decoding.width import USUAL, Auto, Fixed, Took, Width
from crossdraft.drafters.base import Budget, Context, CostCurve, Drafter
from crossdraft.drafters.none import NoDrafter
from crossdraft.evaluation.estimate_timeline import Setting, replayed
from crossdraft.pairs.record import Pair

#: (part, number) of a question.
Key = tuple[str, int]


@dataclass(frozen=True)
class Known:
    """What a replay needs of one question.

    Attributes:
        question: as asked.
        answer: the target's tokens.
        words: the event model's, in the target's tokens; of another scene for a shuffled drafter.
        shuffled: those.
        own: tokens of the event model's answer, in its own tokens.
        thought: what is behind the answers, where a drafter reads it.
        shuffled_thought: the same with the other scene's events.
    """

    question: str
    answer: tuple[int, ...]
    words: tuple[int, ...] = ()
    shuffled: tuple[int, ...] = ()
    own: int = 0
    thought: Thought | None = None
    shuffled_thought: Thought | None = None


def predicted(
    configuration: Configuration,
    ground: Ground,
    runs: Sequence[Run],
    known: Mapping[Key, Known],
) -> float | None:
    """Mean total time of the test questions, from validation runs and known answers; None without
    validation runs, and of a lossy rule, whose answers nobody knows beforehand.

    Args:
        runs: of this configuration, all rounds; of the test ones nothing but their place is read.
        known: test and validation questions, in the order in which they are asked.
    """
    validation = [run for run in runs if run.part == "validation"]
    test = sorted({run.number for run in runs if run.part == "test"})
    if not validation or not test or configuration.rule is not None:
        return None
    keys: list[Key] = [("test", number) for number in test]
    if configuration.kind in ("hf", "drafter-only"):
        return _by_token(configuration, validation, [known[key] for key in keys])
    tried = _Trial.of(configuration, ground, validation)
    held = sorted({run.number for run in validation})
    modelled = tried.total_ms([known["validation", number] for number in held])
    measured = _middle(validation, [run.total_ms for run in validation])
    # What the model leaves out (the loop's own work, a busy machine) is in the validation runs.
    if modelled > tried.first_ms:  # else nothing was decoded behind the first token
        tried = tried.slower((measured - tried.first_ms) / (modelled - tried.first_ms))
    return tried.total_ms([known[key] for key in keys])


def _by_token(
    configuration: Configuration, validation: Sequence[Run], test: Sequence[Known]
) -> float:
    first = statistics.mean(run.first_ms for run in validation)
    steps = sum(len(run.tokens) - 1 for run in validation)
    token = sum(run.total_ms - run.first_ms for run in validation) / max(1, steps)
    own = configuration.kind == "drafter-only"
    lengths = [one.own if own else len(one.answer) for one in test]
    return first + token * (statistics.mean(lengths) - 1)


def _middle(runs: Sequence[Run], values_ms: Sequence[float]) -> float:
    """Mean over questions of the median over rounds.

    Args:
        values_ms: [runs] of each run.
    """
    by: dict[int, list[float]] = {}
    for run, value_ms in zip(runs, values_ms, strict=True):
        by.setdefault(run.number, []).append(value_ms)
    return statistics.mean(map(statistics.median, by.values()))


@dataclass(frozen=True)
class _Trial:
    """The model's decoding loop of one configuration, with its times."""

    configuration: Configuration
    ground: Ground
    times: StageTimes
    draft_ms: float

    @classmethod
    def of(cls, configuration: Configuration, ground: Ground, validation: Sequence[Run]) -> _Trial:
        """Times of the validation runs: medians, as the machine's hiccups are nobody's stage."""
        setting = Setting(ground.cost, configuration.tail, 0.0, 1)
        tails = [run.forwards[0].drafted for run in validation]
        step_ms = ground.step_ms
        # The first token less what its own tail costs by the model.
        ends = [
            run.first_ms - (setting.curve(tail + 1) - 1.0) * step_ms
            for run, tail in zip(validation, tails, strict=True)
        ]
        end_ms = _middle(validation, ends)
        last_ms = _middle(validation, [_last_pass_ms(run) for run in validation])
        firsts = [run.event_first_ms for run in validation if run.event_first_ms is not None]
        drafting = sum(run.stages_ms.get("draft", 0.0) for run in validation)
        passes = sum(one.drafted > 0 for run in validation for one in run.forwards)
        times = StageTimes(
            draft_first_ms=statistics.mean(firsts) if firsts else 0.0,
            draft_token_ms=_event_token_ms(validation),
            target_prefill_start_ms=end_ms - last_ms,
            target_prefill_end_ms=end_ms,
            target_token_ms=step_ms,
            source="validation drives of this benchmark",
        )
        return cls(configuration, ground, times, drafting / max(1, passes))

    @property
    def first_ms(self) -> float:
        return self.times.target_prefill_end_ms

    def slower(self, factor: float) -> _Trial:
        """The same with every decoding forward longer by a factor."""
        times = replace(self.times, target_token_ms=self.times.target_token_ms * factor)
        return replace(self, times=times, draft_ms=self.draft_ms * factor)

    def total_ms(self, asked: Sequence[Known]) -> float:
        """Mean total time of questions, asked one after another."""
        one, ground = self.configuration, self.ground
        drafter, width = _entered(one, ground)
        setting = Setting(ground.cost, one.tail, self.draft_ms, 1)
        step_ms = self.times.target_token_ms
        rationed = _Rationed(
            drafter,
            width,
            passes_of(one),
            cost_told(one, ground),
            lambda n: setting.curve(n) * step_ms,
            self.draft_ms,
        )
        totals = []
        for known in asked:
            words = known.shuffled if one.shuffled else known.words
            thought = known.shuffled_thought if one.shuffled else known.thought
            if one.beside == "unasked":
                words, thought = (), thought and thought.unasked()
            pair = Pair("", 0, known.question, 0, words, known.answer, thoughts=thought)
            totals.append(replayed(self.times, pair, rationed, USUAL, setting).total_ms)
            drafter.finish(known.answer)
        return statistics.mean(totals)


def _entered(one: Configuration, ground: Ground) -> tuple[Drafter, Width]:
    """A drafter and a width as a round begins with."""
    if one.kind == "plain":
        return NoDrafter(), Fixed(Budget(0, 0, 0))
    stable = ground.stable(one.drafter)
    drafter = stable.bare() if one.kind == "seed-procedure" else stable.fresh()
    return drafter, width_of(one) or Auto(ground.cost, stops=drafter.stops)


class _Rationed(Drafter):
    """A drafter that is asked for what a width allows, in the passes that a configuration drafts
    for, as the decoding loop does."""

    def __init__(
        self,
        drafter: Drafter,
        width: Width,
        passes: Passes,
        cost: CostCurve,
        pass_ms: Callable[[int], float],
        draft_ms: float,
    ) -> None:
        self._drafter, self._width, self._passes, self._cost = drafter, width, passes, cost
        self._pass_ms, self._draft_ms = pass_ms, draft_ms
        self.name, self.needs = drafter.name, drafter.needs
        self._number, self._asked, self._drafted, self._depths = 0, False, 0, (0, 0)

    def begin(self, context: Context) -> None:
        self._number = 0
        self._drafter.begin(replace(context, cost=self._cost))

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        del budget  # the width's is meant
        wanted = self._width.budget(self._number)
        self._asked = self._passes.drafted(self._number) and wanted.nodes > 0
        tree = self._drafter.propose(prefix, wanted) if self._asked else DraftTree.empty()
        self._drafted = len(tree)
        self._depths = wanted.depth if self._asked else 0, int(tree.depth.max(initial=0))
        return tree

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        emitted = len(verification.path) + (verification.token is not None)
        self._drafter.observe(verification, rows)  # of every pass, as in the loop
        asked_depth, depth = self._depths
        self._width.saw(
            Took(
                asked=self._asked,
                drafted=self._drafted,
                emitted=emitted,
                draft_ms=self._draft_ms if self._asked else 0.0,
                pass_ms=self._pass_ms(1 + self._drafted),
                depth=asked_depth,
                verified=depth,
                number=self._number,
            )
        )
        self._number += 1


def _last_pass_ms(run: Run) -> float:
    """Length of the prefill's last pass: what a run cannot say is none."""
    return run.last_prefill_ms or 0.0


def _event_token_ms(runs: Sequence[Run]) -> float:
    """Time of the event model per token behind its first."""
    found = [run.event_token_ms for run in runs if run.event_token_ms is not None]
    return statistics.mean(found) if found else 0.0
