"""Tiny random EventGPT checkpoints, laid out as the published one is.

Published key names and configuration, a tower that is named by its folder, the tokenizer of the
tiny Video-LLaVA without what that one adds. Event frames are 28 x 28 pixels in patches of 14:
5 states each, 5 + 5 slots for five frames.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from torch import Tensor

from crossdraft.vlm.eventgpt.configuration import EventGPTConfig
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration
from tests.vlm.video_llava_folder import (
    IMAGE_SIZE,
    PATCH_SIZE,
    llama_tokenizer,
    noisy,
    preprocessor,
    write_json,
)

#: Names of the modules here, and what the published file calls them.
_PUBLISHED = {
    "model.vision_tower.": "model.visual_tower.visual_tower.vision_model.",
    "model.projector.linear_1.": "model.visual_projector.0.",
    "model.projector.linear_2.": "model.visual_projector.2.",
    "model.adaptor.": "model.feature_adaptor.",
    "model.language_model.": "model.",
}


def write_eventgpt(
    folder: Path,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    tokenizer: bool = True,
    tower: bool = True,
    **config: Any,
) -> Path:
    """Write a checkpoint and return its folder.

    Args:
        dtype: of the stored weights.
        seed: of the weights; everything else is the same for every seed.
        tokenizer: with one.
        tower: with the tower's weights; its configuration lies in `clip` in any case.
        config: fields of config.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = event_tokenizer()
    if tokenizer:
        _write_tokenizer(folder, pieces)
    values = _config(pieces.get_vocab_size()) | config
    _write_tower(folder / "clip")
    write_json(folder / "config.json", values | {"torch_dtype": str(dtype).removeprefix("torch.")})
    write_json(
        folder / "generation_config.json",
        {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    )
    weights = {
        published_name(name): tensor.to(dtype)
        for name, tensor in random_weights(tiny_config(folder), seed).items()
        if tower or not name.startswith("model.vision_tower.")
    }
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def tiny_config(folder: Path) -> EventGPTConfig:
    """What is written in a folder, as the model reads it."""
    config = EventGPTConfig.from_pretrained(folder, local_files_only=True)
    assert isinstance(config, EventGPTConfig)
    return config


def random_weights(config: EventGPTConfig, seed: int = 0) -> dict[str, Tensor]:
    """Weights by the names of the modules, large enough that answers vary."""
    with torch.random.fork_rng():
        model = EventGPTForConditionalGeneration(config)
    return noisy(model.state_dict(), seed)


def published_name(name: str) -> str:
    """The published checkpoint's name of a weight."""
    for ours, published in _PUBLISHED.items():
        if name.startswith(ours):
            return published + name.removeprefix(ours)
    return name


def event_tokenizer() -> Tokenizer:
    """The tiny Video-LLaVA's tokenizer as it was before that model added tokens."""
    whole = json.loads(llama_tokenizer().to_str())
    whole["added_tokens"] = []
    pieces: Tokenizer = Tokenizer.from_str(json.dumps(whole))
    for token in ("<unk>", "<s>", "</s>"):
        pieces.add_special_tokens([AddedToken(token, normalized=False, special=True)])
    return pieces


def event_frames(n: int = 5, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random event frames, uint8 [n, 40, 60, 3]."""
    return np.random.default_rng(seed).integers(0, 256, (n, 40, 60, 3), dtype=np.uint8)


def _config(vocab: int) -> dict[str, Any]:
    return {
        "architectures": ["EventChatModel"], "attention_bias": False, "attention_dropout": 0.0,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "event_feature_adaptor": True,
        "hidden_act": "silu", "hidden_size": 64, "initializer_range": 0.02,
        "intermediate_size": 96, "max_position_embeddings": 1024,
        "mm_use_im_patch_token": False, "mm_use_im_start_end": False, "mm_visual_tower": "clip",
        "model_type": "EventChat_llama", "num_attention_heads": 4, "num_hidden_layers": 3,
        "num_key_value_heads": 4, "pretraining_tp": 1, "rms_norm_eps": 1e-5,
        "rope_scaling": None, "rope_theta": 10000.0, "tie_word_embeddings": False,
        "tokenizer_model_max_length": 512, "tokenizer_padding_side": "right",
        "transformers_version": "4.37.2", "use_cache": True, "use_feature_adaptor": True,
        "vocab_size": vocab,
    }  # fmt: skip


def _write_tower(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    write_json(
        folder / "config.json",
        {
            "architectures": ["CLIPVisionModel"], "hidden_act": "quick_gelu", "hidden_size": 32,
            "image_size": IMAGE_SIZE, "intermediate_size": 48, "layer_norm_eps": 1e-5,
            "model_type": "clip_vision_model", "num_attention_heads": 2, "num_channels": 3,
            "num_hidden_layers": 3, "patch_size": PATCH_SIZE, "projection_dim": 16,
        },
    )  # fmt: skip
    write_json(folder / "preprocessor_config.json", preprocessor("CLIPImageProcessor"))


def _write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
    write_json(
        folder / "tokenizer_config.json",
        {
            **names, "add_bos_token": True, "add_eos_token": False,
            "clean_up_tokenization_spaces": False, "legacy": True, "model_max_length": 2048,
            "padding_side": "right", "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer",
        },
    )  # fmt: skip
