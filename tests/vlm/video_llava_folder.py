"""Tiny random Video-LLaVA checkpoints, laid out as the published one is.

Old key names, shards with an index, the configuration files of the time, a BPE tokenizer of the
Llama kind with `<image>`, `<video>` and `<pad>` behind its vocabulary. Frames are 28 x 28 pixels in
patches of 14: 5 slots each, 40 for eight frames.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, processors
from tokenizers.models import BPE
from torch import Tensor
from transformers import CLIPVisionConfig, LlamaConfig, VideoLlavaConfig
from transformers.models.video_llava.modeling_video_llava import (
    VideoLlavaForConditionalGeneration,
)

#: Words that are one token each, with the space before them.
WORDS = ("What", "is", "in", "this", "scene", "the", "car", "road", "USER", "ASSISTANT", "a")
#: Rows of the embedding that no token has, as in the published checkpoint.
SPARE_ROWS = 64
IMAGE_SIZE, PATCH_SIZE, MAX_POSITIONS = 28, 14, 1024
#: Names of today's modules, and what the published files call them.
_HUB_NAMES = (
    (r"^lm_head", "language_model.lm_head"),
    (r"^model\.language_model", "language_model.model"),
    (r"^model\.(image_tower|video_tower)", r"\1.vision_model"),
    (r"^model\.multi_modal_projector", "multi_modal_projector"),
)


def write_video_llava(
    folder: Path,
    *,
    shards: int = 1,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    hub_keys: bool = True,
) -> Path:
    """Write a checkpoint and return its folder.

    Args:
        shards: number of weight files; 1 writes `model.safetensors` without an index.
        dtype: of the stored weights.
        seed: of the weights; everything else is the same for every seed.
        hub_keys: the key names of the published checkpoint, else those of today's modules.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = llama_tokenizer()
    vocab = tokenizer.get_vocab_size(with_added_tokens=False)
    _write_tokenizer(folder, tokenizer)
    config = tiny_config(vocab)
    _write_configs(folder, config, dtype)
    weights = {
        hub_name(name) if hub_keys else name: tensor.to(dtype)
        for name, tensor in random_weights(config, vocab, seed).items()
    }
    _write_weights(folder, weights, shards)
    return folder


def tiny_config(vocab: int) -> VideoLlavaConfig:
    """Configuration of a model whose tokenizer has `vocab` ids before the special ones."""
    return VideoLlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2,
            image_size=IMAGE_SIZE, patch_size=PATCH_SIZE, projection_dim=16,
        ),
        text_config=LlamaConfig(
            vocab_size=vocab + SPARE_ROWS, hidden_size=64, intermediate_size=96,
            num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
            max_position_embeddings=MAX_POSITIONS, rms_norm_eps=1e-5, pad_token_id=vocab + 2,
        ),
        image_token_index=vocab, video_token_index=vocab + 1, image_seq_length=4,
        video_seq_length=8 * ((IMAGE_SIZE // PATCH_SIZE) ** 2 + 1),
    )  # fmt: skip


def random_weights(config: VideoLlavaConfig, vocab: int, seed: int = 0) -> dict[str, Tensor]:
    """Weights by today's names, large enough that greedy answers do not repeat one token.

    Rows of the head behind the vocabulary stay near zero: as in the published checkpoint, they
    are there and never win.
    """
    with torch.random.fork_rng():
        model = VideoLlavaForConditionalGeneration(config)
    weights = noisy(model.state_dict(), seed)
    weights["lm_head.weight"][vocab:] *= 0.01
    return weights


def noisy(weights: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Random weights of these shapes, large enough that answers vary."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {}
    # Sorted: the order of modules is another one in other releases of transformers.
    for name, tensor in sorted(weights.items()):
        noise = torch.randn(tensor.shape, generator=generator)
        norm = tensor.dim() == 1 and name.endswith(".weight")
        drawn[name] = 1 + 0.1 * noise if norm else 0.3 * noise
    return drawn


def hub_name(name: str) -> str:
    """The published checkpoint's name of a weight."""
    for pattern, replacement in _HUB_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def llama_tokenizer() -> Tokenizer:
    """A tokenizer of the Llama kind: bytes, characters, a few words, no training."""
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    characters = ["▁", *string.printable.strip()]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        piece = "▁"
        for letter in word:
            merges.append((piece, letter))
            piece += letter
    merges = list(dict.fromkeys(merges))
    pieces += [*characters, *("".join(merge) for merge in merges)]
    tokenizer = Tokenizer(
        BPE(
            {piece: i for i, piece in enumerate(pieces)}, merges,
            unk_token="<unk>", fuse_unk=True, byte_fallback=True,
        )
    )  # fmt: skip
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )  # fmt: skip
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    for token in ("<unk>", "<s>", "</s>", "<image>", "<video>", "<pad>"):
        tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True)])
    return tokenizer


