"""What is trained, and that nothing else is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from crossdraft.base.errors import InputError
from crossdraft.training.tuning import students
from crossdraft.training.tuning.reader import Reader
from crossdraft.training.tuning.stored import network_name, write_tuned
from crossdraft.training.tuning.students import HEAD, HeadStudent, LoraStudent, Student
from crossdraft.vlm.eventgpt.load import load_eventgpt
from crossdraft.vlm.quiet import quiet
from tests.training.tuning.ground import Ground
from tests.vlm.eventgpt_folder import write_eventgpt

needs_peft = pytest.mark.skipif(
    importlib.util.find_spec("peft") is None, reason="PEFT is not installed (crossdraft[lora])"
)


def _stirred(student: Student) -> Student:
    """With every trained weight changed."""
    generator = torch.Generator().manual_seed(1)
    for weight in student.network.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data += 0.1 * noise.to(weight)
    student.network.eval()
    return student


def _reloaded(folder: Path) -> Reader:
    model: Any = load_eventgpt(folder, dtype="float32")
    return Reader(model.model, model.prompts)


@needs_peft
def test_low_rank_changes_are_in_the_written_weights(ground: Ground, tmp_path: Path) -> None:
    config = ground.config("lora", rank=2)
    reader, lessons = ground.read(config)
    student = _stirred(LoraStudent(reader, config))
    asked = [(lessons.train[0], (0, 1))]
    write_tuned(ground.folder / "drafter", tmp_path, student.changes())
    after = _reloaded(tmp_path)
    with torch.no_grad():
        said = after.model.lm_head(after.states(asked))
        assert torch.allclose(said, student.logits(asked), atol=1e-3)
        before = _reloaded(ground.folder / "drafter")
        assert not torch.allclose(said, before.model.lm_head(before.states(asked)), atol=1e-2)


@needs_peft
def test_only_the_language_models_attention_changes(ground: Ground, tmp_path: Path) -> None:
    config = ground.config("lora", rank=2)
    reader, _ = ground.read(config)
    student = _stirred(LoraStudent(reader, config))
    write_tuned(ground.folder / "drafter", tmp_path, student.changes())
    before = load_file(ground.folder / "drafter" / "model.safetensors")
    after = load_file(tmp_path / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {network_name(n) for n in before if not torch.equal(before[n], after[n])}
    parts = [f"self_attn.{part}_proj.weight" for part in "qkvo"]
    layers = range(reader.model.config.num_hidden_layers)
    assert changed == {
        f"model.language_model.layers.{layer}.{part}" for layer in layers for part in parts
    }
    trained = sum(weight.numel() for weight in student.network.parameters())
    assert trained == len(changed) * 2 * (64 + 64)  # rank 2, width 64


@needs_peft
def test_the_peft_folder_goes_onto_the_untuned_model(ground: Ground, tmp_path: Path) -> None:
    from peft import PeftModel

    config = ground.config("lora", rank=2)
    reader, lessons = ground.read(config)
    student = _stirred(LoraStudent(reader, config))
    student.save_adapter(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "adapter_config.json", "adapter_model.safetensors",
    }  # fmt: skip
    fresh = _reloaded(ground.folder / "drafter")
    with quiet():
        PeftModel.from_pretrained(fresh.model, str(tmp_path))
    fresh.model.train(False)
    asked = [(lessons.val[0], (0,))]
    with torch.no_grad():
        said = fresh.model.lm_head(fresh.states(asked))
        assert torch.allclose(said, student.logits(asked), atol=1e-5)


def test_a_head_is_trained_on_the_models_own_states(ground: Ground) -> None:
    reader, lessons = ground.read(ground.config())
    student = HeadStudent(reader)
    asked = [(lessons.train[0], (1,)), (lessons.train[1], (0, 1))]
    with torch.no_grad():
        wanted = reader.model.lm_head(reader.states(asked))
        assert torch.allclose(student.logits(asked), wanted, atol=1e-5)
        assert student.changes()[HEAD].abs().max() == 0


def test_a_tied_head_is_parted_from_the_embeddings(ground: Ground, tmp_path: Path) -> None:
    source = write_eventgpt(tmp_path / "tied", tie_word_embeddings=True)
    weights = load_file(source / "model.safetensors")
    weights.pop("lm_head.weight", None)
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    student = _stirred(HeadStudent(_reloaded(source)))
    write_tuned(source, tmp_path / "out", student.changes())
    after = _reloaded(tmp_path / "out").model
    assert not after.config.tie_word_embeddings
    stored = weights["model.embed_tokens.weight"]
    embeddings: Any = after.get_input_embeddings()
    assert torch.equal(embeddings.weight, stored)
    weight: Any = student.network.weight
    assert torch.allclose(after.lm_head.weight, weight, atol=1e-6)
    assert not torch.allclose(after.lm_head.weight, stored, atol=1e-2)


def test_weights_keep_their_number_format(tmp_path: Path) -> None:
    source = write_eventgpt(tmp_path / "half", dtype=torch.float16)
    student = _stirred(HeadStudent(_reloaded(source)))
    write_tuned(source, tmp_path / "out", student.changes())
    before, after = (load_file(f / "model.safetensors") for f in (source, tmp_path / "out"))
    assert {name: t.dtype for name, t in before.items()} == {n: t.dtype for n, t in after.items()}
    assert [n for n in before if not torch.equal(before[n], after[n])] == [HEAD]


def test_changes_of_other_weights_are_refused(ground: Ground, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not have: nobody"):
        write_tuned(ground.folder / "drafter", tmp_path, {"nobody.weight": torch.zeros(2)})
    with pytest.raises(InputError, match="is stored as"):
        write_tuned(ground.folder / "drafter", tmp_path, {HEAD: torch.zeros(2)})


def test_without_peft_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError) as caught:
        students.require_peft()
    assert "pip install 'crossdraft[lora]'" in str(caught.value)
