"""The feature adaptor is applied exactly once between the tower and the language model.

The seed study fed EventGPT features that had been through the adaptor before, and drew wrong
conclusions from what the model then said. Here the rows that really enter the language model are
compared with the same modules applied by hand, in the published order, with the adaptor 0, 1 and 2
times.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdraft.bench.checks.case import Case
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import largest_difference
from crossdraft.vlm.eventgpt.configuration import EventGPTConfig
from crossdraft.vlm.eventgpt.modeling import pool

#: Times the adaptor is applied by hand.
_TIMES = (0, 1, 2)


def check_adaptor(case: Case) -> Check:
    """How far the rows in the event slots lie from 0, 1 and 2 applications of the adaptor."""
    config: Any = case.target.model.config
    if not isinstance(config, EventGPTConfig):
        return case.skipped("adaptor", f"{type(case.target.model).__name__} has none")
    slots = np.array(case.prompt.prefix) == config.event_token_index
    embeddings = case.opened.embeddings
    if embeddings is None:
        raise ValueError("the language model was given ids instead of events")
    found = embeddings[torch.from_numpy(slots).to(embeddings.device)]
    by_hand = _by_hand(case)
    apart = [_relative(found, rows) for rows in by_hand]
    # One fused map stands for two, each of which rounds: half of the digits at worst.
    eps = max(torch.finfo(found.dtype).eps, torch.finfo(torch.float32).eps)
    allowed = math.sqrt(eps)
    once = apart[1]
    others = min(apart[0], apart[2])
    said = ", ".join(
        f"{name} {one:.2g}" for name, one in zip(("without", "once", "twice"), apart, strict=True)
    )
    ok = once <= allowed and others > max(allowed, 3 * once)
    return case.check(
        "adaptor", ok,
        f"{int(slots.sum())} event rows, distance from the adaptor by hand: {said} "
        f"(once may differ by {allowed:.1g})",
        rows=int(slots.sum()), distances=dict(zip(map(str, _TIMES), apart, strict=True)),
        allowed=allowed,
    )  # fmt: skip


@torch.no_grad()
def _by_hand(case: Case) -> list[Tensor]:
    """[frames + states, hidden] for each number of applications."""
    parts: Any = case.target.model.base_model
    pixels = case.inputs["pixel_values"][0]
    states = parts.projector(parts.vision_tower(pixels).last_hidden_state)
    rows = []
    for _ in _TIMES:
        rows.append(pool(states[None])[0])
        states = parts.adaptor(states)
    return rows


def _relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference over the largest value of what was expected."""
    return largest_difference(found, expected) / float(expected.abs().max())
