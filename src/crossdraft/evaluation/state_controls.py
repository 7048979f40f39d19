"""What stands beside predicted states: predictions that know nothing of the scene, or nothing of
the target.

States of one model lie in a narrow cone, so a high cosine alone says little: the mean of all states
has one too. Each control is measured exactly as a drafter is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.drafters.states import Alignment, Predicted
from crossdraft.drafters.trainable import TokenBatch
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of

IDENTITY, MEAN, POSITION = "identity", "mean-state", "position-state"
#: The position's mean of the state behind, for drafters that say the next one.
NEXT = POSITION + " (next)"
#: Training answers that the means are taken over, spread evenly: more change no digit shown.
_ANSWERS = 2000


class StateSource(Protocol):
    """Whatever predicts states of the target; a `StateDrafter` is one."""

    @property
    def shift(self) -> int: ...

    def reads(self, alignment: Alignment) -> frozenset[str]: ...

    def predicted(self, batch: TokenBatch, alignment: Alignment) -> Predicted: ...


class Identity:
    """The event model's state, taken for the target's as it is."""

    shift = 0

    def reads(self, alignment: Alignment) -> frozenset[str]:
        return frozenset({f"{alignment}_states"})

    def predicted(self, batch: TokenBatch, alignment: Alignment) -> Predicted:
        return Predicted(batch.states[alignment])


class MeanState:
    """Mean states of the target over training answers: one for all places, or one for each.

    Attributes:
        states: [places, hidden]; behind the last place the last one is repeated.
        shift: as of a `StateDrafter`: output t is the mean of place t + shift.
    """

    def __init__(self, states: Tensor, shift: int = 0) -> None:
        self.states, self.shift = states, shift

    def reads(self, alignment: Alignment) -> frozenset[str]:
        return frozenset()

    def predicted(self, batch: TokenBatch, alignment: Alignment) -> Predicted:
        size, length = batch.target.shape
        places = torch.arange(length) + self.shift
        rows = self.states[places.clamp(max=len(self.states) - 1)].to(batch.target.device)
        return Predicted(rows.expand(size, -1, -1))


def controls(
    train: Sequence[Pair], kinds: frozenset[str], shifts: frozenset[int] = frozenset({0})
) -> dict[str, StateSource]:
    """The controls of one fold.

    Args:
        train: training part, with the target's states.
        kinds: of states that all pairs have.
        shifts: of the drafters that they stand beside.

    Returns:
        By name; `identity` only where the event model's states are as wide as the target's.

    Raises:
        InputError: the training part has no states of the target.
    """
    made: dict[str, StateSource] = {}
    thoughts = thoughts_of(train[0])
    width = thoughts.states("target").shape[-1]
    event = next((kind for kind in ("own", "forced") if kind in kinds), None)
    if event is not None and thoughts.states(event).shape[-1] == width:
        made[IDENTITY] = Identity()
    places, mean = _means(train)
    made[MEAN] = MeanState(mean[None])
    made[POSITION] = MeanState(places)
    if 1 in shifts:
        made[NEXT] = MeanState(places, 1)
    return made


def _means(train: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """[places, hidden] mean state of each place, and [hidden] of all."""
    stride = max(1, -(-len(train) // _ANSWERS))
    chosen = [pair for pair in train[::stride] if pair.target_tokens]
    if not chosen:
        raise InputError("no training answer has a token", expected="answers to take means over")
    total = torch.zeros(0, 0, dtype=torch.float64)
    counts = torch.zeros(0, dtype=torch.float64)
    for pair in chosen:
        states = thoughts_of(pair).states("target")[: len(pair.target_tokens)].double()
        if len(states) > len(total):
            longer = states.new_zeros(len(states), states.shape[1])
            longer[: len(total)] = total if len(total) else 0
            total = longer
            counts = torch.cat([counts, counts.new_zeros(len(states) - len(counts))])
        total[: len(states)] += states
        counts[: len(states)] += 1
    return (total / counts[:, None]).float(), (total.sum(0) / counts.sum()).float()
