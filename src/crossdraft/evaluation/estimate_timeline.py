"""The timeline of one answer: when its first, its k-th and its last token are there.

The target alone is its prefill and then one step per further token. With drafts there are fewer
forwards, each dearer by T(n)/T(1). Limits say what no acceptance can beat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.arrival import Arrival, StageTimes
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget, Context, CostCurve, Drafter
from crossdraft.evaluation.estimate_formula import accepted_odds, expected_forwards
from crossdraft.pairs.record import Pair


@dataclass(frozen=True)
class Moments:
    """When tokens of one answer are there, in milliseconds after the clock starts.

    Attributes:
        first_ms, kth_ms, total_ms: first, k-th and last token; `kth_ms` is NaN where the answer
            is shorter.
        tokens: tokens of the answer.
        forwards: target forwards, the prefill included (an average under i.i.d. acceptance).
        drafted: draft tokens proposed (likewise).
    """

    first_ms: float
    kth_ms: float
    total_ms: float
    tokens: int
    forwards: float
    drafted: float


@dataclass(frozen=True)
class Setting:
    """How drafts are verified and what that costs.

    Attributes:
        curve: T(n)/T(1).
        in_prefill: drafts that are ready ride on the prefill's tail; else the prefill runs alone
            and the first drafts wait for a pass of their own.
        adapter_ms: drafting time that nothing hides, per decoding forward with drafts.
        k: which token `kth_ms` is about.
    """

    curve: CostCurve
    in_prefill: bool
    adapter_ms: float
    k: int

    def prefill_end_ms(self, times: StageTimes, drafts: int) -> float:
        """End of a prefill with this many drafts on its tail: they cost the difference to a
        single token, which the prefill emits anyway."""
        tail_ms = (self.curve(drafts + 1) - 1.0) * times.target_token_ms
        return times.target_prefill_end_ms + tail_ms

    def step_ms(self, times: StageTimes, drafts: int) -> float:
        """One decoding forward over a single token and this many drafts."""
        drafting_ms = self.adapter_ms if drafts else 0.0
        return self.curve(drafts + 1) * times.target_token_ms + drafting_ms


def constant_ratio(ratio: float) -> CostCurve:
    """T(n)/T(1) that is the same for every n above one."""
    return lambda n: 1.0 if n <= 1 else ratio


def alone(times: StageTimes, tokens: int, k: int) -> Moments:
    """The target without drafts."""

    def at(n: int) -> float:
        return times.target_prefill_end_ms + (n - 1) * times.target_token_ms

    return Moments(at(1), at(k) if k <= tokens else math.nan, at(tokens), tokens, tokens, 0)


def with_odds(
    times: StageTimes, tokens: int, alpha: float, gamma: int, setting: Setting
) -> Moments:
    """Averages where each draft is accepted with probability `alpha`, independently.

    Every decoding forward has `gamma` drafts; the prefill's tail has as many of them as the event
    model has written when its last pass starts.
    """
    tail = 0
    if setting.in_prefill:
        ready_ms = times.target_prefill_start_ms - setting.adapter_ms
        tail = min(gamma, times.arrived(ready_ms))
    odds, forwards = accepted_odds(alpha, tail), expected_forwards(alpha, gamma, tokens)
    first_ms, step_ms = setting.prefill_end_ms(times, tail), setting.step_ms(times, gamma)

    def after_prefill(n: int) -> float:
        """Forwards between the prefill and the n-th token."""
        left = np.maximum(0, n - 1 - np.arange(tail + 1))
        return float(odds @ forwards[left])

    steps = after_prefill(tokens)
    kth_ms = first_ms + step_ms * after_prefill(setting.k) if setting.k <= tokens else math.nan
    total_ms = first_ms + step_ms * steps
    return Moments(first_ms, kth_ms, total_ms, tokens, 1 + steps, tail + steps * gamma)


def replayed(
    times: StageTimes, pair: Pair, drafter: Drafter, budget: Budget, setting: Setting
) -> Moments:
    """The recorded answer, decoded with what `drafter` proposes when its turn comes."""
    clock = Clock(times, setting)
    outcome = replay(Timed(drafter, clock), pair, budget, ByClock(clock=clock), setting.curve)
    emitted = np.minimum(np.cumsum(np.asarray(outcome.accepted) + 1), outcome.tokens)
    kth = int(np.searchsorted(emitted, setting.k))
    return Moments(
        first_ms=clock.ends_ms[0],
        kth_ms=clock.ends_ms[kth] if setting.k <= outcome.tokens else math.nan,
        total_ms=clock.ends_ms[-1],
        tokens=outcome.tokens,
        forwards=outcome.forwards,
        drafted=sum(outcome.drafted),
    )


@dataclass
class Clock:
    """When the forwards of one answer end.

    Unlike the replay's own it knows what drafts on the prefill's tail and drafting itself cost,
    and that both leave the event model more time.
    """

    times: StageTimes
    setting: Setting
    ends_ms: list[float] = field(default_factory=list)

    def start_ms(self) -> float:
        """When drafts for the next forward are asked for."""
        if self.ends_ms:
            return self.ends_ms[-1]
        # Drafting in time for the tail has to start that much before the tail does.
        return self.times.target_prefill_start_ms - self.setting.adapter_ms

    def forward(self, drafts: int) -> None:
        """One more forward, over this many drafts, is over."""
        if self.ends_ms:
            self.ends_ms.append(self.ends_ms[-1] + self.setting.step_ms(self.times, drafts))
        else:
            self.ends_ms.append(self.setting.prefill_end_ms(self.times, drafts))


@dataclass(frozen=True)
class ByClock(Arrival):
    """Lets each forward read what the event model has written by a clock."""

    clock: Clock = field(kw_only=True)

    def visible(self, total: int, decode_cost: float, *, prefill: bool) -> int:
        return min(total, self.clock.times.arrived(self.clock.start_ms()))


class Timed(Drafter):
    """A drafter whose every forward runs on a clock; it is not asked while a prefill that takes
    no drafts runs."""

    def __init__(self, drafter: Drafter, clock: Clock) -> None:
        self.drafter, self.clock = drafter, clock
        self.name, self.needs = drafter.name, drafter.needs
        self._drafts = 0

    def begin(self, context: Context) -> None:
        self.drafter.begin(context)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        asked = bool(prefix) or self.clock.setting.in_prefill
        tree = self.drafter.propose(prefix, budget) if asked else DraftTree.empty()
        self._drafts = len(tree)
        return tree

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        self.clock.forward(self._drafts)
        self.drafter.observe(verification, rows)


def least_total_ms(times: StageTimes, tokens: int, depth: int, setting: Setting) -> float:
    """Time of an answer all of whose drafts are right, each forward as wide as pays.

    No drafter that proposes paths of up to `depth` tokens is faster, as long as T(n)/T(1) does
    not fall with n. Where verifying costs more than it can save, this is the target alone.
    """
    widest = min(depth, tokens - 1)
    step_ms = np.array([setting.step_ms(times, drafts) for drafts in range(widest + 1)])
    least = np.zeros(tokens)
    for left in range(1, tokens):
        # A forward with i right drafts leaves left - i - 1 tokens.
        reach = min(left, widest + 1)
        least[left] = np.min(step_ms[:reach] + least[left - reach : left][::-1])
    tails = range(widest + 1) if setting.in_prefill else range(1)
    return min(
        setting.prefill_end_ms(times, tail) + float(least[tokens - 1 - tail]) for tail in tails
    )
