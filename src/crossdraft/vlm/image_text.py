"""Prompts of any vision model from the outputs of its own processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.vlm.prompt import Prompt

#: Fields under which configurations name the ids that pictures stand in for.
_SLOTS = (
    "image_token_id",
    "image_token_index",
    "video_token_id",
    "video_token_index",
    "vision_start_token_id",
    "vision_end_token_id",
)


def picture_ids(config: Any) -> frozenset[int]:
    """Ids that stand for pictures, or mark where one begins or ends, as a configuration says."""
    found = (getattr(config, name, None) for name in _SLOTS)
    return frozenset(value for value in found if isinstance(value, int))


def prompt_from(outputs: Mapping[str, Tensor], config: Any) -> Prompt:
    """The prompt that a processor has made for one scene and one question.

    Args:
        outputs: what the processor returned as torch tensors: `input_ids` [1, length] with the
            picture's slots expanded, pixels, grids.

    Raises:
        InputError: no `input_ids` of one prompt, or nothing behind the picture.
    """
    if "input_ids" not in outputs:
        raise InputError(
            f"no input_ids among {', '.join(map(str, outputs)) or 'no outputs'}",
            expected="the outputs of the model's processor, as torch tensors",
        )
    ids = outputs["input_ids"]
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.shape[0] != 1:
        shape = list(ids.shape) if isinstance(ids, Tensor) else type(ids).__name__
        raise InputError(
            f"input_ids of {shape}",
            expected="a tensor [1, length]: one prompt",
            hint='call the processor with one text and return_tensors="pt"',
        )
    row = tuple(int(token) for token in ids[0].tolist())
    slots = picture_ids(config)
    cut = max((place + 1 for place, token in enumerate(row) if token in slots), default=0)
    inputs = {name: value for name, value in outputs.items() if name != "input_ids"}
    return Prompt(row, cut, lambda: inputs)
