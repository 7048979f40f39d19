"""How many drafts the next pass verifies, none included.

Which nodes of a proposal are worth their time is the rule of `drafters/width.py`, by which an
ensemble cuts its trees. Here it is decided how much the drafter may propose at all: a fixed number,
or as much as pays on the clock, where drafting itself costs time too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from crossdraft.base.errors import InputError
from crossdraft.decoding.depth import Depth
from crossdraft.drafters.base import Budget, CostCurve, Drafter
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.vlm.cost_curve import CostCurves

#: What drafters are offered where nothing else is said.
USUAL = Budget.tree(32, 16)
NOTHING = Budget(0, 0, 0)


class Took(NamedTuple):
    """What a forward of the target took and gave.

    Attributes:
        asked: whether the drafter was asked.
        drafted: nodes of the tree.
        emitted: tokens it gave to the answer.
        draft_ms: time of the drafter: proposing, and hearing what became of it.
        pass_ms: time of the target's forward and of keeping what was accepted.
        depth: how deep a proposal the drafter was asked for.
        verified: depth of the tree.
        number: of the forward in its answer; 0: the prefill.
    """

    asked: bool
    drafted: int
    emitted: int
    draft_ms: float
    pass_ms: float
    depth: int = 0
    verified: int = 0
    number: int = 1


class Width(Protocol):
    """Decides what a drafter is asked for. Lives as long as its drafter, over many answers."""

    def budget(self, number: int) -> Budget:
        """What the proposal for the target's forward of this number may be; of no nodes where the
        drafter is not asked. Number 0 is the prefill's end."""
        ...

    def saw(self, took: Took) -> None:
        """Learn what a forward took."""
        ...


@dataclass(frozen=True)
class Fixed:
    """Always the same budget."""

    most: Budget

    def budget(self, number: int) -> Budget:
        return self.most

    def saw(self, took: Took) -> None:
        """Changes nothing."""


class Auto:
    """As much as pays.

    Drafting pays while passes with it give more tokens per millisecond, the proposing included,
    than plain steps. Where it does not, the drafter rests for a while, twice as long every time,
    and is then tried again: answers change. While it pays, proposals are as deep as their last
    draft is worth; those of the prefill, which many drafters make otherwise, for themselves.

    Args:
        cost: T(n)/T(1), which says what a plain step would have taken.
        most: what the drafter is offered.
        stops: whether it stops by itself (`Drafter.stops`): it is told what a token takes.

    Raises:
        InputError: a curve by which steps cost nothing.
    """

    #: Passes after which drafting is judged; the first and the longest rest, in passes.
    TRIAL, REST, LONGEST = 8, 8, 128
    #: What one more pass leaves of the weight of those before it.
    DECAY = 0.9

    def __init__(self, cost: CostCurve, most: Budget = USUAL, *, stops: bool = False) -> None:
        if not cost(1) > 0:
            raise InputError(f"a plain step costs {cost(1)}", expected="T(1)/T(1), which is 1")
        self.cost, self.most, self.stops = cost, most, stops
        self._rest, self._resting, self._tried = self.REST, 0, 0
        self._tokens = self._ms = self._steps = self._step_ms = 0.0
        self._depth, self._prefills = Depth(), Depth()

    @property
    def pays(self) -> bool:
        """Whether passes with drafting were faster of late than plain steps."""
        return self._tokens * self._step_ms >= self._ms * self._steps

    @property
    def token_ms(self) -> float:
        """What a token takes of late: a plain step, or less where drafting pays."""
        step_ms = self._step_ms / self._steps if self._steps else 0.0
        return min(step_ms, self._ms / self._tokens) if self._tokens else step_ms

    @property
    def node_ms(self) -> float:
        """What one more node of a pass takes, on average up to the widest."""
        step_ms = self._step_ms / self._steps if self._steps else 0.0
        nodes = self.most.nodes
        return step_ms * (self.cost(1 + nodes) - self.cost(1)) / max(1, nodes)

    def budget(self, number: int) -> Budget:
        if self._resting:
            return NOTHING
        if not number and not (self._prefills.known and self._steps):
            return self.most
        if self.stops:
            return replace(self.most, token_ms=self.token_ms, node_ms=self.node_ms)
        depth = self._depth if number else self._prefills
        return replace(self.most, depth=depth.worth(self.most.depth, self.token_ms))

    def saw(self, took: Took) -> None:
        depth = self._depth if took.number else self._prefills
        depth.saw(took.depth, took.verified, took.emitted - 1, took.draft_ms)
        if not took.number:
            return
        step_ms = took.pass_ms / self.cost(1 + took.drafted)
        self._steps = self.DECAY * self._steps + 1
        self._step_ms = self.DECAY * self._step_ms + step_ms
        if not took.asked:
            self._resting = max(0, self._resting - 1)
            return
        self._tokens = self.DECAY * self._tokens + took.emitted
        self._ms = self.DECAY * self._ms + took.draft_ms + took.pass_ms
        self._tried += 1
        if self._tried < self.TRIAL:
            return
        if self.pays:
            self._rest = self.REST
        else:
            self._resting, self._rest = self._rest, min(2 * self._rest, self.LONGEST)
            self._tried, self._tokens, self._ms = 0, 0.0, 0.0


def cutting(drafter: Drafter) -> Drafter:
    """A drafter that cuts its proposals to what is worth verifying: an ensemble as it is, any
    other as an ensemble of one."""
    if isinstance(drafter, EnsembleDrafter):
        return drafter
    return EnsembleDrafter((drafter,), drafter.name)


def cost_of(curves: CostCurves) -> CostCurve:
    """T(n)/T(1) of trees as measured; beyond the widest measured pass it goes on as steeply as on
    average up to there."""
    widest = curves.widest
    slope = (curves.cost(widest) - 1.0) / max(1, widest - 1)

    def cost(tokens: int) -> float:
        return curves.cost(min(tokens, widest)) + slope * max(0, tokens - widest)

    return cost
