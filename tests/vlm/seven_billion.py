"""Checkpoints of the published 7B layouts whose weight files are holes: headers, no bytes.

A file of 14 GB takes some hundred kilobytes of disk; whoever reads its tensors reads zeros.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, VideoLlavaConfig

#: Names and shapes of EventGPT-7B.
EVENTGPT_KEYS = (
    Path(__file__).parents[3] / "shared" / "reference" / "eventgpt_parity" / "full_size_keys.json"
)
_LLAMA: dict[str, Any] = {
    "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "max_position_embeddings": 4096,
}  # fmt: skip


def write_eventgpt_7b(folder: Path) -> Path:
    """EventGPT-7B: 688 tensors, 7,079,684,096 values."""
    config = {
        **_LLAMA, "architectures": ["EventChatModel"], "model_type": "EventChat_llama",
        "vocab_size": 32000, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
    }  # fmt: skip
    return _write(folder, config, json.loads(EVENTGPT_KEYS.read_text()))


def write_video_llava_7b(folder: Path) -> Path:
    """Video-LLaVA-7B in today's names, both towers."""
    from transformers import VideoLlavaForConditionalGeneration

    config = VideoLlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
            num_attention_heads=16, image_size=224, patch_size=14, projection_dim=768,
        ),
        text_config=LlamaConfig(**_LLAMA, vocab_size=32064),
        image_token_index=32000, video_token_index=32001,
        architectures=["VideoLlavaForConditionalGeneration"], dtype="bfloat16",
    )  # fmt: skip
    with torch.device("meta"):
        state = VideoLlavaForConditionalGeneration(config).state_dict()
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    return _write(folder, config.to_dict(), shapes)


def _write(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]) -> Path:
    """config.json, and one safetensors file of bfloat16 that is a header and a hole."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in shapes.items():
        first, end = end, end + 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [first, end]}
    head = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(head).to_bytes(8, "little") + head)
        stream.truncate(8 + len(head) + end)
    return folder
