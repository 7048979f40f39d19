"""Embedded models as folders: configuration, tokenizer, settings of the frames, weights in fp16.

The layout is that of the published checkpoints, so the loaders of the real models read them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from crossdraft.base.files import atomic_path, write_text
from crossdraft.training.embedded.models import CONTROLS, SIDE
from crossdraft.vlm.bpe import END, END_ID, START, START_ID, UNKNOWN, UNKNOWN_ID
from crossdraft.vlm.eventgpt.configuration import ARCHITECTURE as EVENTGPT
from crossdraft.vlm.pixel_settings import PixelSettings
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.video_llava import ARCHITECTURE as VIDEO_LLAVA

WEIGHTS = "model.safetensors"
PIXELS = PixelSettings(SIDE, (SIDE, SIDE))


def write_target(folder: Path, vocabulary: Tokenizer) -> None:
    """Everything of the target but its configuration and weights."""
    words = Tokenizer.from_str(vocabulary.to_str())
    words.add_special_tokens([AddedToken(token, special=True) for token in CONTROLS])
    _write_tokenizer(folder, words, CONTROLS[-1], "left")
    _write_preprocessor(folder, "VideoLlavaImageProcessor")
    _write_generation(folder, vocabulary.get_vocab_size() + CONTROLS.index("<pad>"))


def write_drafter(folder: Path, vocabulary: Tokenizer) -> None:
    """Everything of the drafter but its configuration and weights."""
    _write_tokenizer(folder, vocabulary, UNKNOWN, "right")
    _write_preprocessor(folder, "CLIPImageProcessor")
    _write_generation(folder, UNKNOWN_ID)


def write_weights(folder: Path, network: PreTrainedModel, weights: Mapping[str, Tensor]) -> None:
    """Configuration, and weights in half precision under their published names.

    Args:
        network: whose configuration and names these are.
        weights: by the names of the network's modules.
    """
    halves = {name: value.detach().cpu().to(torch.float16) for name, value in weights.items()}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with quiet():
            # transformers translates the names back into the published ones.
            network.save_pretrained(scratch, state_dict=halves)
        values = json.loads((Path(scratch) / "config.json").read_text(encoding="utf-8"))
        kind = EVENTGPT if "event_token_index" in values else VIDEO_LLAVA
        values |= {"architectures": [kind], "dtype": "float16"}
        _write_json(folder / "config.json", values)
        with atomic_path(folder / WEIGHTS) as path:
            shutil.move(Path(scratch) / WEIGHTS, path)


def _write_tokenizer(folder: Path, words: Tokenizer, pad: str, side: str) -> None:
    write_text(folder / "tokenizer.json", words.to_str(pretty=False) + "\n")
    names = {"bos_token": START, "eos_token": END, "unk_token": UNKNOWN, "pad_token": pad}
    _write_json(folder / "special_tokens_map.json", names)
    _write_json(
        folder / "tokenizer_config.json",
        {
            **names, "add_bos_token": True, "add_eos_token": False, "padding_side": side,
            "clean_up_tokenization_spaces": False, "model_max_length": 1024,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )  # fmt: skip


def _write_preprocessor(folder: Path, kind: str) -> None:
    _write_json(
        folder / "preprocessor_config.json",
        {
            "crop_size": {"height": SIDE, "width": SIDE}, "do_center_crop": True,
            "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
            "image_mean": list(PIXELS.mean), "image_processor_type": kind,
            "image_std": list(PIXELS.std), "resample": 3, "rescale_factor": PIXELS.rescale,
            "size": {"shortest_edge": SIDE},
        },
    )  # fmt: skip


def _write_generation(folder: Path, pad: int) -> None:
    ids = {"bos_token_id": START_ID, "eos_token_id": END_ID, "pad_token_id": pad}
    _write_json(folder / "generation_config.json", {"_from_model_config": True, **ids})


def _write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, sort_keys=True) + "\n")
