"""Precisions by name, what they quantise and what stays dense, and sessions over packed weights."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.loading import load_target
from crossdraft.vlm.precision import NAMES, Precision, dense_parts, lacking, quantisable
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.quiet import quiet
from tests.vlm.checkpoint_folder import change_json, write_checkpoint
from tests.vlm.models import tiny
from tests.vlm.packed import NARROW, needs_bitsandbytes, packed_layers, wide_config
from tests.vlm.video_llava_folder import write_video_llava

CPU, LLAMA = torch.device("cpu"), "LlamaForCausalLM"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint whose answers do not repeat one token."""
    config = wide_config(initializer_range=0.3, eos_token_id=None)
    return write_checkpoint(tmp_path_factory.mktemp("wide"), config=config)


def sketch_of(config: Any, kind: Any = hf.LlamaForCausalLM) -> Any:
    with torch.device("meta"):
        return kind(config)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        *((name, name) for name in NAMES),
        *(zip(("fp64", "fp32", "bf16", "fp16", "8bit", "4bit"), NAMES[1:], strict=True)),
        (torch.bfloat16, "bfloat16"),
        (torch.float64, "float64"),
        (Precision("nf4"), "nf4"),
    ],
    ids=str,
)
def test_names(value: Any, name: str) -> None:
    assert Precision.parse(value).name == name


@pytest.mark.parametrize("value", ["half", "", "int4", torch.int8, torch.float8_e4m3fn, None, [1]])
def test_other_names_are_refused(value: Any) -> None:
    with pytest.raises(InputError, match="dtype ") as refused:
        Precision.parse(value)
    assert "nf4" in str(refused.value)


def test_number_format_of_dense_parts() -> None:
    assert Precision("auto").dense() is None
    assert Precision("float64").dense() == torch.float64
    assert Precision("int8").dense() == torch.float16, "what its kernels compute in"
    assert Precision("nf4").dense(CPU) == torch.bfloat16
    assert [name for name in NAMES if Precision(name).quantised] == ["int8", "nf4"]


