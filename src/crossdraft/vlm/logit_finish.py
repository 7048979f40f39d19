"""What models do to their logits behind the head, by the fields of a configuration that say so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Finish = Callable[[Tensor, float], Tensor]

#: Field of a configuration -> what it does to logits.
FINISH: dict[str, Finish] = {
    "final_logit_softcapping": lambda logits, cap: torch.tanh(logits / cap) * cap,
    "logit_scale": lambda logits, scale: logits * scale,
    "logits_scaling": lambda logits, scale: logits / scale,
}


def finish_of(config: Any) -> dict[str, float]:
    """The fields that a text configuration has, with their values."""
    values = {name: getattr(config, name, None) for name in FINISH}
    return {name: float(value) for name, value in values.items() if value is not None}