def _write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    tokens = ("<unk>", "<s>", "</s>", "<image>", "<video>", "<pad>")
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token, "lstrip": False, "normalized": False, "rstrip": False,
            "single_word": False, "special": True,
        }
        for token in tokens
    }  # fmt: skip
    write_json(folder / "special_tokens_map.json", names)
    write_json(
        folder / "tokenizer_config.json",
        {
            **names, "add_bos_token": True, "add_eos_token": False, "added_tokens_decoder": added,
            "clean_up_tokenization_spaces": False, "legacy": True, "model_max_length": 10**30,
            "padding_side": "left", "processor_class": "VideoLlavaProcessor",
            "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer",
            "use_default_system_prompt": False,
        },
    )  # fmt: skip


def _write_configs(folder: Path, config: VideoLlavaConfig, dtype: torch.dtype) -> None:
    name = str(dtype).removeprefix("torch.")
    values: dict[str, Any] = config.to_dict()
    text, vision = values["text_config"], values["vision_config"]
    for part in (values, text, vision):
        for new in ("dtype", "transformers_version", "_name_or_path"):
            part.pop(new, None)
    text["architectures"] = ["LlamaForCausalLM"]
    values |= {
        "architectures": ["VideoLlavaForConditionalGeneration"],
        "ignore_index": -100, "torch_dtype": name, "transformers_version": "4.41.0.dev0",
    }  # fmt: skip
    write_json(folder / "config.json", values)
    write_json(
        folder / "generation_config.json",
        {
            "_from_model_config": True, "bos_token_id": 1, "eos_token_id": 2,
            "pad_token_id": text["pad_token_id"], "transformers_version": "4.41.0.dev0",
        },
    )  # fmt: skip
    write_json(folder / "preprocessor_config.json", preprocessor("VideoLlavaImageProcessor"))
    write_json(
        folder / "processor_config.json",
        {
            "image_token": "<image>", "num_additional_image_tokens": 1, "patch_size": PATCH_SIZE,
            "processor_class": "VideoLlavaProcessor", "video_token": "<video>",
            "vision_feature_select_strategy": "default",
        },
    )  # fmt: skip


def preprocessor(kind: str) -> dict[str, Any]:
    """What preprocessor_config.json says of this kind of image processor."""
    return {
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "do_center_crop": True, "do_convert_rgb": True, "do_normalize": True,
        "do_rescale": True, "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_processor_type": kind,
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "processor_class": "VideoLlavaProcessor", "resample": 3,
        "rescale_factor": 0.00392156862745098, "size": {"shortest_edge": IMAGE_SIZE},
    }  # fmt: skip


def _write_weights(folder: Path, weights: dict[str, Tensor], shards: int) -> None:
    """One file, or `shards` of them with their index, tensors in order of their names."""
    names = sorted(weights)
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    where: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05d}-of-{shards:05d}.safetensors"
        members = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        save_file(
            {name: weights[name] for name in members}, folder / file, metadata={"format": "pt"}
        )
        where |= dict.fromkeys(members, file)
    size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    write_json(
        folder / "model.safetensors.index.json",
        {"metadata": {"total_size": size}, "weight_map": where},
    )


def write_json(path: Path, value: Any) -> None:
    """Write a small file of a checkpoint."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
