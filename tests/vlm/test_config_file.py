"""config.json: what is none, and what leads to code or to other weights, is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

from crossdraft.base.errors import InputError
from crossdraft.vlm.config_file import fields, read_config
from crossdraft.vlm.load_model import load_model
from tests.vlm.checkpoint_folder import change_json, write_checkpoint


def refused(folder: Path, message: str) -> str:
    """The whole message of the refusal."""
    with pytest.raises(InputError, match=message) as raised:
        read_config(folder)
    return str(raised.value)


def test_reads_what_transformers_wrote(tmp_path: Path) -> None:
    config, architectures, model_type = read_config(write_checkpoint(tmp_path))
    assert architectures == ("LlamaForCausalLM",) and model_type == "llama"
    assert config["vocab_size"] == 64


def test_fields_of_objects_however_deep() -> None:
    found = set(map(str, fields({"a": 1, "b": [{"c": {"d": [2]}}, 3], "e": {}})))
    assert found == {
        "('a', 'a', 1)",
        "('b', 'b', [{'c': {'d': [2]}}, 3])",
        "('e', 'e', {})",
        "('b.0.c', 'c', {'d': [2]})",
        "('b.0.c.d', 'd', [2])",
    }
    deep: object = {"x": 0}
    for _ in range(5_000):
        deep = [deep]
    assert [(key, value) for _, key, value in fields(deep)] == [("x", 0)]


CONFIGS = [
    ("{", "not valid JSON in line 1"),
    ("[1]", "the configuration: is a list"),
    ("{}", "names no architectures"),
    ('{"architectures": []}', "names no architectures"),
    ('{"architectures": ["../x"]}', "names no architectures"),
    ('{"architectures": "LlamaForCausalLM"}', "names no architectures"),
    ('{"architectures": ["LlamaForCausalLM"]}', "names no model_type"),
    ('{"architectures": ["LlamaForCausalLM"], "model_type": 3}', "model_type is a number"),
    ("", "the file is empty"),
    ("version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer(?s:.)*git lfs pull"),
]


@pytest.mark.parametrize(("text", "message"), CONFIGS)
def test_a_broken_configuration(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert "config.json" in refused(tmp_path, message)


@pytest.mark.parametrize("place", ["top", "nested"])
def test_code_of_a_checkpoint_is_never_run(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    (folder / "modeling.py").write_text("import os\nos.mkdir('trap')\n")
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text("import os\nos.mkdir('trap')\n")
    load_model(folder, LlamaForCausalLM, architectures=("LlamaForCausalLM",))
    leads = {"AutoModelForCausalLM": "modeling.Model", "AutoConfig": "modeling.Config"}
    if place == "top":
        change_json(folder / "config.json", auto_map=leads)
    else:
        change_json(folder / "config.json", text_config={"layers": [{"auto_map": leads}]})
    refused(folder, "auto_map asks to run Python code")
    assert not list(tmp_path.rglob("trap"))


def test_weights_of_another_name(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    change_json(folder / "config.json", transformers_weights="other.safetensors")
    refused(folder, "weights of another name")