def test_gpus_without_bfloat16_compute_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    for capability, dtype in (((7, 5), torch.float16), ((8, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, c=capability: c)
        assert Precision("nf4").dense(gpu) == dtype


def test_linear_layers_of_blocks_are_quantised_and_nothing_else() -> None:
    sketch = sketch_of(wide_config())
    parts = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up",
             "mlp.down")  # fmt: skip
    assert set(quantisable(sketch)) == {f"model.layers.{i}.{p}_proj" for i in (0, 1) for p in parts}
    assert dense_parts(sketch) == ["lm_head"]


def test_rows_that_are_no_whole_blocks_stay_dense() -> None:
    sketch = sketch_of(wide_config(**NARROW))
    assert not [name for name in quantisable(sketch) if name.endswith("down_proj")]
    assert dense_parts(sketch) == [
        "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", "lm_head",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"LlamaForCausalLM has no linear layers to quantise"):
        quantisable(sketch_of(wide_config(hidden_size=48)))


def test_towers_and_projectors_stay_dense() -> None:
    config = deepcopy(tiny("video-llava").config)
    for name, value in {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32}.items():
        setattr(config.text_config, name, value)
    config.vision_config.hidden_size = config.vision_config.intermediate_size = 64
    sketch = sketch_of(config, hf.VideoLlavaForConditionalGeneration)
    assert sorted(dense_parts(sketch)) == [
        "lm_head", "model.image_tower", "model.multi_modal_projector", "model.video_tower",
    ]  # fmt: skip
    assert all(name.startswith("model.language_model.layers.") for name in quantisable(sketch))


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["int8", "nf4"])
def test_loads_what_it_says(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = wide_config(**NARROW)
    folder = write_checkpoint(tmp_path / "model", config=config, dtype=torch.bfloat16)
    model = load_model(folder, hf.LlamaForCausalLM, architectures=(LLAMA,), dtype=name)
    assert packed_layers(model) == set(quantisable(sketch_of(config)))
    dense = Precision(name).dense(CPU)
    stored = load_file(folder / "model.safetensors")
    for key in (
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.layers.1.mlp.down_proj.weight",
    ):
        assert torch.equal(model.state_dict()[key], stored[key].to(dense)), key
    assert model.dtype == dense and not any(p.requires_grad for p in model.parameters())
    assert capfd.readouterr() == ("", "")


@needs_bitsandbytes
@pytest.mark.parametrize("name", ["int8", "nf4"])
def test_a_session_answers_as_generate_does(name: str, folder: Path) -> None:
    """In steps, as a block of drafts, and after a rollback."""
    target = load_target(folder, dtype=name)
    prompt = Prompt((5, 6, 7, 9, 11), 0)
    whole: Any = target.model
    with quiet():
        said = whole.generate(torch.tensor([prompt.ids]), max_new_tokens=12, do_sample=False)
    expected = said[0, len(prompt.ids) :].tolist()
    assert len(set(expected)) > 4, "an answer that a broken cache would not give"
    session = target.open(prompt)
    assert session.answer_many([prompt], 12)[0].tokens == tuple(expected)
    child = session.fork()
    step = child.ask(prompt)
    assert int(step.logits[0].argmax()) == expected[0]
    step = child.extend(expected[0], DraftTree.chain(expected[1:6]))
    assert step.logits.argmax(-1).tolist() == expected[1:7]
    child.keep([0, 1, 2])
    child.rollback(2)
    step = child.extend(expected[2])
    assert int(step.logits[0].argmax()) == expected[3]


@needs_bitsandbytes
def test_video_llava_in_four_bits(tmp_path: Path) -> None:
    """Its tower reads pixels as the dense model does; its decoder is packed."""
    target = load_target(write_video_llava(tmp_path), dtype="nf4")
    layers = packed_layers(target.model)
    assert layers and all(name.startswith("model.language_model.layers.") for name in layers)
    pictures = torch.randint(0, 256, (8, 30, 40, 3), dtype=torch.uint8).numpy()
    assert len(target.open(pictures).answer_many(["What is this?"], 4)[0].tokens) == 4


@needs_bitsandbytes
def test_weights_that_are_stored_quantised(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, hf.LlamaForCausalLM, architectures=(LLAMA,), dtype="nf4")
    with quiet():
        model.save_pretrained(tmp_path / "packed")
    again = load_model(tmp_path / "packed", hf.LlamaForCausalLM, architectures=(LLAMA,))
    assert packed_layers(again) == packed_layers(model) and again.dtype == torch.bfloat16
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(again(input_ids=ids).logits, model(input_ids=ids).logits)
    with pytest.raises(InputError, match=r"int8 of weights that are quantised already \(bitsand"):
        load_target(tmp_path / "packed", dtype="int8")


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({"bitsandbytes": None}, "nf4 weights, and bitsandbytes is not installed"),
        ({"bitsandbytes": "0.49.2"}, "nf4 weights, and bitsandbytes 0.49.2 is installed"),
        ({"bitsandbytes": "0.50.0.dev1", "accelerate": None}, "accelerate is not installed"),
    ],
    ids=["missing", "old", "accelerate"],
)
def test_what_is_not_installed(
    versions: dict[str, str | None], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(package: str) -> str:
        if (found := versions.get(package)) is None:
            raise importlib.metadata.PackageNotFoundError(package)
        return found

    monkeypatch.setattr("crossdraft.vlm.precision.version", version)
    with pytest.raises(InputError, match=message) as refused:
        load_target(folder, dtype="nf4")
    assert "pip install 'crossdraft[quant]'" in str(refused.value)
    assert "unpack the whole weight in every pass" in str(refused.value)


def test_versions_that_are_new_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    for found in ("0.50.0", "0.50.2.post1", "0.51", "1.0.0"):
        monkeypatch.setattr("crossdraft.vlm.precision.version", lambda _, v=found: v)
        assert lacking() is None


def test_a_stored_packing_that_cannot_be_read_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = write_checkpoint(tmp_path / "model")
    change_json(place / "config.json", quantization_config={"quant_method": "bitsandbytes"})
    monkeypatch.setattr("crossdraft.vlm.precision.version", lambda _: "0.43.1")
    with pytest.raises(InputError, match=r"bitsandbytes weights, and bitsandbytes 0\.43\.1"):
        load_target(place)


@needs_bitsandbytes
def test_nothing_is_said_and_nobody_is_asked(tmp_path: Path) -> None:
    """bitsandbytes asks the hub for a kernel as it is imported, and says that it got none."""
    (tmp_path / "kernels.py").write_text(
        "from huggingface_hub import constants\n"
        "def get_kernel(*_, **__):\n"
        "    if not constants.HF_HUB_OFFLINE: raise SystemExit('the hub may be asked')\n"
        "    raise OSError('offline')\n"
    )
    program = """
import socket
def asked(*_):
    raise SystemExit("the network was asked")
socket.socket.connect = socket.getaddrinfo = asked
from crossdraft.vlm.precision import require_bitsandbytes
require_bitsandbytes("nf4")
from huggingface_hub import constants
assert not constants.HF_HUB_OFFLINE
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_loggers_are_as_loud_as_before() -> None:
    log = logging.getLogger("bitsandbytes")
    before = log.level
    with quiet():
        assert not log.isEnabledFor(logging.ERROR)
    assert log.level == before
