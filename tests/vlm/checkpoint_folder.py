"""Tiny random checkpoints of many kinds, and their safetensors files taken apart.

The weights are random and saved by transformers itself; nothing is downloaded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaOnevisionConfig,
    MambaConfig,
    PreTrainedConfig,
    Qwen2_5_VLConfig,
    Qwen2Config,
    T5Config,
)

from crossdraft.vlm.quiet import quiet

_SMALL: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 128,
}  # fmt: skip


def llama_config(**changes: Any) -> LlamaConfig:
    """A decoder of two layers and 64 words."""
    return LlamaConfig(**{**_SMALL, "eos_token_id": 2, "pad_token_id": 0, **changes})


def onevision_config() -> LlavaOnevisionConfig:
    """LLaVA-OneVision: ids 60 and 61 are the slots of images and videos."""
    return LlavaOnevisionConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
            image_size=28, patch_size=14, projection_dim=16,
        ),
        text_config=Qwen2Config(**_SMALL, max_window_layers=2, bos_token_id=1, eos_token_id=2),
        image_token_index=60, video_token_index=61,
    )  # fmt: skip


def qwen_vl_config() -> Qwen2_5_VLConfig:
    """Qwen2.5-VL: ids 58 to 61 are the marks and slots of images and videos."""
    return Qwen2_5_VLConfig(
        text_config={
            **_SMALL, "max_window_layers": 2, "bos_token_id": 1, "eos_token_id": 2,
            "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]},
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2,
            "out_hidden_size": 32, "fullatt_block_indexes": [1], "window_size": 56,
            "patch_size": 14, "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        image_token_id=60, video_token_id=61, vision_start_token_id=58, vision_end_token_id=59,
    )  # fmt: skip


def bert_config(**changes: Any) -> BertConfig:
    """BERT of two layers."""
    small = {key: value for key, value in _SMALL.items() if key != "num_key_value_heads"}
    return BertConfig(**{**small, **changes})


def t5_config() -> T5Config:
    """T5 of two layers."""
    return T5Config(vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)


def mamba_config() -> MambaConfig:
    """Mamba of two layers."""
    return MambaConfig(vocab_size=64, hidden_size=32, state_size=4, num_hidden_layers=2)


def write_checkpoint(
    folder: Path,
    architecture: str = "LlamaForCausalLM",
    config: PreTrainedConfig | None = None,
    *,
    shards: int = 1,
    dtype: torch.dtype = torch.float32,
) -> Path:
    """Save a random model with `save_pretrained`.

    Args:
        shards: 1, or 2 and more: about as many files, none larger than that share, and an index.
    """
    import transformers

    model_class = getattr(transformers, architecture)
    config = config or llama_config()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with quiet():
            model = model_class(config).to(dtype)
    size = sum(parameter.nbytes for parameter in model.parameters())
    options = {} if shards == 1 else {"max_shard_size": f"{size / shards / 1000 + 1:.0f}KB"}
    with quiet():
        model.save_pretrained(folder, **options)
    return folder


def change_json(path: Path, **changes: Any) -> None:
    """Set fields of a JSON file; None removes one."""
    document = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: v for key, v in document.items() if v is not None}))


def take_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a safetensors file."""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    return header, data[8 + length :]


def put_together(path: Path, header: Any, tensors: bytes) -> None:
    """Write a safetensors file whose header is any JSON document, or any bytes."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + tensors)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder and below it, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
