"""Greedy verification replayed against a recorded answer.

The recorded answer is what the target says whatever is drafted, so every verification is known
without running it. The first forward is the prefill: it emits a token like any other forward, and
a draft that is ready rides as its tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from crossdraft.base.tree import Verification
from crossdraft.decoding.arrival import Arrival, RecordedStream
from crossdraft.drafters.base import (
    DRAFT_STATES,
    FORCED_STATES,
    HEAD,
    TARGET_STATES,
    Budget,
    Context,
    CostCurve,
    Drafter,
    flat_cost,
)
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of


@dataclass(frozen=True)
class Replay:
    """One answer, replayed to its end.

    Attributes:
        tokens: tokens of the answer.
        accepted: accepted drafts of each forward.
        drafted: proposed nodes of each forward.
        cost: sum over forwards of T(nodes + 1)/T(1).
    """

    tokens: int
    accepted: tuple[int, ...]
    drafted: tuple[int, ...]
    cost: float

    @property
    def forwards(self) -> int:
        return len(self.accepted)


def replay(
    drafter: Drafter,
    pair: Pair,
    budget: Budget,
    arrival: Arrival,
    curve: CostCurve = flat_cost,
) -> Replay:
    """Decode the pair's target answer with drafts from `drafter`, as the live loop would.

    Args:
        pair: its target tokens end with EOS or at the length limit.
        curve: cost of a forward by its number of tokens.

    Returns:
        What each forward accepted. An empty answer takes no forward.
    """
    answer, stream = pair.target_tokens, begin_recorded(drafter, pair, curve)
    rows = _target_rows(drafter, pair)
    accepted: list[int] = []
    drafted: list[int] = []
    position, prefill_cost, decode_cost = 0, 0.0, 0.0
    while position < len(answer):
        stream.visible = arrival.visible(len(stream), decode_cost, prefill=position == 0)
        tree = drafter.propose(answer[:position], budget)
        path = tree.follow(answer[position:])
        end = position + len(path)
        token = answer[end] if end < len(answer) else None
        drafter.observe(Verification(path, token), rows and rows.between(position, end + 1))
        accepted.append(len(path))
        drafted.append(len(tree))
        if position == 0:
            prefill_cost = curve(len(tree) + 1)
        else:
            decode_cost += curve(len(tree) + 1)
        position = end + 1
    return Replay(len(answer), tuple(accepted), tuple(drafted), prefill_cost + decode_cost)


def rank_of_next(
    drafter: Drafter,
    pair: Pair,
    arrival: Arrival,
    candidates: int = 5,
) -> list[int | None]:
    """Rank of each target token among the drafter's candidates, given the correct prefix.

    Returns:
        Per position 0 for the first candidate, up to `candidates` - 1; None where the token is
        not among them. Plain decoding is the clock: position p is asked before forward p.
    """
    answer, stream = pair.target_tokens, begin_recorded(drafter, pair)
    rows = _target_rows(drafter, pair)
    ranks: list[int | None] = []
    for position, token in enumerate(answer):
        decoded = max(0.0, position - 1.0)
        stream.visible = arrival.visible(len(stream), decoded, prefill=position == 0)
        ranks.append(_rank(_candidates(drafter, answer[:position], candidates), token))
        if rows is not None:
            drafter.observe(Verification((), token), rows.between(position, position + 1))
    return ranks


def rank_without_prefix(
    drafter: Drafter,
    pair: Pair,
    candidates: int = 5,
) -> list[int | None]:
    """Rank of each target token at the same position of an answer that the drafter writes
    alone, from its own first candidates, with all of the event model's answer to read.

    This is what the seed study called acceptance. Nothing is accepted this way in decoding: one
    token more or less and every later position counts as wrong.
    """
    begin_recorded(drafter, pair, alone=True)
    written: list[int] = []
    ranks: list[int | None] = []
    for token in pair.target_tokens:
        offered = _candidates(drafter, written, candidates)
        ranks.append(_rank(offered, token))
        # Drafters that are silent at one position may speak at the next; -1 is no token.
        written.append(offered[0] if offered else -1)
    return ranks


def first_window(
    drafter: Drafter,
    pair: Pair,
    arrival: Arrival,
    gamma: int,
) -> int:
    """Accepted tokens of the first `gamma` drafts, verified once when the prefill ends."""
    stream = begin_recorded(drafter, pair)
    stream.visible = arrival.visible(len(stream), 0.0, prefill=False)
    return len(drafter.propose((), Budget.chain(gamma)).follow(pair.target_tokens))


def begin_recorded(
    drafter: Drafter, pair: Pair, curve: CostCurve = flat_cost, *, alone: bool = False
) -> RecordedStream:
    """Start the drafter on a recorded pair, with the states that it needs.

    Args:
        alone: nothing follows the target's answer: the event model's own is all there is to read.

    Returns:
        The stream it reads from, with everything visible.

    Raises:
        InputError: it needs states, and the pair has none of this kind.
    """
    needs = drafter.needs
    own = thoughts_of(pair).states("own") if DRAFT_STATES in needs else None
    stream = RecordedStream(pair.draft_tokens, own)
    head = thoughts_of(pair).head if HEAD in needs else None
    follower = RecordedFollower(pair) if FORCED_STATES in needs and not alone else None
    asked = () if pair.thoughts is None else pair.thoughts.question_ids
    drafter.begin(Context(pair.question, stream, curve, head, follower, asked))
    return stream


class RecordedFollower:
    """The event model's recorded reading of the target's answer behind the live interface.

    It has read the target's words, whatever is drafted: behind a wrong draft its states are others
    than the live ones, and nothing behind a wrong draft is ever accepted.
    """

    def __init__(self, pair: Pair) -> None:
        self._states = thoughts_of(pair).states("forced")

    def follow(self, answer: Sequence[int]) -> Tensor | None:
        """See `StateFollower.follow`; None behind the end of the recorded answer."""
        return self._states[: len(answer) + 1] if len(answer) < len(self._states) else None


@dataclass(frozen=True, eq=False)
class RecordedRows:
    """Recorded states of the target, as rows of a pass.

    Attributes:
        hidden: [n, hidden].
    """

    hidden: Tensor

    def between(self, first: int, end: int) -> RecordedRows:
        """Those that emitted the tokens from `first` to before `end`."""
        return RecordedRows(self.hidden[first:end])


def _target_rows(drafter: Drafter, pair: Pair) -> RecordedRows | None:
    if TARGET_STATES not in drafter.needs:
        return None
    return RecordedRows(thoughts_of(pair).states("target"))


def _candidates(drafter: Drafter, prefix: Sequence[int], count: int) -> list[int]:
    return [int(token) for token in drafter.propose(prefix, Budget.next_token(count)).tokens]


def _rank(offered: Sequence[int], token: int) -> int | None:
    return offered.index(token) if token in offered else None
