"""EventGPT's network equals the official one tensor by tensor, and cannot be fed through its
adaptor twice unnoticed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    LlamaForCausalLM,
)

from crossdraft.vlm.eventgpt.configuration import ARCHITECTURE, EventGPTConfig
from crossdraft.vlm.eventgpt.conversion import RENAMED
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration, pool
from crossdraft.vlm.load_model import load_model
from tests.vlm.eventgpt.parity import (
    FEATURES,
    FRAMES,
    KIT,
    LOGITS,
    SAMPLES,
    STATES,
    apart,
    expanded,
    meta,
    model,
    needs_kit,
    prompt,
    reference,
)
from tests.vlm.eventgpt_folder import write_eventgpt


@needs_kit
@pytest.mark.parametrize("sample", SAMPLES)
@torch.no_grad()
def test_every_stage_equals_the_official_one(sample: str) -> None:
    official = {
        name.removeprefix(f"{sample}."): tensor
        for name, tensor in reference().items()
        if name.startswith(f"{sample}.")
    }
    body, pixels = model().model, official["pixel_values"]
    states = body.tower_states(pixels)
    assert apart(states, official["clip_last_hidden"]) < FEATURES
    projected = body.projector(states)
    assert apart(projected, official["projected"]) < FEATURES
    assert apart(body.adaptor(projected), official["adapted"]) < FEATURES
    for pool_first in (True, False):
        features = body.event_features(pixels[None], pool_first=pool_first)
        assert apart(features[0], official["event_features"]) < FEATURES
    ids = prompt(sample)
    assert apart(body.embed(ids, pixels[None]), official["inputs_embeds"]) < FEATURES
    out = model()(input_ids=ids, pixel_values=pixels[None], output_hidden_states=True)
    assert apart(out.hidden_states[-1], official["last_hidden"]) < FEATURES
    assert apart(out.logits, official["logits"]) < LOGITS


@needs_kit
@pytest.mark.parametrize("sample", SAMPLES)
def test_greedy_ids_equal_the_official_ones(sample: str) -> None:
    ids = prompt(sample)
    loaded: Any = model()
    said = loaded.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=reference()[f"{sample}.pixel_values"][None],
        max_new_tokens=16,
        do_sample=False,
    )
    bos, *official = meta()["generated"][sample]
    assert bos == 1
    assert said[0, ids.shape[1] :].tolist() == official


@needs_kit
@torch.no_grad()
def test_a_batch_of_two_equals_the_official_one() -> None:
    rows = []
    for ids in reference()["batch.input_ids"].tolist():
        rows.append(expanded(ids))
    mask = reference()["batch.attention_mask"]
    pixels = torch.stack([reference()[f"{s}.pixel_values"] for s in ("sample1", "dsec74")])
    ids = torch.tensor(rows)
    embedded = model().model.embed(ids, pixels)
    real = mask.bool()
    assert apart(embedded[real], reference()["batch.inputs_embeds"][real]) < FEATURES
    logits = model()(input_ids=ids, attention_mask=mask, pixel_values=pixels).logits
    assert apart(logits[real], reference()["batch.logits"][real]) < LOGITS


@needs_kit
@torch.no_grad()
def test_the_path_of_a_plain_tensor_equals_the_official_one() -> None:
    single = next(
        ids
        for ids in (expanded(meta()["input_ids"][sample], STATES) for sample in SAMPLES)
        if len(ids) == reference()["tensor_path.logits"].shape[1]
    )
    ids = torch.tensor([single])
    pixels = reference()["sample1.pixel_values"][:1]
    assert (
        apart(model().model.embed(ids, pixels), reference()["tensor_path.inputs_embeds"]) < FEATURES
    )
    logits = model()(input_ids=ids, pixel_values=pixels).logits
    assert apart(logits, reference()["tensor_path.logits"]) < LOGITS


@needs_kit
@torch.no_grad()
def test_the_adaptor_counts_once() -> None:
    """Neither twice, as the seed study fed it, nor never comes near the official features."""
    body, pixels = model().model, reference()["dsec74.pixel_values"]
    official = reference()["dsec74.event_features"]
    projected = body.projector(body.tower_states(pixels))[None]
    times = {
        0: pool(projected)[0],
        1: body.event_features(pixels[None])[0],
        2: body.adaptor(body.event_features(pixels[None]))[0],
    }
    distances = {count: apart(rows, official) for count, rows in times.items()}
    assert distances[1] < FEATURES
    assert min(distances[0], distances[2]) > 100 * FEATURES


@needs_kit
def test_the_published_names_are_all_known() -> None:
    """The 688 tensors of the 7B checkpoint are exactly those of the class, shape by shape."""
    published = json.loads((KIT / "full_size_keys.json").read_text())
    with torch.device("meta"):
        sketch = EventGPTForConditionalGeneration(EventGPTConfig(max_position_embeddings=4096))
    ours = {name: list(tensor.shape) for name, tensor in sketch.state_dict().items()}
    assert len(published) == 688
    assert {_renamed(name): shape for name, shape in published.items()} == ours
    assert sum(parameter.numel() for parameter in sketch.parameters()) == 7_079_684_096


def test_a_saved_model_has_the_published_layout(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "published")
    loaded = _load(folder)
    loaded.save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "clip").mkdir()
    from safetensors.torch import load_file

    before = load_file(folder / "model.safetensors")
    after = load_file(tmp_path / "saved" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    again = load_model(
        tmp_path / "saved",
        EventGPTForConditionalGeneration,
        architectures=(EventGPTForConditionalGeneration.__name__,),
    )
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_the_order_of_pooling_is_no_matter_in_double_precision(tmp_path: Path) -> None:
    body = _load(write_eventgpt(tmp_path / "e")).model.double()
    pixels = torch.randn(2, 3, 3, 28, 28, dtype=torch.float64)
    fused = body.event_features(pixels)
    assert fused.shape == (2, 3 + 5, 64)
    assert apart(fused, body.event_features(pixels, pool_first=False)) < 1e-12


@needs_kit
@pytest.mark.parametrize("sample", SAMPLES)
def test_training_reads_the_same_features(sample: str) -> None:
    """The adaptor counts once where its weights are learnt, too."""
    body = copy.deepcopy(model().model).requires_grad_(True)
    pixels = reference()[f"{sample}.pixel_values"][None]
    gradients = []
    for pool_first in (True, False):
        body.zero_grad()
        features = body.event_features(pixels, pool_first=pool_first)
        assert apart(features[0], reference()[f"{sample}.event_features"]) < FEATURES
        (features * torch.linspace(-1, 1, features.shape[-1])).mean().backward()
        learnt = (body.adaptor, body.projector.linear_1, body.projector.linear_2)
        gradients.append([layer.weight.grad.clone() for layer in learnt])
    for one, other in zip(*gradients, strict=True):
        assert one.abs().max() > 0
        assert apart(one, other) < 1e-3 * one.abs().max()
    assert all(weight.grad is None for weight in body.vision_tower.parameters())


def test_the_loss_is_that_of_a_llama(tmp_path: Path) -> None:
    loaded: Any = _load(write_eventgpt(tmp_path / "e"))
    llama = LlamaForCausalLM(loaded.config)
    llama.model, llama.lm_head = loaded.model.language_model, loaded.lm_head
    ids = torch.tensor([[1, 5, 300, 301, 302]])
    for options in ({}, {"num_items_in_batch": 30}):
        expected = llama(input_ids=ids, labels=ids, **options).loss
        assert torch.equal(loaded(input_ids=ids, labels=ids, **options).loss, expected)


def test_outputs_as_transformers_models_give_them(tmp_path: Path) -> None:
    loaded: Any = _load(write_eventgpt(tmp_path / "e"))
    ids = torch.tensor([[1, 5, 300, 301, 302]])
    whole = loaded(input_ids=ids)
    assert torch.equal(loaded(input_ids=ids, return_dict=False)[0], whole.logits)
    assert apart(loaded(input_ids=ids, logits_to_keep=2).logits, whole.logits[:, -2:]) < LOGITS
    embedded = loaded.get_input_embeddings()(ids)
    assert torch.equal(loaded(inputs_embeds=embedded).logits, whole.logits)


def test_every_auto_class_knows_it(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e")
    loaded = _load(folder)
    for auto in (AutoModelForCausalLM, AutoModelForImageTextToText):
        found = auto.from_pretrained(folder, local_files_only=True)
        assert isinstance(found, EventGPTForConditionalGeneration)
        assert torch.equal(found.model.adaptor.weight, loaded.model.adaptor.weight)
    assert AutoConfig.from_pretrained(folder).vision_config.hidden_size == 32


def test_slots_and_events_must_agree(tmp_path: Path) -> None:
    body = _load(write_eventgpt(tmp_path / "e")).model
    pixels = torch.zeros(2, FRAMES, 3, 28, 28)
    with pytest.raises(ValueError, match="9 event slots for 10 rows of events"):
        body.embed(torch.tensor([[1, *[-200] * 9, 5]]), pixels[:1])
    uneven = [[1, *[-200] * 9, 5, 6], [1, *[-200] * 11]]
    with pytest.raises(ValueError, match="9 event slots for 10 rows"):
        body.embed(torch.tensor(uneven), pixels)
    with pytest.raises(ValueError, match="10 event slots for 0 rows"):
        body.embed(torch.tensor([[1, *[-200] * 10, 5]]), None)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        body(pixel_values=pixels)
    with pytest.raises(ValueError, match="beside inputs_embeds"):
        body(inputs_embeds=torch.zeros(1, 3, 64), pixel_values=pixels)


def _load(folder: Path) -> EventGPTForConditionalGeneration:
    return load_model(folder, EventGPTForConditionalGeneration, architectures=(ARCHITECTURE,))


def _renamed(name: str) -> str:
    for published, ours in RENAMED.items():
        if name.startswith(published):
            return ours + name.removeprefix(published)
    return name
