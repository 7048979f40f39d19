"""EventGPT checkpoints out of their folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from crossdraft.base.errors import InputError
from crossdraft.bench.made_scene import MadeScene
from crossdraft.vlm.drafting import own_answer
from crossdraft.vlm.eventgpt.load import load_eventgpt
from tests.vlm.eventgpt_folder import write_eventgpt

FRAMES = np.random.default_rng(0).integers(0, 255, (5, 48, 64, 3), np.uint8)
QUESTION = "What is in this scene?"


def test_a_session_equals_generate(tmp_path: Path) -> None:
    target = load_eventgpt(write_eventgpt(tmp_path / "e"), dtype=torch.float64)
    prompt = target.prompt(FRAMES, QUESTION)
    assert target.prompts.device == target.device  # type: ignore[union-attr]
    session = target.open(FRAMES)
    arrivals = list(own_answer(session.fork(), QUESTION, 16, target.eos_ids))
    pixels = prompt.inputs()["pixel_values"].double()
    ids = torch.tensor([prompt.ids])
    model: Any = target.model
    said = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=pixels,
        max_new_tokens=16,
        do_sample=False,
        pad_token_id=0,
    )
    assert [one.token for one in arrivals] == said[0, ids.shape[1] :].tolist()
    assert len({one.token for one in arrivals}) > 3
    other = target.open(FRAMES[::-1].copy()).fork().ask(QUESTION)
    assert not torch.equal(other.hidden[0], arrivals[0].state)
    names = {span.name for span in session.spans.spans}
    assert names == {"read", "pixels", "vision", "prefill", "decode"}


def test_a_session_answers_about_its_own_scene_only(tmp_path: Path) -> None:
    target = load_eventgpt(write_eventgpt(tmp_path / "e"))
    one, other = (target.prompt(scene, QUESTION) for scene in (FRAMES, FRAMES[::-1].copy()))
    assert one.hash == other.hash
    with pytest.raises(InputError, match="another picture of the same size"):
        target.open(one).fork().ask(other)
    again = target.prompt(FRAMES.copy(), "And now?")
    assert target.open(one).fork().ask(again).logits.isfinite().all()


def test_the_first_of_five_frames_alone(tmp_path: Path) -> None:
    """What the seed study showed the event model."""
    folder = write_eventgpt(tmp_path / "e")
    whole, first = load_eventgpt(folder), load_eventgpt(folder, keep="first")
    events = MadeScene().events()
    pixels = [one.prompt(events, QUESTION).inputs()["pixel_values"] for one in (whole, first)]
    assert torch.equal(pixels[1], pixels[0][:, :1])
    lengths = [len(one.prompt(events, QUESTION).ids) for one in (whole, first)]
    assert lengths[0] - lengths[1] == 4
    assert first.open(events).fork().ask(QUESTION).logits.isfinite().all()


def test_a_tower_that_the_checkpoint_lacks_comes_from_a_clip(tmp_path: Path) -> None:
    whole = write_eventgpt(tmp_path / "whole")
    bare = write_eventgpt(tmp_path / "bare", tower=False)
    with pytest.raises(InputError, match="no vision tower"):
        load_eventgpt(bare)
    _write_clip(whole, tmp_path / "clip")
    filled, expected = load_eventgpt(bare, tower=tmp_path / "clip"), load_eventgpt(whole)
    for name, tensor in expected.model.state_dict().items():
        assert torch.equal(tensor, filled.model.state_dict()[name]), name
    assert type(filled.model) is type(expected.model)
    filled.model.save_pretrained(tmp_path / "saved")
    (tmp_path / "clip").rename(tmp_path / "saved" / "clip")
    shutil.copy(bare / "clip" / "preprocessor_config.json", tmp_path / "saved")
    again: Any = load_eventgpt(tmp_path / "saved")
    prompt = again.prompts.of_ids(FRAMES, [1, -200, 5])
    found, same = (one.open(prompt).ask(prompt).logits for one in (again, expected))
    # Tensors lie otherwise in memory, and the last digit of a product with them.
    assert torch.allclose(found, same, atol=1e-5)


def test_a_checkpoints_own_tower_is_never_replaced(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e")
    _write_clip(folder, tmp_path / "clip")
    with pytest.raises(InputError, match="the checkpoint has one"):
        load_eventgpt(folder, tower=tmp_path / "clip")


def test_a_tower_of_another_shape_is_refused(tmp_path: Path) -> None:
    bare = write_eventgpt(tmp_path / "bare", tower=False)
    _write_clip(write_eventgpt(tmp_path / "whole"), tmp_path / "clip")
    weights = load_file(tmp_path / "clip" / "model.safetensors")
    weights["vision_model.pre_layrnorm.weight"] = torch.zeros(7)
    del weights["vision_model.embeddings.class_embedding"]
    save_file(weights, tmp_path / "clip" / "model.safetensors")
    with pytest.raises(InputError, match="1 tensors missing, 1 of other shapes"):
        load_eventgpt(bare, tower=tmp_path / "clip")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, "LlamaForCausalLM"),
        ({"hidden_size": 32}, "other shapes"),
        ({"num_hidden_layers": 2}, "does not have"),
        ({"num_hidden_layers": 4}, "missing"),
    ],
)
def test_a_configuration_of_another_model_is_refused(
    tmp_path: Path, fields: dict[str, Any], found: str
) -> None:
    folder = write_eventgpt(tmp_path / "e")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
    with pytest.raises(InputError, match=found):
        load_eventgpt(folder)


def _write_clip(checkpoint: Path, folder: Path) -> None:
    """The tower of a checkpoint as a whole CLIP's folder, with a text tower beside it."""
    folder.mkdir()
    beginning = "model.visual_tower.visual_tower."
    tower = {
        name.removeprefix(beginning): tensor
        for name, tensor in load_file(checkpoint / "model.safetensors").items()
        if name.startswith(beginning)
    }
    tower["text_model.final_layer_norm.weight"] = torch.ones(3)
    tower["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    save_file(tower, folder / "model.safetensors")
    (folder / "config.json").write_text((checkpoint / "clip" / "config.json").read_text())
