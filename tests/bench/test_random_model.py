"""Models made of a configuration: which ones, how large, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from crossdraft.base.errors import InputError
from crossdraft.bench import random_model as bench
from crossdraft.bench.random_model import (
    needed_bytes,
    random_model,
    read_config,
    small_llama,
)
from tests.vlm.models import TEXT, tiny

CPU = torch.device("cpu")


def config_file(folder: Path, config: Any, **changes: Any) -> Path:
    """The config.json of this configuration, with these fields changed."""
    path = folder / "config.json"
    path.write_text(json.dumps({**config.to_dict(), **changes}, default=str))
    return path


def test_stand_in_has_about_twelve_million_parameters_and_holds_a_long_prompt() -> None:
    with torch.device("meta"):
        model = hf.LlamaForCausalLM(small_llama())
    assert 11e6 < model.num_parameters() < 13e6
    assert small_llama().max_position_embeddings >= 2071 + 61


@pytest.mark.parametrize("name", ["llama", "llava-onevision", "video-llava"])
def test_shapes_of_a_configuration(tmp_path: Path, name: str) -> None:
    like = tiny(name)
    path = config_file(tmp_path, like.config, dtype="bfloat16")
    state = torch.get_rng_state()
    model = random_model(read_config(path), "auto", CPU, where=path)
    assert type(model) is type(like)
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in like.named_parameters()
    }
    assert model.dtype == torch.bfloat16 and not model.training
    assert torch.equal(state, torch.get_rng_state()), "nobody else's dice"
    again = random_model(read_config(path), "auto", CPU)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)


def test_number_format_can_be_chosen() -> None:
    config = hf.LlamaConfig(**TEXT)
    assert random_model(config, "auto", CPU).dtype == torch.float32
    assert random_model(config, torch.float16, CPU).dtype == torch.float16


def test_need_is_weights_and_three_caches() -> None:
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**TEXT))  # 2 layers, 2 key heads of 8 numbers
    weights = sum(p.numel() for p in model.parameters()) * 4
    per_token = 2 * 2 * 2 * 8 * 4
    assert needed_bytes(model, 0) == pytest.approx(1.1 * weights, rel=1e-3)
    assert needed_bytes(model, 1000) - needed_bytes(model, 0) == pytest.approx(
        1.1 * 3 * 1000 * per_token, rel=1e-3
    )


def test_what_does_not_fit_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = config_file(tmp_path, hf.LlamaConfig())
    monkeypatch.setattr(bench, "available_bytes", lambda _: 3 * 2**30)
    with pytest.raises(InputError, match=r"6,738,415,616 parameters need .* 3\.0 GiB are free"):
        random_model(read_config(path), torch.bfloat16, CPU, where=path)
    monkeypatch.setattr(bench, "available_bytes", lambda _: None)
    assert random_model(hf.LlamaConfig(**TEXT), torch.float32, CPU) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("[1]", "configuration: is a list"),
        ("{}", "no model_type"),
        ('{"model_type": 3}', "model_type is a number"),
        ('{"model_type": "house"}', "model_type is 'house'"),
        ('{"model_type": "llama", "num_hidden_layers": "two"}', "not a configuration of llama"),
    ],
    ids=str,
)
def test_what_is_no_configuration_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_config(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (hf.T5Config(), "a t5 configuration"),
        (hf.LlamaConfig(**TEXT | {"vocab_size": -3}), "no model can be made"),
    ],
    ids=["encoder-decoder", "impossible"],
)
def test_configurations_without_a_target_are_refused(config: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        random_model(config, torch.float32, CPU, where=Path("config.json"))


def test_quantised_and_endless_configurations_are_refused(tmp_path: Path) -> None:
    """Random weights are dense, and a sketch of a million layers takes hours."""
    four_bit = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    path = config_file(tmp_path, tiny("llama").config, quantization_config=four_bit)
    with pytest.raises(InputError, match="quantization_config") as caught:
        read_config(path)
    assert "--model" in str(caught.value)
    nested = config_file(tmp_path, tiny("video-llava").config)
    value = json.loads(nested.read_text())
    value["text_config"]["num_hidden_layers"] = 10**7
    nested.write_text(json.dumps(value))
    with pytest.raises(InputError, match="10,000,000 layers"):
        random_model(read_config(nested), "auto", CPU)
