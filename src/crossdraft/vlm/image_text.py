"""Prompts of any vision model from the outputs of its own processor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.vlm.prompt import Inputs, PictureOf, Prompt

#: Fields under which configurations name the ids that stand for pictures, sound or events.
_SLOTS = (
    "image_token_id",
    "image_token_index",
    "video_token_id",
    "video_token_index",
    "audio_token_id",
    "audio_token_index",
    "event_token_index",
    "visual_indicator_token_ids",
)
#: Fields for the ids that stand before and behind one.
_MARKS = (
    "vision_start_token_id",
    "vision_end_token_id",
    "image_start_token_id",
    "image_end_token_id",
    "video_start_token_id",
    "video_end_token_id",
)
#: Outputs that say how something was processed and that no model reads.
_ABOUT = ("video_metadata", "num_crops")


def picture_ids(config: Any) -> frozenset[int]:
    """Ids that stand for pictures, or mark where one begins or ends, as a configuration says."""
    found: set[int] = set()
    for name in (*_SLOTS, *_MARKS):
        value = getattr(config, name, None)
        found.update(value if isinstance(value, list | tuple) else [] if value is None else [value])
    return frozenset(value for value in found if type(value) is int)


class Outputs:
    """Inputs of a prompt that a processor has already made."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def __call__(self) -> Mapping[str, Tensor]:
        """The tensors."""
        return self.tensors


def prompt_from(outputs: Mapping[str, Any], config: Any) -> Prompt:
    """The prompt that a processor has made for one scene and one question.

    Args:
        outputs: what the processor returned: `input_ids` [1, length] with the picture's slots
            expanded, pixels, grids.

    Raises:
        InputError: no `input_ids` of one prompt, nothing behind the picture, a picture without
            slots or slots without a picture, or a value that is no tensor.
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
    inputs = {
        name: _tensor(name, value)
        for name, value in outputs.items()
        if name not in ("input_ids", *_ABOUT) and value is not None
    }
    pictures = [name for name, value in inputs.items() if value.shape != ids.shape]
    if bool(pictures) != bool(cut):
        raise InputError(
            f"{', '.join(pictures)} and no picture slot among the ids"
            if pictures
            else f"{cut} ids up to the last picture slot and no picture",
            expected="a picture, and slots for it as the configuration names them",
        )
    return Prompt(row, cut, Outputs(inputs))


def same_picture(one: Inputs, other: Inputs) -> bool:
    """Whether two prompts show the same picture, as far as they say: the tensors that they brought
    along, or the scenes that their builder was given."""
    if isinstance(one, PictureOf) and isinstance(other, PictureOf):
        return _same_scene(one.scene, other.scene)
    if one is other or not (isinstance(one, Outputs) and isinstance(other, Outputs)):
        return True
    # What belongs to the ids differs in length with the question.
    mine, its = (
        {k: v for k, v in part.tensors.items() if v.ndim != 2 or len(v) != 1}
        for part in (one, other)
    )
    return mine.keys() == its.keys() and all(
        mine[name] is its[name] or torch.equal(mine[name], its[name]) for name in mine
    )


def _same_scene(one: Any, other: Any) -> bool:
    """Whether two scenes are one: arrays by their values, everything else as it compares."""
    if one is other:
        return True
    if isinstance(one, np.ndarray | Tensor) and isinstance(other, np.ndarray | Tensor):
        return np.array_equal(np.asarray(one), np.asarray(other))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same_scene, one, other))
    return type(one) is type(other) and bool(one == other)


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    try:
        return torch.as_tensor(np.asarray(value))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} is of type {type(value).__name__}",
            expected="tensors, as the model's forward takes them",
            hint='call the processor with return_tensors="pt"',
        ) from error
