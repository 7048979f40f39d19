"""Both published 7B models as shapes with random weights, and prompts of ids for them.

What a pass costs is decided by shapes, number format and kernels, not by what weights say. The tiny
sizes have the same classes and the same layout of a prompt, so that every line runs on a CPU too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, PreTrainedModel, VideoLlavaConfig

from crossdraft.base.errors import InputError
from crossdraft.scenes.disk import format_bytes
from crossdraft.vlm.eventgpt.configuration import FRAMES as EVENT_FRAMES
from crossdraft.vlm.eventgpt.configuration import PUBLISHED_TOWER, EventGPTConfig
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration
from crossdraft.vlm.free_memory import available_bytes
from crossdraft.vlm.image_text import Outputs
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.video_llava import FRAMES as VIDEO_FRAMES
from crossdraft.vlm.video_llava import VideoOnlyLlava

#: Ids before and behind the picture: `USER: <video>`, a short question and ` ASSISTANT:`; and of
#: EventGPT's official prompt with its system sentence, 60 ids of which one is the event slot.
VIDEO_TEXT, EVENT_TEXT = (5, 10), (40, 19)
#: What the layers add to the residual is scaled by this. With weights as transformers draws them,
#: 32 layers in bfloat16 round differently from one shape of a pass to another, by nearly as much
#: as `Decoder` allows between a model and its parts. It costs no time.
DAMPING = 0.1


@dataclass(frozen=True)
class Size:
    """Shapes of one pair.

    Attributes:
        target, drafter: make the configurations.
        read_bytes: of the buffer whose reading measures bandwidth, by kind of device; far larger
            than a cache.
    """

    target: Callable[[], VideoLlavaConfig]
    drafter: Callable[[], EventGPTConfig]
    read_bytes: dict[str, int]


def _text(**fields: Any) -> dict[str, Any]:
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return {"rms_norm_eps": 1e-5, "max_position_embeddings": 4096, **ids, **fields}


VICUNA_7B = _text(
    hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32,
    num_key_value_heads=32,
)  # fmt: skip
_TINY_TEXT = _text(
    hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4,
)  # fmt: skip
_TINY_TOWER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14, "projection_dim": 32,
}  # fmt: skip


def _video(tower: dict[str, Any], text: dict[str, Any], words: int, rows: int) -> VideoLlavaConfig:
    """`words` ids that mean something, then the placeholders of image and video."""
    return VideoLlavaConfig(
        vision_config=CLIPVisionConfig(**tower),
        text_config=LlamaConfig(**text, vocab_size=rows),
        image_token_index=words,
        video_token_index=words + 1,
    )


def _event(tower: dict[str, Any], text: dict[str, Any], words: int) -> EventGPTConfig:
    return EventGPTConfig(vision_config=dict(tower), vocab_size=words, **text)


SIZES = {
    "7b": Size(
        lambda: _video({**PUBLISHED_TOWER, "image_size": 224}, VICUNA_7B, 32000, 32064),
        lambda: _event(PUBLISHED_TOWER, VICUNA_7B, 32000),
        {"cuda": 4 << 30, "cpu": 512 << 20},
    ),
    "tiny": Size(
        lambda: _video(_TINY_TOWER, _TINY_TEXT, 250, 256),
        lambda: _event(_TINY_TOWER, _TINY_TEXT, 250),
        {"cuda": 256 << 20, "cpu": 64 << 20},
    ),
}


def target_of(size: Size, device: torch.device, dtype: torch.dtype) -> Any:
    """A Video-LLaVA without its image tower.

    Raises:
        InputError: it does not fit.
    """
    return _built(VideoOnlyLlava, size.target(), device, dtype)


def drafter_of(size: Size, device: torch.device, dtype: torch.dtype) -> Any:
    """An EventGPT, its projector and adaptor fused as after loading.

    Raises:
        InputError: it does not fit.
    """
    model = _built(EventGPTForConditionalGeneration, size.drafter(), device, dtype)
    model.model.fuse()
    return model


def _built(kind: Any, config: Any, device: torch.device, dtype: torch.dtype) -> PreTrainedModel:
    """A model made where it will run and in its own number format: no copy in float32."""
    with quiet():
        with torch.device("meta"):
            sketch = kind._from_config(config, dtype=dtype, attn_implementation="sdpa")
        needed = sum(part.numel() * part.element_size() for part in sketch.parameters())
        free = available_bytes(device)
        if free is not None and needed > free:
            raise InputError(
                f"{format_bytes(needed)} of weights, {format_bytes(free)} are free on {device}",
                expected="room for the weights, their keys and values",
                hint="--size tiny, or a larger device",
            )
        torch.manual_seed(0)
        with torch.device(device):
            model: PreTrainedModel = kind._from_config(
                config, dtype=dtype, attn_implementation="sdpa"
            )
    model.train(False).requires_grad_(False)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.mul_(DAMPING)
    return model


def video_prompt(model: Any) -> Prompt:
    """Eight frames of noise, the class token of each kept, and a short question."""
    vision = model.config.vision_config
    slots = VIDEO_FRAMES * _states(vision)
    shape = (1, VIDEO_FRAMES, 3, vision.image_size, vision.image_size)
    return _prompt(
        model, model.config.video_token_id, slots, VIDEO_TEXT, "pixel_values_videos", shape
    )


def event_prompt(model: Any) -> Prompt:
    """Five event frames of noise: a row for each frame and for each of the tower's states."""
    vision = model.config.vision_config
    slots = EVENT_FRAMES + _states(vision)
    shape = (1, EVENT_FRAMES, 3, vision.image_size, vision.image_size)
    return _prompt(model, model.config.event_token_index, slots, EVENT_TEXT, "pixel_values", shape)


def text_prompt(model: Any, like: Prompt, question: int) -> Prompt:
    """As many ids and no picture: what the language model alone reads.

    Args:
        question: ids of the prompt's question; the others stand for the picture.
    """
    ids = _words(model, len(like.ids))
    return Prompt(tuple(ids), len(ids) - question)


def _prompt(
    model: Any, slot: int, slots: int, text: tuple[int, int], name: str, shape: tuple[int, ...]
) -> Prompt:
    """Pixels lie where the model does, as the prompt builders put them."""
    before, behind = text
    words = _words(model, before + behind)
    ids = (*words[:before], *[slot] * slots, *words[before:])
    pixels = torch.randn(shape, device=model.device, dtype=model.dtype)
    return Prompt(ids, before + slots, Outputs({name: pixels}))


def _words(model: Any, count: int) -> list[int]:
    """Random ids that stand for text."""
    rows = model.get_input_embeddings().weight.shape[0]
    placeholders = [getattr(model.config, "image_token_id", rows), rows]
    rng = random.Random(0)
    return [rng.randrange(3, min(placeholders)) for _ in range(count)]


def _states(vision: Any) -> int:
    """Of one frame: its patches and the class token."""
    return int(vision.image_size // vision.patch_size) ** 2 + 1
