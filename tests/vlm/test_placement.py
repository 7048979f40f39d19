"""Devices by name and by module, and sessions over modules that accelerate has hooked."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm import free_memory, placement
from crossdraft.vlm.checkpoint import inspect
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.loading import load_target
from crossdraft.vlm.memory import estimate_sketch
from crossdraft.vlm.placement import Placement
from crossdraft.vlm.precision import Precision
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.sketch import sketch_of
from crossdraft.vlm.target import Target
from tests.vlm.checkpoint_folder import llama_config, write_checkpoint
from tests.vlm.models import tiny

LLAMA = "LlamaForCausalLM"
#: A decoder over two GPUs, its first layer and the embeddings on one.
HALVES: dict[str, int | str] = {"model.embed_tokens": 0, "model.layers.0": 0, "": "cuda:1"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of two layers."""
    return write_checkpoint(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two GPUs, as far as names go."""

    def find(name: str | torch.device, where: Any = None) -> torch.device:
        device = torch.device("cuda" if name == "auto" else name)
        if (device.index or 0) > 1:
            raise InputError(f"device {str(name)!r} cannot be used", where=where)
        return device

    monkeypatch.setattr(placement, "find_device", find)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)


def sketch() -> Any:
    with torch.device("meta"):
        return hf.LlamaForCausalLM(llama_config())


def test_one_device(gpus: None) -> None:
    for name in ("cpu", torch.device("cpu"), "cpu:0"):
        assert Placement.parse(name) == Placement((torch.device("cpu"),))
    names: list[Any] = ["auto", "cuda", "cuda:1", {"": "cuda"}, {"": 1}]
    for name in names:
        place = Placement.parse(name)
        assert place == Placement((torch.device("cuda:1"),)), "with its number"
        assert place.single and place.device_map() == {"": "cuda:1"}
        assert place.of("model.norm.weight") == torch.device("cuda:1")


def test_spread_over_all_gpus(gpus: None) -> None:
    place = Placement.parse("balanced")
    assert place.devices == (torch.device("cuda:0"), torch.device("cuda:1"))
    assert place.device_map() == "balanced" and place.of("lm_head.weight") is None
    place.check(sketch())


def test_devices_by_module(gpus: None) -> None:
    place = Placement.parse(HALVES)
    place.check(sketch())
    assert place.device_map() == {
        "model.embed_tokens": "cuda:0", "model.layers.0": "cuda:0", "": "cuda:1",
    }  # fmt: skip
    for name, device in {
        "model.embed_tokens.weight": "cuda:0",
        "model.layers.0.mlp.up_proj.weight": "cuda:0",
        "model.layers.1.mlp.up_proj.weight": "cuda:1",
        "model.layers.01.mlp": "cuda:1",
        "lm_head.weight": "cuda:1",
    }.items():
        assert place.of(name) == torch.device(device), name


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", r"device 'gpu' cannot be used"),
        ("cuda:99", r"device 'cuda:99' cannot be used"),
        ({}, r"a device map of \{\}"),
        ({0: "cpu"}, r"a device map of \{0: 'cpu'\}"),
        ({"lm_head": 99, "": "cpu"}, r"device map, module 'lm_head': device 'cuda:99'"),
        ({"lm_head": "disk"}, r"device map, module 'lm_head': device 'disk'"),
        ({"lm_heads": "cpu", "": "cpu"}, r"a device for 'lm_heads', and LlamaForCausalLM has"),
        ({"model.embed": "cpu"}, r"a device for 'model\.embed', and LlamaForCausalLM has no such"),
        ({"lm_head": "cpu"}, r"no device for model\.embed_tokens\.weight"),
    ],
    ids=["name", "number", "empty", "no-name", "no-gpu", "disk", "name-and-rest", "module", "rest"],
)
def test_what_is_not_there(device: Any, message: str, folder: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_target(folder, device=device)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_nothing_to_spread_over() -> None:
    with pytest.raises(InputError, match="device 'balanced', and there is no GPU"):
        Placement.parse("balanced")


def test_over_cpu_and_gpu(gpus: None) -> None:
    with pytest.raises(InputError, match="a device map over cuda:0 and cpu") as refused:
        Placement.parse({"model.layers": 0, "": "cpu"})
    assert "copied to the GPU in every pass" in str(refused.value)


def test_parts_are_counted_where_they_go(gpus: None, folder: Path) -> None:
    checkpoint = inspect(folder)
    empty = sketch_of(checkpoint, hf.LlamaForCausalLM)
    place, whole = Placement.parse(HALVES), Precision("float32")
    one, two = (
        estimate_sketch(checkpoint, empty, whole, device, placement=place)
        for device in (torch.device("cuda:0"), torch.device("cuda:1"))
    )
    both = estimate_sketch(checkpoint, empty, whole, torch.device("cuda:0"))
    assert one.weights + two.weights == both.weights
    assert one.cache + two.cache == pytest.approx(both.cache, abs=1)
    layer = sum(p.nbytes for p in empty.model.layers[0].parameters())
    assert one.weights == pytest.approx(layer + empty.model.embed_tokens.weight.nbytes, abs=100)


def test_a_part_that_does_not_fit(
    gpus: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"cuda:0": 10**9, "cuda:1": 1000}
    monkeypatch.setattr(free_memory, "available_bytes", lambda device: free.get(str(device)))
    with pytest.raises(InputError, match=r"needs .*; cuda:1 has 1 kB free"):
        load_model(folder, hf.LlamaForCausalLM, architectures=(LLAMA,), device=HALVES)
    with pytest.raises(InputError, match=r"needs .*; cuda:1 has 1 kB free"):
        load_model(folder, hf.LlamaForCausalLM, architectures=(LLAMA,), device="cuda:1")
    free["cuda:0"] = 2000
    with pytest.raises(InputError, match=r"needs .*; cuda:0 and cuda:1 have 3 kB free"):
        load_model(folder, hf.LlamaForCausalLM, architectures=(LLAMA,), device="balanced")


def test_a_model_that_goes_through_main_memory_fits_there_too(
    gpus: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"cuda:1": 10**9, "cpu": 1000}
    monkeypatch.setattr(free_memory, "available_bytes", lambda device: free.get(str(device)))
    monkeypatch.setattr("crossdraft.vlm.load_model.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs .*; cpu has 1 kB free"):
        load_model(folder, hf.LlamaForCausalLM, architectures=(LLAMA,), device="cuda:1")


def test_several_devices_need_accelerate(
    gpus: None, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossdraft.vlm.load_model.find_spec", lambda _: None)
    with pytest.raises(InputError, match="over several devices, and accelerate is not installed"):
        load_target(folder, device=HALVES)


@pytest.mark.parametrize("name", ["llama", "gemma3", "video-llava"])
def test_sessions_run_through_hooks(name: str) -> None:
    """Those that move states between devices, here all of them one: rows stay what they are."""
    hooks = pytest.importorskip("accelerate.hooks")
    model: Any = deepcopy(tiny(name))
    ids = (5, 6, 7, 8)
    expected = model(input_ids=torch.tensor([[*ids, 9, 10]])).logits[0, 3:]
    places = {part: torch.device("cpu") for part, _ in model.named_modules() if part}
    hooks.attach_align_device_hook_on_blocks(
        model, execution_device=places, skip_keys=model._skip_keys_device_placement
    )
    session = Target(model).open(Prompt(ids, 0))
    step = session.ask(Prompt(ids, 0), DraftTree.chain([9, 10]))
    session.keep([0])
    again = session.extend(10)
    assert torch.allclose(step.logits, expected, rtol=0, atol=1e-12)
    assert torch.allclose(again.logits, expected[2:], rtol=0, atol=1e-12)
