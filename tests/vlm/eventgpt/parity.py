"""What the official classes computed once on a tiny checkpoint, where it is."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from crossdraft.vlm.eventgpt.configuration import ARCHITECTURE
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration
from crossdraft.vlm.load_model import load_model

_SHARED = Path(__file__).parents[3].parent / "shared"
KIT = _SHARED / "reference" / "eventgpt_parity"
EVENTS = _SHARED / "real" / "events"
SAMPLES = ("sample1", "dsec74", "sparse")
#: Frames and the states of one, at the tiny size.
FRAMES, STATES = 5, 17
#: Largest differences in float32 that other kernels may make.
FEATURES, LOGITS = 1e-4, 5e-5

needs_kit = pytest.mark.skipif(not KIT.is_dir(), reason=f"no parity kit at {KIT}")


@cache
def reference() -> dict[str, Tensor]:
    """Every tensor of the official run."""
    tensors: dict[str, Tensor] = load_file(KIT / "reference.safetensors")
    return tensors


@cache
def meta() -> dict[str, Any]:
    """Ids that went in and came out."""
    values: dict[str, Any] = json.loads((KIT / "meta.json").read_text())
    return values


@cache
def frames() -> dict[str, Tensor]:
    """Event frames as the official code draws them."""
    tensors: dict[str, Tensor] = load_file(KIT / "frames_uint8.safetensors")
    return tensors


@cache
def model() -> EventGPTForConditionalGeneration:
    """The tiny checkpoint."""
    return load_model(
        KIT / "checkpoint", EventGPTForConditionalGeneration, architectures=(ARCHITECTURE,)
    )


def expanded(ids: list[int], slots: int = FRAMES + STATES) -> list[int]:
    """Ids with a slot for every row of events in place of the single one."""
    place = ids.index(-200)
    return [*ids[:place], *[-200] * slots, *ids[place + 1 :]]


def prompt(sample: str) -> Tensor:
    """[1, length] ids of a sample's prompt."""
    return torch.tensor([expanded(meta()["input_ids"][sample])])


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference."""
    assert one.shape == other.shape
    return (one - other).abs().max().item()
