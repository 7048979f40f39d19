"""The contract between a drafter and whatever runs it.

The live loop and the offline replay drive drafters through the same calls, in the same order, so
a number measured offline is about the code that runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.pairs.record import Pair

#: Cost of a forward over n tokens relative to one token, T(n)/T(1).
CostCurve = Callable[[int], float]


def flat_cost(_: int) -> float:
    """The bound in which verifying is free: every forward costs one step."""
    return 1.0


@dataclass(frozen=True)
class Budget:
    """How large a proposal may be.

    Attributes:
        nodes: most nodes in the tree (the verification pass is this much wider).
        depth: longest path.
        branch: most children of one node; 1 asks for a chain.
    """

    nodes: int
    depth: int
    branch: int

    @classmethod
    def chain(cls, gamma: int) -> Budget:
        """A chain of at most `gamma` tokens."""
        return cls(gamma, gamma, 1)

    @classmethod
    def tree(cls, nodes: int, depth: int) -> Budget:
        """A tree limited by nodes and depth only."""
        return cls(nodes, depth, nodes)

    @classmethod
    def next_token(cls, candidates: int) -> Budget:
        """Ranked candidates for the next token alone."""
        return cls(candidates, 1, candidates)


@dataclass(frozen=True)
class Snapshot:
    """What has arrived of the event model's own answer.

    Attributes:
        tokens: token ids so far.
        closed: no more will come.
    """

    tokens: tuple[int, ...]
    closed: bool


class Stream(Protocol):
    """The event model's answer as it arrives; reading it never blocks."""

    def snapshot(self) -> Snapshot: ...


@dataclass(frozen=True)
class Context:
    """What a drafter is told about one answer before it starts.

    Attributes:
        question: the question as asked.
        stream: the event model's own answer; every drafter of the answer shares it.
        cost: T(n)/T(1) of the target's forward over n tokens, as measured.
    """

    question: str
    stream: Stream
    cost: CostCurve = flat_cost


class Drafter(ABC):
    """Proposes tokens that the target then verifies.

    Calls come in this order: `fit` once (where there is something to learn from), then for each
    answer `begin`, any number of `propose`/`observe`, and `finish` where learning goes on.
    """

    name: str
    #: What it reads beside the accepted prefix: "draft_tokens" for the event model's own words.
    needs: frozenset[str] = frozenset()

    def fit(self, pairs: Sequence[Pair]) -> None:
        """Learn from recorded pairs, in recording order. Nothing to learn by default."""

    def begin(self, context: Context) -> None:
        """Start a new answer."""

    @abstractmethod
    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        """Propose what follows `prefix`, the target's accepted tokens.

        Pure: asked twice in a row it gives the same tree. May be empty.
        """

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        """Learn what was accepted; `rows` are the kept rows of the target's pass, None offline."""

    def finish(self, answer: Sequence[int]) -> None:
        """Learn from the finished answer. Called only where online learning is on."""
