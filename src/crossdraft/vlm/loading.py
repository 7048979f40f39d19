"""A target out of any checkpoint folder, by the architecture that its config.json names.

EventGPT and Video-LLaVA bring their prompts along; any other vision model takes prompts made of its
processor's outputs; a text-only decoder serves as a draft, in tests and for the cost of a
verification.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.errors import InputError
from crossdraft.vlm.checkpoint import Checkpoint, inspect
from crossdraft.vlm.eventgpt.configuration import ARCHITECTURES as EVENTGPT
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.memory import MemoryEstimate, estimate
from crossdraft.vlm.placement import Placement
from crossdraft.vlm.precision import Precision
from crossdraft.vlm.target import Target

VIDEO_LLAVA = "VideoLlavaForConditionalGeneration"
_EXPECTED = (
    "a causal decoder, alone or behind vision towers, whose key/value cache can be rolled back"
)
_ADVICE = "take a video language model such as Video-LLaVA, LLaVA-OneVision or Qwen2.5-VL"


def load_target(
    folder: Path | str,
    *,
    dtype: str | torch.dtype | Precision = "auto",
    device: str | torch.device | Mapping[str, int | str] = "cpu",
    **options: Any,
) -> Target:
    """Load a checkpoint as a model that sessions drive: to verify drafts, or to draft.

    Args:
        folder: a checkpoint folder, or the name of a hub model that is in the hub's cache.
        dtype: precision of the weights: `auto` (as stored), `float64`, `float32`, `bfloat16`,
            `float16`, `int8`, `nf4`.
        device: `auto`, `cpu`, `cuda:1`; `balanced` over all GPUs; or devices by module.
        options: for `Target`; for EventGPT and Video-LLaVA those of `load_eventgpt` and
            `load_video_llava` too.

    Raises:
        InputError: as `load_model`; a model that is no causal decoder with a cache of keys and
            values.
    """
    checkpoint = inspect(folder)
    name = _decoder(checkpoint)
    if name in EVENTGPT:
        from crossdraft.vlm.eventgpt.load import load_eventgpt

        return load_eventgpt(checkpoint.folder, dtype=dtype, device=device, **options)
    if name == VIDEO_LLAVA:
        from crossdraft.vlm.video_llava import load_video_llava

        return load_video_llava(checkpoint.folder, dtype=dtype, device=device, **options)
    model = load_model(
        checkpoint.folder,
        _class_of(name, checkpoint),
        architectures=(name,),
        dtype=dtype,
        device=device,
    )
    return Target(model, **options)


def estimate_target(
    folder: Path | str,
    *,
    dtype: str | torch.dtype | Precision = "auto",
    device: str | torch.device | Mapping[str, int | str] = "cpu",
) -> MemoryEstimate:
    """What `load_target` would need; nothing is loaded.

    Of a model over several devices, what it needs on all of them.

    Raises:
        InputError: as `load_target`.
    """
    checkpoint = inspect(folder)
    kind = _class_of(_decoder(checkpoint), checkpoint)
    return estimate(checkpoint, kind, dtype, device=Placement.parse(device).first)


def _class_of(name: str, checkpoint: Checkpoint) -> Any:
    """The class that an architecture is loaded as."""
    if name in EVENTGPT:
        from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration

        return EventGPTForConditionalGeneration
    if name == VIDEO_LLAVA:
        from crossdraft.vlm.video_llava import VideoOnlyLlava

        return VideoOnlyLlava
    import transformers

    model_class = getattr(transformers, name)
    _refuse_other_caches(checkpoint, model_class)
    return model_class


def _decoder(checkpoint: Checkpoint) -> str:
    """The architecture that is EventGPT, or a vision model or decoder in transformers' lists."""
    from transformers.models.auto import modeling_auto as lists

    decoders = {
        *lists.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values(),
        *lists.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(),
    }
    for name in checkpoint.architectures:
        if name in decoders or name in EVENTGPT:
            return name
    name = checkpoint.architectures[0]
    kinds = {
        "an encoder-decoder": lists.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        "a masked language model": lists.MODEL_FOR_MASKED_LM_MAPPING_NAMES,
    }
    kind = next((kind for kind, names in kinds.items() if name in names.values()), None)
    if kind is None:
        raise _unfit(checkpoint, f"{name}, no causal decoder that transformers knows")
    raise _unfit(checkpoint, f"{name}, {kind}")


def _refuse_other_caches(checkpoint: Checkpoint, model_class: Any) -> None:
    """Refuse, before anything large is loaded, what `Target` could not drive."""
    from transformers.models.auto import modeling_auto as lists

    name, config = model_class.__name__, checkpoint.config
    if model_class._is_stateful:
        raise _unfit(
            checkpoint,
            f"{name}, which carries a running state from token to token",
            "a state that only moves forwards cannot forget a rejected draft",
        )
    if config.get("is_encoder_decoder"):
        raise _unfit(checkpoint, f"{name}, an encoder-decoder")
    # Families that fill gaps, both sides seen, unless they are told otherwise.
    fills_gaps = checkpoint.model_type in lists.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    if fills_gaps and not config.get("is_decoder"):
        raise _unfit(checkpoint, f"{name} without is_decoder, a masked language model")


def _unfit(checkpoint: Checkpoint, found: str, hint: str = _ADVICE) -> InputError:
    return InputError(found, where=checkpoint.config_path, expected=_EXPECTED, hint=hint)
