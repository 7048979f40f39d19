"""EventGPT's network equals the official one tensor by tensor, and cannot be fed through its
adaptor twice unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

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


@torch.no_grad()
def test_the_fused_map_follows_its_weights(tmp_path: Path) -> None:
    body = _load(write_eventgpt(tmp_path / "e")).model
    pixels = torch.randn(1, FRAMES, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    before = body.event_features(pixels)
    first = body.fused_affine()
    assert body.fused_affine()[0] is first[0]
    body.adaptor.weight.mul_(2)
    assert apart(body.event_features(pixels), body.event_features(pixels, pool_first=False)) < 1e-4
    assert apart(body.event_features(pixels), before) > 1e-2


def test_the_order_of_pooling_is_no_matter_in_double_precision(tmp_path: Path) -> None:
    body = _load(write_eventgpt(tmp_path / "e")).model.double()
    pixels = torch.randn(2, 3, 3, 28, 28, dtype=torch.float64)
    fused = body.event_features(pixels)
    assert fused.shape == (2, 3 + 5, 64)
    assert apart(fused, body.event_features(pixels, pool_first=False)) < 1e-12


def test_training_reaches_projector_and_adaptor_and_spares_the_tower(tmp_path: Path) -> None:
    loaded = _load(write_eventgpt(tmp_path / "e")).requires_grad_(True)
    pixels = torch.randn(1, FRAMES, 3, 28, 28)
    ids = torch.tensor([[1, 5, *[-200] * 10, 300, 301]])
    labels = torch.full_like(ids, -100)
    labels[0, -1] = 301
    loss = loaded(input_ids=ids, pixel_values=pixels, labels=labels).loss
    loss.backward()
    for part in (loaded.model.adaptor, loaded.model.projector.linear_1):
        assert part.weight.grad is not None
        assert part.weight.grad.abs().sum() > 0
    assert all(weight.grad is None for weight in loaded.model.vision_tower.parameters())


def test_slots_and_events_must_agree(tmp_path: Path) -> None:
    body = _load(write_eventgpt(tmp_path / "e")).model
    pixels = torch.zeros(1, FRAMES, 3, 28, 28)
    with pytest.raises(ValueError, match="9 event slots for 10 rows of events"):
        body.embed(torch.tensor([[1, *[-200] * 9, 5]]), pixels)
    with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
        body(pixel_values=pixels)


def _load(folder: Path) -> EventGPTForConditionalGeneration:
    return load_model(folder, EventGPTForConditionalGeneration, architectures=(ARCHITECTURE,))


def _renamed(name: str) -> str:
    for published, ours in RENAMED.items():
        if name.startswith(published):
            return ours + name.removeprefix(published)
    return name
