"""The contract between a drafter and whatever runs it.

The live loop and the offline replay drive drafters through the same calls, in the same order, so
a number measured offline is about the code that runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.pairs.record import Head, Pair

if TYPE_CHECKING:
    from torch import Tensor

#: What a drafter may read beside the accepted prefix: the event model's own words as they arrive,
#: the states behind them (`Context.stream`), its states over the target's words
#: (`Context.follower`), the target's states (`Drafter.observe`), the target's head
#: (`Context.head`).
DRAFT_TOKENS, DRAFT_STATES, FORCED_STATES, TARGET_STATES, HEAD = (
    "draft_tokens", "draft_states", "forced_states", "target_states", "head",
)  # fmt: skip
#: Needs for which an event model has to be there.
OF_THE_EVENT_MODEL = frozenset({DRAFT_TOKENS, DRAFT_STATES, FORCED_STATES})

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
        token_ms: what a token takes of late: what a draft is worth that is surely accepted. 0 where
            nobody says; the proposal is then as large as it may be.
        node_ms: what it takes to verify one more node.
    """

    nodes: int
    depth: int
    branch: int
    token_ms: float = 0.0
    node_ms: float = 0.0

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
        tokens: token ids so far, the target's.
        closed: no more will come.
        states: [n, hidden] float32, the event model's state behind each token that it has said
            itself; None where nobody needs them. Where the models have different tokenizers n is
            not the number of `tokens`.
    """

    tokens: tuple[int, ...]
    closed: bool
    states: Tensor | None = field(default=None, compare=False)


class Stream(Protocol):
    """The event model's answer as it arrives; reading it never blocks."""

    def snapshot(self) -> Snapshot: ...


class StateFollower(Protocol):
    """The event model on the target's words; each call is charged to whoever drafts."""

    def follow(self, answer: Sequence[int]) -> Tensor | None:
        """States of the event model over an answer, by one pass over what is new in it.

        Args:
            answer: what the target has accepted, and drafts behind it.

        Returns:
            [len(answer) + 1, hidden] float32; state t has read the tokens before t and may be used
            for token t and later ones. None where the event model cannot follow.
        """
        ...


class Rows(Protocol):
    """Rows of the target's pass that were kept.

    Attributes:
        hidden: [n, hidden] post-final-norm; the states that emitted the tokens which the pass
            added to the answer, in order.
    """

    @property
    def hidden(self) -> Tensor: ...


@dataclass(frozen=True)
class Context:
    """What a drafter is told about one answer before it starts.

    Attributes:
        question: the question as asked.
        stream: the event model's own answer; every drafter of the answer shares it.
        cost: T(n)/T(1) of the target's forward over n tokens, as measured.
        head: the target's head; None where no drafter needs it.
        question_ids: the target's ids of its prompt behind the picture; empty where nobody knows.
        follower: the event model on the target's words; None where it does not follow: what has
            arrived of its own answer is then all that there is of it.
    """

    question: str
    stream: Stream
    cost: CostCurve = flat_cost
    head: Head | None = None
    follower: StateFollower | None = None
    question_ids: tuple[int, ...] = ()


class Drafter(ABC):
    """Proposes tokens that the target then verifies.

    Calls come in this order: `fit` once (where there is something to learn from), then for each
    answer `begin`, any number of `propose`/`observe`, and `finish` where learning goes on.
    """

    name: str
    #: What it reads beside the accepted prefix, see `DRAFT_TOKENS` and its neighbours.
    needs: frozenset[str] = frozenset()
    #: Whether it stops by itself where deeper drafts are not worth their time (`Budget.token_ms`),
    #: or takes none for them. Of others somebody else decides how deep they are asked to go.
    stops: bool = False

    def fit(self, pairs: Sequence[Pair]) -> None:
        """Learn from recorded pairs, in recording order. Nothing to learn by default."""

    def begin(self, context: Context) -> None:
        """Start a new answer."""

    @abstractmethod
    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        """Propose what follows `prefix`, the target's accepted tokens.

        Pure: asked twice in a row it gives the same tree. May be empty.
        """

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        """Learn what was accepted; `rows` are the kept rows of the target's pass, None where the
        drafter does not need the target's states."""

    def finish(self, answer: Sequence[int]) -> None:
        """Learn from the finished answer. Called only where online learning is on."""
