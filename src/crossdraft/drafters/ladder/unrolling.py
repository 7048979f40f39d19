"""Chains from every start at once, for networks that read on in their own predictions.

Beside the true rows stand rows of each depth, one per start; each sees the true rows before its
start and the predicted rows of its own chain, and no other.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from crossdraft.drafters.ladder.blocks import Before
from crossdraft.drafters.ladder.inputs import Inputs, LayeredNetwork


def unrolled(network: LayeredNetwork, inputs: Inputs, depth: int, longest: int) -> list[Tensor]:
    """What a network that stands for the next state predicts, `depth` steps behind every start.

    Args:
        inputs: true rows, [batch, n, ...]; the event model's states may stand in them.
        longest: positions that the network knows; rows beyond stand at the last one.

    Returns:
        For each step d, [batch, n, hidden]: row p is the state p + d as a chain begun behind p true
        rows predicts it. Row 0 means nothing.
    """
    assert inputs.target is not None
    target, event = inputs.target, inputs.event
    length = target.shape[1]
    place = torch.arange(length, device=target.device)
    before = [Before() for _ in network.layers]
    rows, said = inputs, list[Tensor]()
    for step in range(depth):
        places = (place + max(0, step - 1)).clamp(max=longest - 1)
        mask = _mask(length, step, target.device)
        states = network(replace(rows, places=places, mask=mask, before=before)).states
        # True rows say the state behind them: that of start p stands at row p - 1.
        said.append(torch.roll(states, 1, dims=1) if step == 0 else states)
        shown = None if event is None else event[:, (place + step).clamp(max=length - 1)]
        rows = Inputs(shown, said[-1])
    return said


def _mask(length: int, step: int, device: torch.device) -> Tensor:
    """[length, (step + 1) length]: whom the rows of a step see, of the true ones and of each step
    so far."""
    true = torch.ones(length, length, dtype=torch.bool, device=device).tril()
    if not step:
        return true
    own = torch.eye(length, dtype=torch.bool, device=device)
    return torch.cat([true.tril(-1), *[own] * step], dim=1)
