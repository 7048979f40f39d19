"""A loaded model in float64 for a while, in place: the arbiter between rounding and a fault.

Every value of a narrower format is a value of float64, so the way there and back changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from crossdraft.scenes.disk import format_bytes
from crossdraft.vlm.free_memory import available_bytes
from crossdraft.vlm.memory import kv_bytes

#: Sessions that are held at once: a picture with an answer of its own, and two forks of it.
_SESSIONS = 3
#: Copies of the attention scores of a whole prompt that a pass in float64 may hold.
_SCORES = 3


def obstacle(model: PreTrainedModel, tokens: int) -> str | None:
    """Why a model cannot be brought to float64 here; None where it can.

    Args:
        tokens: longest sequence that sessions will hold.
    """
    if getattr(model, "is_quantized", False):
        return "quantised weights have no float64"
    tensors = _tensors(model)
    if any(one.device.type == "meta" for one in tensors):
        return "parts of the model are not in memory"
    if all(one.dtype == torch.float64 for one in tensors):
        return None
    for device in {one.device for one in tensors}:
        here = [one for one in tensors if one.device == device]
        needed = sum(one.numel() * (8 - one.itemsize) for one in here) + _working(model, tokens)
        needed += max(one.numel() * 8 for one in here)
        free = available_bytes(device)
        if free is not None and needed > free:
            return (
                f"float64 needs {format_bytes(needed)} more on {device}, which has "
                f"{format_bytes(free)} free"
            )
    return None


@contextmanager
def in_float64(model: PreTrainedModel) -> Iterator[None]:
    """Every parameter and buffer of a model in float64, and behind this each as it was."""
    held = [(one, one.dtype) for one in _tensors(model)]
    try:
        for tensor, _ in held:
            tensor.data = tensor.data.double()
        yield
    finally:
        for tensor, dtype in held:
            tensor.data = tensor.data.to(dtype)


def _tensors(model: PreTrainedModel) -> list[Tensor]:
    """Parameters and buffers that hold fractions, shared ones once."""
    found = {id(one): one for one in (*model.parameters(), *model.buffers())}
    return [one for one in found.values() if one.is_floating_point()]


def _working(model: PreTrainedModel, tokens: int) -> int:
    """Bytes of keys, values and attention scores."""
    text = model.config.get_text_config(decoder=True)
    heads = getattr(text, "num_attention_heads", None) or 1
    scores = _SCORES * 8 * heads * tokens * tokens
    return _SESSIONS * kv_bytes(model, tokens, torch.float64) + scores
