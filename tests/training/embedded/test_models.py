"""The embedded models without training: sizes, and folders that the real models' loaders read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crossdraft.training.embedded.folder import WEIGHTS, write_weights
from crossdraft.training.embedded.models import drafter_network, target_network
from crossdraft.training.embedded.side import WINDOW, Side
from crossdraft.training.embedded.vocabulary import embedded_vocabulary
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.loading import load_target
from crossdraft.vlm.model_spec import ROLES, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.shipped import EMBEDDED, FOLDER

VOCAB = embedded_vocabulary().get_vocab_size()


def test_sizes_are_what_is_promised() -> None:
    target, drafter = target_network(VOCAB, 0), drafter_network(VOCAB, 0)
    sizes = [sum(w.numel() for w in one.parameters()) for one in (target, drafter)]
    assert 10e6 <= sizes[0] <= 16e6
    assert 2e6 <= sizes[1] <= 4e6
    assert 2 * sum(sizes) <= 24 * 2**20  # bytes in half precision
    text: Any = target.config.text_config
    assert drafter.config.hidden_size == text.hidden_size
    assert drafter.config.num_hidden_layers < text.num_hidden_layers


def test_a_seed_decides_the_weights() -> None:
    one, same, other = (drafter_network(VOCAB, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("role", ["target", "drafter"])
def test_folders_load_as_the_published_models_do(tmp_path: Path, role: Role) -> None:
    side = Side.start(role, tmp_path / role, 0)
    weights = side.network.state_dict()
    write_weights(tmp_path / role, side.network, weights)
    stored = load_file(tmp_path / role / WEIGHTS)
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert sorted(path.name for path in (tmp_path / role).iterdir()) == [
        "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json",
        "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip
    options: dict[str, Any] = {"window": "spread:50ms"} if role == "drafter" else {}
    loaded = load_target(tmp_path / role, dtype="float32", **options)
    # The image tower, of which nothing is stored, has no weights.
    for name, value in loaded.model.state_dict().items():
        assert torch.equal(value, weights[name].half().float()), name
    blank = np.zeros((side.prompts.frames, 112, 112, 3), np.uint8)
    prompts: Any = loaded.prompts
    prompt = prompts(blank, "What is this?")
    assert prompt.ids == side.prompts(blank, "What is this?").ids
    assert prompt.prefix == side.prefix


@pytest.mark.parametrize("role", ["target", "drafter"])
def test_training_reads_a_prompt_as_the_session_does(tmp_path: Path, role: Role) -> None:
    """The states that are trained are those of the forward that answers."""
    from crossdraft.training.embedded.packing import pack

    side = Side.start(role, tmp_path, 0)
    side.network.double().train(False)
    frames = np.random.default_rng(0).integers(0, 256, (side.prompts.frames, 112, 112, 3), np.uint8)
    turn = side.turn("Where are we?", "On a wet road.")
    with torch.no_grad():
        trained = side.states(pack(side.prefix, [[turn]]), side.seen(frames)[None])
        prompt = side.prompts(frames, "Where are we?")
        ids = torch.tensor([[*prompt.ids, *turn.answer[:-1]]])
        read = {name: value.double() for name, value in prompt.inputs().items()}
        plain = side.network(input_ids=ids, output_hidden_states=True, **read).hidden_states[-1]
    assert torch.allclose(trained, plain, atol=1e-5)


def test_the_shipped_models_are_these() -> None:
    shipped = FOLDER / EMBEDDED
    total = 0
    for role, network in (
        ("target", target_network(VOCAB, 0)), ("drafter", drafter_network(VOCAB, 0)),
    ):  # fmt: skip
        weights = shipped / role / WEIGHTS
        total += weights.stat().st_size
        wanted = sum(value.numel() for value in network.state_dict().values())
        assert sum(value.numel() for value in load_file(weights).values()) == wanted
        words = json.loads((shipped / role / "tokenizer.json").read_text(encoding="utf-8"))
        assert words["model"] == json.loads(embedded_vocabulary().to_str())["model"]
    assert total <= 24 * 2**20


def test_the_pairs_file_shows_what_was_trained_on(tmp_path: Path) -> None:
    """A model that is shown other frames than in training would answer worse, and nobody knew."""
    pair = ModelPair.find(EMBEDDED)
    target, drafter = (Side.start(role, tmp_path / role, 0) for role in ROLES)
    assert pair.target.frames == target.prompts.frames
    assert pair.drafter.frames == drafter.prompts.frames
    assert pair.drafter.window == WINDOW
    assert isinstance(drafter.prompts, EventGPTPrompts)
    assert pair.drafter.template == drafter.prompts.template
    assert pair.drafter.canvas == drafter.prompts.render.canvas
    assert pair.drafter.overlap == drafter.prompts.render.overlap
    assert pair.drafter.keep == drafter.prompts.render.keep
