"""What the ladder's networks read and say, and the frame that they all share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from crossdraft.drafters.ladder.blocks import Before
from crossdraft.drafters.states import Predicted


@dataclass(frozen=True, eq=False)
class Inputs:
    """Rows of one pass; row t has what is known at token t.

    Attributes:
        event: [batch, n, draft_hidden] states of the event model; None where none are read.
        target: [batch, n, hidden] states of the target; None where none are read.
        tokens: [batch, n] the target's tokens; None where none are read.
        mask: [n, n] true where row i may see row j; None: all rows before it, and itself.
        places: [n] position of each row; None: counted from 0.
        before: of each layer the rows that are seen beside these; grows by these. The mask then has
            a column for each of them in front.
    """

    event: Tensor | None = None
    target: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    places: Tensor | None = None
    before: Sequence[Before] | None = None

    def to(self, dtype: torch.dtype) -> Inputs:
        """The same with states in another number format."""
        event, target = (
            None if one is None else one.to(dtype) for one in (self.event, self.target)
        )
        return replace(self, event=event, target=target)


@dataclass(frozen=True)
class Widths:
    """Of the two models.

    Attributes:
        hidden: of the target's states.
        draft_hidden: of the event model's.
        vocab: of the target; 0 where nobody said, which only a network with its own head asks.
        draftable: ids from here on are never drafted; 0 as above.
    """

    hidden: int
    draft_hidden: int
    vocab: int
    draftable: int


class LadderNetwork(nn.Module):
    """A network of the ladder.

    Where the two models' states differ in width, one matrix brings the event model's to the
    target's first: `input_projection`.
    """

    #: Whether a row depends on no other.
    per_position: bool = False

    def __init__(self, widths: Widths, *, projected: bool) -> None:
        super().__init__()
        self.input_projection: nn.Linear | None = None
        if projected and widths.draft_hidden != widths.hidden:
            self.input_projection = nn.Linear(widths.draft_hidden, widths.hidden, bias=False)

    def of_target_width(self, event: Tensor | None) -> Tensor:
        """The event model's states, as wide as the target's."""
        assert event is not None
        return event if self.input_projection is None else self.input_projection(event)

    @abstractmethod
    def forward(self, inputs: Inputs) -> Predicted:
        """One output per row."""


class LayeredNetwork(LadderNetwork):
    """One whose rows see each other in layers, and can be added to.

    Attributes:
        layers: one behind the other.
    """

    layers: nn.ModuleList

    def through(self, rows: Tensor, inputs: Inputs, mask: Tensor | None) -> Tensor:
        """[batch, n, width] rows behind all layers."""
        before: Sequence[Before | None] = inputs.before or [None] * len(self.layers)
        for layer, earlier in zip(self.layers, before, strict=True):
            rows = layer(rows, mask, earlier)
        return rows
