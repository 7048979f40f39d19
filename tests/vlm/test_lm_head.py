"""Heads out of checkpoints: the right tensors, nothing else read, the model's own logits."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    GraniteConfig,
    PhiConfig,
)

from crossdraft.base.errors import InputError
from crossdraft.vlm.lm_head import LMHead, lm_head_of, read_lm_head, write_lm_head
from crossdraft.vlm.loading import load_target
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.session import Step
from crossdraft.vlm.target import Target
from tests.vlm.checkpoint_folder import (
    change_json,
    llama_config,
    write_checkpoint,
)
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava

_WIDTHS: dict[str, Any] = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64,
}  # fmt: skip
FAMILIES = {
    "LlamaForCausalLM": llama_config(),
    "GPT2LMHeadModel": GPT2Config(
        vocab_size=64, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=1,
        eos_token_id=2,
    ),
    "GPTNeoXForCausalLM": GPTNeoXConfig(**_WIDTHS, bos_token_id=1, eos_token_id=2),
    "PhiForCausalLM": PhiConfig(**_WIDTHS),
    "Gemma2ForCausalLM": Gemma2Config(
        **_WIDTHS, head_dim=8, num_key_value_heads=2, final_logit_softcapping=0.5
    ),
    "GraniteForCausalLM": GraniteConfig(**_WIDTHS, logits_scaling=4.0, eos_token_id=2),
    "CohereForCausalLM": CohereConfig(**_WIDTHS, logit_scale=0.25, eos_token_id=2),
}  # fmt: skip


def step_of(target: Target) -> Step:
    """A first step of four rows, over text alone, by weights that lie aligned.

    Kernels sum in another order over weights that transformers left at odd places of a file.
    """
    for parameter in target.model.parameters():
        parameter.data = parameter.data.clone()
    return target.open(Prompt((1, 2), 0)).ask(Prompt((1, 5, 9, 7), 0))


@pytest.mark.parametrize("hub_keys", [True, False], ids=["published names", "today's names"])
@pytest.mark.parametrize("shards", [1, 3])
def test_logits_are_the_sessions_bit_for_bit(tmp_path: Path, hub_keys: bool, shards: int) -> None:
    folder = write_video_llava(
        tmp_path / "model", dtype=torch.bfloat16, hub_keys=hub_keys, shards=shards
    )
    head, target = lm_head_of(folder), load_target(folder)
    step = step_of(target)
    assert torch.equal(head.logits(step.hidden), step.logits)
    decoder = target.model.model.language_model
    assert head.embedding is not None and head.norm is not None
    assert torch.equal(head.embedding, decoder.embed_tokens.weight)
    assert torch.equal(head.norm, decoder.norm.weight)
    facts = head.facts
    assert (
        (facts.vocab, facts.hidden) == tuple(head.weight.shape) == (target.decoder.vocabulary, 64)
    )
    assert facts.draftable == target.draftable == facts.vocab - 64
    assert (facts.architecture, facts.norm_eps, facts.tied, dict(facts.finish)) == (
        "VideoLlavaForConditionalGeneration", 1e-5, False, {},
    )  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_own_names_and_finish(family: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / family, family, FAMILIES[family])
    model_class = getattr(transformers, family)
    with quiet():
        model = model_class.from_pretrained(folder, attn_implementation="eager")
    head, target = lm_head_of(folder), Target(model)
    step = step_of(target)
    assert torch.equal(head.logits(step.hidden), step.logits)
    assert head.facts.tied == (
        family in ("GPT2LMHeadModel", "Gemma2ForCausalLM", "CohereForCausalLM")
    )
    assert head.facts.draftable == target.draftable == 64
    write_lm_head(head, tmp_path / "head.safetensors")
    kept = read_lm_head(tmp_path / "head.safetensors")
    assert torch.equal(kept.logits(step.hidden), step.logits)


def test_eventgpt_in_its_published_layout(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "model", dtype=torch.bfloat16)
    head, target = lm_head_of(folder), load_target(folder)
    step = step_of(target)
    assert torch.equal(head.logits(step.hidden), step.logits)
    assert head.facts.draftable == target.draftable


def test_a_file_keeps_everything(tmp_path: Path) -> None:
    head = lm_head_of(write_video_llava(tmp_path / "model", dtype=torch.bfloat16))
    path = tmp_path / "head.safetensors"
    write_lm_head(head, path)
    kept = read_lm_head(path)
    assert kept.facts == head.facts
    assert kept.tensors().keys() == head.tensors().keys()
    assert all(torch.equal(kept.tensors()[name], part) for name, part in head.tensors().items())
    assert set(load_file(path)) == {"lm_head.weight", "final_norm.weight", "embed_tokens.weight"}
    before = path.read_bytes()
    write_lm_head(kept, path)
    assert path.read_bytes() == before
    assert {part.dtype for part in head.to(torch.float32).tensors().values()} == {torch.float32}


def test_the_source_is_known_by_its_content(tmp_path: Path) -> None:
    folders = [write_video_llava(tmp_path / f"{i}", seed=seed) for i, seed in enumerate((0, 0, 1))]
    sources = [lm_head_of(folder).facts.source for folder in folders]
    assert sources[0] == sources[1] != sources[2]
    change_json(folders[1] / "config.json", note="another configuration")
    assert lm_head_of(folders[1]).facts.source != sources[0]


def test_nothing_else_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    class Watched:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.file = safe_open(*args, **kwargs)

        def __enter__(self) -> Watched:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def get_tensor(self, name: str) -> torch.Tensor:
            read.append(name)
            return self.file.get_tensor(name)  # type: ignore[no-untyped-call, no-any-return]

    monkeypatch.setattr("crossdraft.vlm.lm_head.safe_open", Watched)
    lm_head_of(write_video_llava(tmp_path / "model", shards=3))
    assert sorted(read) == [
        "language_model.lm_head.weight",
        "language_model.model.embed_tokens.weight",
        "language_model.model.norm.weight",
    ]


def rename(folder: Path, old: str, new: str | None) -> None:
    """Another name for a stored tensor, or none of it."""
    tensors = load_file(folder / "model.safetensors")
    tensor = tensors.pop(old)
    if new is not None:
        tensors[new] = tensor
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lm_head.weight", "head.weight", "no tensor that could be the head"),
        ("lm_head.weight", "head.weight", "candidates by name or shape: head.weight [64, 32]"),
        ("lm_head.weight", None, "called …lm_head.weight or …embed_out.weight"),
        ("model.norm.weight", "norm.weight", "no tensor that could be the final norm"),
        ("model.embed_tokens.weight", "model.words.weight", "no tensor that could be the input"),
        (
            "model.layers.0.mlp.up_proj.weight", "model.lm_head.weight",
            "no tensor that could be",
        ),
    ],
)  # fmt: skip
def test_unknown_names_list_candidates(
    tmp_path: Path, old: str, new: str | None, said: str
) -> None:
    folder = write_checkpoint(tmp_path / "model")
    rename(folder, old, new)
    if new == "model.lm_head.weight":
        rename(folder, "lm_head.weight", None)
    with pytest.raises(InputError) as caught:
        lm_head_of(folder)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)


def test_two_heads_are_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["other.lm_head.weight"] = tensors["lm_head.weight"].clone()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="2 tensors that could be the head"):
        lm_head_of(folder)


def test_shapes_are_those_of_the_configuration(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    change_json(folder / "config.json", vocab_size=65)
    with pytest.raises(InputError, match=r"one of shape \[65, 32\]"):
        lm_head_of(folder)


def test_a_packed_head_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"].to(torch.int8)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lm_head\.weight is stored as I8"):
        lm_head_of(folder)


def test_a_configuration_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model")
    change_json(folder / "config.json", model_type="telepathy")
    with pytest.raises(InputError, match=r"config\.json: cannot be used"):
        lm_head_of(folder)


@pytest.fixture
def head(tmp_path: Path) -> LMHead:
    return lm_head_of(write_checkpoint(tmp_path / "model"))


def test_files_of_other_kinds_are_refused(tmp_path: Path, head: LMHead) -> None:
    path = tmp_path / "head.safetensors"
    with pytest.raises(InputError, match="no such file"):
        read_lm_head(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(InputError, match="holds no head of a model"):
        read_lm_head(path)
    about = {"format": "crossdraft.lm-head/1"}
    save_file(head.tensors(), path, metadata={"crossdraft": json.dumps(about)})
    with pytest.raises(InputError, match="a damaged file"):
        read_lm_head(path)
    write_lm_head(replace(head, norm=torch.ones(31)), path)
    with pytest.raises(InputError, match="other shapes than it says"):
        read_lm_head(path)
    write_lm_head(head, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(InputError, match="the file is cut"):
        read_lm_head(path)
