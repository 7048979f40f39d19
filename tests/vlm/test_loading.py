"""Any checkpoint becomes a target by its architecture, or is refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedConfig

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.eventgpt.configuration import ARCHITECTURE
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.loading import estimate_target, load_target
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.video_llava import VideoLlavaPrompts
from tests.vlm.checkpoint_folder import (
    bert_config,
    change_json,
    llama_config,
    mamba_config,
    onevision_config,
    qwen_vl_config,
    t5_config,
    write_checkpoint,
)
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.packed import held_bytes, needs_bitsandbytes, packed_layers
from tests.vlm.video_llava_folder import write_video_llava

DECODERS: dict[str, Callable[[], PreTrainedConfig]] = {
    "LlamaForCausalLM": llama_config,
    "LlavaOnevisionForConditionalGeneration": onevision_config,
    "Qwen2_5_VLForConditionalGeneration": qwen_vl_config,
}


@pytest.mark.parametrize("name", DECODERS)
def test_decoders(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, name, DECODERS[name]())
    target = load_target(folder, dtype=torch.float64, cache="preallocated", room=32)
    assert type(target.model).__name__ == name
    assert target.prompts is None and target.dtype == torch.float64
    assert target.eos_ids == {2}
    session = target.open(Prompt((5, 6, 7), 0))
    step = session.ask(Prompt((5, 6, 7), 0), DraftTree.chain([8, 9]))
    whole = target.model(input_ids=torch.tensor([[5, 6, 7, 8, 9]])).logits[0, 2:]
    assert torch.allclose(step.logits, whole, rtol=0, atol=1e-12)


def test_video_llava_brings_its_prompts(tmp_path: Path) -> None:
    folder = write_video_llava(tmp_path, shards=2)
    target = load_target(folder, dtype=torch.float64, cache="preallocated")
    assert isinstance(target.prompts, VideoLlavaPrompts)
    assert target.dtype == torch.float64 and target.cache == "preallocated"


@pytest.mark.parametrize("architecture", [ARCHITECTURE, "EventGPTForConditionalGeneration"])
def test_eventgpt_brings_its_prompts(architecture: str, tmp_path: Path) -> None:
    """Under its published name, and under the one that `save_pretrained` writes."""
    folder = write_eventgpt(tmp_path, architectures=[architecture])
    target = load_target(folder, dtype="fp64", frames=3, template="training")
    assert isinstance(target.prompts, EventGPTPrompts) and target.dtype == torch.float64
    assert (target.prompts.frames, target.prompts.template) == (3, "training")


@needs_bitsandbytes
def test_eventgpt_in_four_bits(tmp_path: Path) -> None:
    """Its tower, projector and adaptor read events as the dense model does."""
    folder = write_eventgpt(tmp_path)
    target, dense = load_target(folder, dtype="nf4"), load_target(folder, dtype="bf16")
    layers = packed_layers(target.model)
    assert layers and all(name.startswith("model.language_model.layers.") for name in layers)
    pixels = torch.randn(1, 5, 3, 28, 28, dtype=torch.bfloat16)
    models: list[Any] = [target.model.base_model, dense.model.base_model]
    packed, plain = (model.event_features(pixels) for model in models)
    assert torch.equal(packed, plain)


@pytest.mark.parametrize(
    "write",
    [write_checkpoint, write_video_llava, write_eventgpt],
    ids=["llama", "video-llava", "eventgpt"],
)
def test_estimates_are_of_what_is_loaded(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(tmp_path)
    said = estimate_target(folder, dtype="float32", device={"": "cpu"})
    assert said.precision == "float32" and said.model == str(folder)
    assert held_bytes(load_target(folder, dtype=torch.float32).model) == pytest.approx(
        said.weights, rel=0.001
    )


def test_estimates_are_refused_as_loading_is(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "T5ForConditionalGeneration", t5_config())
    with pytest.raises(InputError, match="an encoder-decoder"):
        estimate_target(folder)


CASES: dict[str, tuple[str, PreTrainedConfig, str]] = {
    "bert": ("BertForMaskedLM", bert_config(), "BertForMaskedLM, a masked language model"),
    "bert-lm": ("BertLMHeadModel", bert_config(), "BertLMHeadModel without is_decoder"),
    "bert-decoder": ("BertLMHeadModel", bert_config(is_decoder=True), "other logits than the"),
    "t5": ("T5ForConditionalGeneration", t5_config(), "T5.*Generation, an encoder-decoder"),
    "mamba": ("MambaForCausalLM", mamba_config(), "which carries a running state"),
    "classifier": (
        "LlamaForSequenceClassification", llama_config(), "no causal decoder that transformers"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_other_models_are_refused(name: str, tmp_path: Path) -> None:
    architecture, config, message = CASES[name]
    folder = write_checkpoint(tmp_path, architecture, config)
    with pytest.raises(InputError, match=message) as raised:
        load_target(folder)
    assert "expected: " in str(raised.value)


def test_an_encoder_decoder_by_its_configuration(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    change_json(folder / "config.json", is_encoder_decoder=True)
    with pytest.raises(InputError, match="LlamaForCausalLM, an encoder-decoder"):
        load_target(folder)


def test_an_unknown_architecture(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    change_json(folder / "config.json", architectures=["EventGPTForCausalLM"])
    with pytest.raises(InputError, match="EventGPTForCausalLM, no causal decoder") as raised:
        load_target(folder)
    assert "config.json" in str(raised.value)
    change_json(folder / "config.json", architectures=["EventGPTForCausalLM", "LlamaForCausalLM"])
    assert type(load_target(folder).model).__name__ == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, "device 'gpu' cannot be used"),
        ({"dtype": torch.int32}, r"dtype torch\.int32"),
        ({"dtype": "fp8"}, "dtype 'fp8'"),
        ({"cache": "huge"}, "cache 'huge'"),
        ({"layers": (3,)}, "layers .3. to keep"),
    ],
    ids=["device", "dtype", "dtype-name", "cache", "layers"],
)
def test_bad_options(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_target(write_checkpoint(tmp_path), **options)


def test_damage_is_found_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="the file is cut"):
        load_target(folder)
