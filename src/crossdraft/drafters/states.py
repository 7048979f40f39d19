"""The contract of a drafter that works in the target's state space.

It translates states of the event model (or the target's own) into states of the target and reads
tokens off them. What it predicts can be measured as states, beside what it accepts as tokens.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from crossdraft.drafters.trainable import TokenBatch, Trainable
from crossdraft.pairs.record import Head

#: Which states of the event model stand beside the target's: those behind its own answer, or those
#: of its reading of the target's answer.
Alignment = Literal["own", "forced"]


@dataclass(frozen=True, eq=False)
class Predicted:
    """States of the target, as a drafter predicts them.

    Attributes:
        states: [batch, n, hidden] float32; output t stands for the target's state t + shift, which
            emits token t + shift.
        scores: [batch, n, vocab] logits of the network's own head; None where the target's head
            reads the states.
    """

    states: Tensor
    scores: Tensor | None = None

    def logits(self, head: Head) -> Tensor:
        """[batch, n, vocab] of the token that each output stands for."""
        return head.logits(self.states) if self.scores is None else self.scores


class StateDrafter(Trainable):
    """A drafter that predicts states of the target."""

    #: 0 where output t stands for the target's state t, 1 where it stands for the next one.
    shift: ClassVar[int]

    @property
    def alignment(self) -> Alignment:
        """Which states of the event model it is trained on."""
        return "forced"

    @abstractmethod
    def reads(self, alignment: Alignment) -> frozenset[str]:
        """What `predicted` takes from a batch, as `TokenBatch.of` names it."""

    @abstractmethod
    def predicted(self, batch: TokenBatch, alignment: Alignment) -> Predicted:
        """What the network says about a batch, all states before an output given (no rollout).

        n is the longest answer of the side that is read: the event model's own under `own` where
        its states are read, else the target's. Outputs behind the end of an answer mean nothing.
        """
