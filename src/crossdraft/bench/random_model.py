"""Models of any shape with random weights: what a pass costs, weights do not decide.

Measured before a checkpoint is downloaded, or where none can be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from crossdraft.base.errors import InputError, gist
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text
from crossdraft.vlm.free_memory import available_bytes
from crossdraft.vlm.memory import kv_bytes
from crossdraft.vlm.quiet import quiet

#: Share for what passes need beside weights, keys and values.
_SPARE = 1.1
#: Layers of a model that is sketched; the largest published ones have some 130.
_DEEPEST = 1000


def small_llama() -> LlamaConfig:
    """About 12 million parameters: a step of some milliseconds on any machine."""
    return LlamaConfig(
        vocab_size=2000,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=4096,
    )


def read_config(path: Path) -> PreTrainedConfig:
    """A transformers config.json. Code that it names is never run.

    Raises:
        InputError: no such file, or not a configuration that transformers knows.
    """
    top = Item(parse_json(read_text(path), path), path, "configuration")
    kind = top.text("model_type")
    if kind is None or kind not in CONFIG_MAPPING:
        raise top.error(
            f"model_type is {kind!r}" if kind else "no model_type",
            "a config.json of a model that transformers knows",
        )
    if top.value.get("quantization_config"):
        raise top.error(
            "has a quantization_config, and random weights are dense",
            "a configuration of dense weights; measure a quantised checkpoint with --model",
        )
    try:
        config: PreTrainedConfig = CONFIG_MAPPING[kind].from_dict(dict(top.value))
    except Exception as error:  # each configuration class checks in its own way
        raise InputError(f"not a configuration of {kind} ({gist(error)})", where=path) from error
    return config


def random_model(
    config: PreTrainedConfig,
    dtype: torch.dtype | Literal["auto"],
    device: torch.device,
    *,
    context: int = 0,
    where: Path | None = None,
) -> PreTrainedModel:
    """A model of these shapes, the same weights every time.

    Args:
        dtype: auto is the configuration's own, float32 where it has none.
        context: tokens it will be asked to remember; its keys and values have to fit as well.
        where: the file the configuration is from.

    Raises:
        InputError: no causal or image-text model has this configuration, or it does not fit.
    """
    kind = _model_class(config, where)
    _refuse_deep(config, where)
    if dtype == "auto":
        own = getattr(config, "dtype", None) or getattr(config.get_text_config(), "dtype", None)
        dtype = own if isinstance(own, torch.dtype) else torch.float32
    try:
        with quiet():
            with torch.device("meta"):
                empty = kind.from_config(config, dtype=dtype)
            _refuse_large(empty, device, context, where)
            with torch.random.fork_rng(devices=[]), torch.device(device):
                torch.manual_seed(0)
                model: PreTrainedModel = kind.from_config(config, dtype=dtype)
    except InputError:
        raise
    except Exception as error:  # shapes that do not go together fail wherever they meet
        raise InputError(
            f"no model can be made of this configuration ({gist(error)})", where=where
        ) from error
    model.train(False).requires_grad_(False)
    return model


def _model_class(config: PreTrainedConfig, where: Path | None) -> Any:
    if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
        return AutoModelForCausalLM
    if type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
        return AutoModelForImageTextToText
    raise InputError(
        f"a {config.model_type} configuration",
        where=where,
        expected="one of a causal language model, or of an image or video language model",
    )


def _refuse_deep(config: PreTrainedConfig, where: Path | None) -> None:
    """Refuse what takes longer to sketch than anybody waits; the estimate needs a sketch."""
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        layers = getattr(part, "num_hidden_layers", 0)
        if isinstance(layers, int) and layers > _DEEPEST:
            raise InputError(
                f"{layers:,} layers", where=where, expected=f"at most {_DEEPEST:,} layers"
            )


def _refuse_large(
    model: PreTrainedModel, device: torch.device, context: int, where: Path | None
) -> None:
    """Refuse a model before its weights are made.

    Raises:
        InputError: with the estimate and what is free.
    """
    free = available_bytes(device)
    needed = needed_bytes(model, context)
    if free is not None and needed > free:
        raise InputError(
            f"{sum(p.numel() for p in model.parameters()):,} parameters need about "
            f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free on {device}",
            where=where,
            hint="a narrower --dtype, fewer layers in the configuration, or a larger --device",
        )


def needed_bytes(model: PreTrainedModel, context: int) -> int:
    """Weights, keys and values of so many tokens, and some room to compute in."""
    weights = sum(part.numel() * part.element_size() for part in model.parameters())
    # Three times: the picture's, the session's, and those of a fork that is asked beside it.
    cache = 3 * kv_bytes(model, context, model.dtype)
    return int(_SPARE * (weights + cache))
