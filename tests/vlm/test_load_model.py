"""A checkpoint folder gives its model, exactly, or an error that says what to do."""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM, PreTrainedModel, VideoLlavaForConditionalGeneration

from crossdraft.base.errors import InputError
from crossdraft.vlm.checkpoint import inspect
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.quiet import quiet
from tests.fuzz import anything, places, put
from tests.vlm.checkpoint_folder import (
    change_json,
    contents,
    llama_config,
    put_together,
    take_apart,
    write_checkpoint,
)
from tests.vlm.video_llava_folder import write_video_llava

LLAMA = "LlamaForCausalLM"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in one file."""
    return write_checkpoint(tmp_path_factory.mktemp("llama"))


@pytest.fixture
def folder(llama: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return shutil.copytree(llama, tmp_path / "model")


@pytest.fixture
def silence(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """The test prints and logs nothing. Progress bars go to a file, log lines may not."""
    yield
    assert capfd.readouterr() == ("", "")
    assert not caplog.get_records("call")


def load(folder: Path | str, **options: Any) -> LlamaForCausalLM:
    return load_model(folder, LlamaForCausalLM, architectures=(LLAMA,), **options)


def refused(folder: Path, message: str, **options: Any) -> str:
    """The whole message of the refusal to load, which must leave the folder as it was."""
    before = contents(folder)
    with pytest.raises(InputError, match=message) as raised:
        load(folder, **options)
    assert contents(folder) == before
    return str(raised.value)


def weights_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    return dict(model.state_dict())


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("shards", [1, 3])
def test_loads_what_was_saved(
    shards: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silence: None
) -> None:
    folder = write_checkpoint(tmp_path / "model", shards=shards)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    forbid_network(monkeypatch)
    before = contents(folder)
    model = load(str(folder))
    with quiet():
        expected = LlamaForCausalLM.from_pretrained(folder)
    assert same(weights_of(model), weights_of(expected))
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    assert model.config._attn_implementation == "sdpa"
    assert contents(folder) == before and not contents(Path.cwd())


def forbid_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_number_formats(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", dtype=torch.bfloat16)
    assert inspect(folder).bytes_by_dtype.keys() == {"BF16"}
    assert load(folder).dtype == torch.bfloat16
    exact = load(folder, dtype=torch.float64)
    assert exact.dtype == torch.float64
    stored = load_file(folder / "model.safetensors")
    assert same(
        {name: tensor.to(torch.bfloat16) for name, tensor in weights_of(exact).items()}, stored
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, not the file itself"),
        ('{"eos_token_id": [2, ', "not valid JSON"),
        ("[2]", "the generation settings: is a list"),
        ("", "the file is empty"),
    ],
    ids=["pointer", "cut", "list", "empty"],
)
def test_damaged_settings_of_generating(text: str, message: str, folder: Path) -> None:
    """transformers would load without them, and answers would not end where they should."""
    path = folder / "generation_config.json"
    change_json(path, eos_token_id=[2, 7])
    assert load(folder).generation_config.eos_token_id == [2, 7]
    path.write_text(text)
    assert "generation_config.json" in refused(folder, message)
    path.unlink()
    load(folder)


@pytest.mark.parametrize("fault", ["surplus", "memory"])
def test_an_error_that_is_kept_does_not_keep_the_model(
    fault: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[weakref.ref[Any]] = []
    from_pretrained: Any = LlamaForCausalLM.from_pretrained

    def watched(*args: Any, **options: Any) -> Any:
        model, report = from_pretrained(*args, **options)
        made.append(weakref.ref(model))
        return model, report

    def full(model: Any, *_: Any) -> NoReturn:
        raise MemoryError(f"no room for {type(model).__name__}")

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", watched)
    if fault == "surplus":
        rewrite(folder, surprise=torch.zeros(3))
    else:
        monkeypatch.setattr(LlamaForCausalLM, "to", full)
    with pytest.raises(InputError) as kept:
        load(folder)
    gc.collect()
    assert ("surprise" if fault == "surplus" else "no room for Llama") in kept.value.found
    assert [one() for one in made] == [None]


def test_parts_that_were_left_beside_the_gpus(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As accelerate leaves them where its estimate is another than ours."""
    from_pretrained: Any = LlamaForCausalLM.from_pretrained
    places = {"model": "cuda:0", "lm_head": "cuda:1"}

    def spread(*args: Any, **options: Any) -> Any:
        model, report = from_pretrained(*args, **options)
        model.hf_device_map = places
        return model, report

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", spread)
    load(folder)
    for place in ("cpu", "disk"):
        places["lm_head"] = place
        refused(folder, f"parts went to {' and '.join(sorted(('cuda', place)))}")


def test_shared_embeddings_are_stored_once(tmp_path: Path) -> None:
    config = llama_config(tie_word_embeddings=True)
    folder = write_checkpoint(tmp_path / "model", config=config)
    model = load(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("hub_keys", [True, False], ids=["hub", "today"])
def test_video_llava(shards: int, hub_keys: bool, tmp_path: Path) -> None:
    folder = write_video_llava(tmp_path, shards=shards, hub_keys=hub_keys)
    name = "VideoLlavaForConditionalGeneration"
    model = load_model(folder, VideoLlavaForConditionalGeneration, architectures=(name,))
    found = inspect(folder)
    assert len(found.files) == shards
    assert found.parameters == sum(p.numel() for p in model.parameters())


def test_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "none")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"this is a file(?s:.)*give the folder it lies in"):
        load(tmp_path / "model.safetensors")
    refused(tmp_path, "no config.json")


def test_another_architecture(folder: Path) -> None:
    with pytest.raises(InputError, match="a checkpoint of LlamaForCausalLM") as raised:
        load_model(
            folder,
            VideoLlavaForConditionalGeneration,
            architectures=("VideoLlavaForConditionalGeneration",),
        )
    assert "expected: one of VideoLlavaForConditionalGeneration" in str(raised.value)
    change_json(folder / "config.json", model_type="mistral")
    refused(folder, "model_type 'mistral' beside LlamaForCausalLM")
    change_json(folder / "config.json", model_type="llama9000")
    refused(folder, "'llama9000', which transformers .* does not know")


def test_a_truncated_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    size = path.stat().st_size
    os.truncate(path, size - 1000)
    assert "model.safetensors" in refused(folder, f"cut: {size - 1000:,} bytes are .* {size:,}")


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    """Set tensors of the weight file, None removes one; dots in names are written `__`."""
    path = folder / "model.safetensors"
    tensors: dict[str, torch.Tensor | None] = dict(load_file(path))
    tensors |= {name.replace("__", "."): tensor for name, tensor in changes.items()}
    kept = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    save_file(kept, path, metadata={"format": "pt"})


def test_weights_that_are_not_there(folder: Path, silence: None) -> None:
    rewrite(folder, lm_head__weight=None, model__norm__weight=None)
    refused(folder, "LlamaForCausalLM missing .2.: lm_head.weight, model.norm.weight")
    rewrite(folder, **{f"model__layers__0__mlp__{n}_proj__weight": None for n in ("up", "down")})
    refused(folder, "weights of LlamaForCausalLM missing .4.: .* and 1 more")


def test_weights_of_another_shape(folder: Path, silence: None) -> None:
    rewrite(folder, lm_head__weight=torch.zeros(65, 32))
    refused(folder, r"other shapes .* .1.: lm_head.weight \[65, 32\] instead of \[64, 32\]")


def test_weights_that_nobody_asked_for(folder: Path, silence: None) -> None:
    rewrite(folder, surprise=torch.zeros(3))
    refused(folder, "weights that LlamaForCausalLM does not have .1.: surprise")
    # An old kind of buffer that transformers knows to leave out.
    rewrite(folder, surprise=None, model__layers__0__self_attn__rotary_emb__inv_freq=torch.zeros(4))
    load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1,000,000,000, and the weight files"),
        ({"vision_config": {"depth": 99}}, "vision_config.depth is 99"),
        ({"hidden_size": 2**22}, "describes a model of .* and the weight files hold 21,664"),
        ({"vocab_size": 10**9}, "describes a model of .* parameters"),
    ],
)
def test_a_configuration_too_large_for_its_weights(
    changes: dict[str, Any], message: str, folder: Path
) -> None:
    """Refused before memory is taken: the largest of these would fill terabytes."""
    change_json(folder / "config.json", **changes)
    refused(folder, message)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden_act": "nonsense"},
        {"num_attention_heads": 0},
        {"dtype": "float7"},
        {"rope_parameters": {"rope_type": "nonsense"}},
        {"quantization_config": {"quant_method": "gptq"}},
        {"hidden_size": "many"},
    ],
    ids=lambda changes: min(changes),
)
def test_what_transformers_refuses_is_told(changes: dict[str, Any], folder: Path) -> None:
    change_json(folder / "config.json", **changes)
    message = refused(folder, "cannot be loaded as LlamaForCausalLM")
    assert str(folder) in message and len(message.splitlines()) < 5


def test_devices_and_number_formats_that_are_not_there(folder: Path) -> None:
    refused(folder, "device 'gpu' cannot be used", device="gpu")
    refused(folder, "device 'cuda:99' cannot be used", device="cuda:99")
    refused(folder, "dtype torch.int8", dtype=torch.int8)
    refused(folder, "dtype 'half'", dtype="half")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_onto_a_gpu(llama: Path) -> None:
    model = load(llama, dtype=torch.bfloat16, device="cuda")
    assert {parameter.device.type for parameter in model.parameters()} == {"cuda"}
    moved = {name: tensor.cpu() for name, tensor in weights_of(model).items()}
    assert same(moved, weights_of(load(llama, dtype=torch.bfloat16)))


@settings(max_examples=80)
@given(data=st.data())
def test_any_json_in_a_configuration(
    data: st.DataObject, llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    document = json.loads((llama / "config.json").read_text())
    changed = put(document, data.draw(st.sampled_from(places(document))), data.draw(anything))
    folder = scratch(llama, tmp_path_factory)
    (folder / "config.json").write_text(json.dumps(changed))
    only_input_errors(folder)


@settings(max_examples=80)
@given(data=st.data())
def test_changed_names_and_shapes(
    data: st.DataObject, llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Headers that are in order and do not fit the model."""
    header, tensors = take_apart(llama / "model.safetensors")
    names = sorted(set(header) - {"__metadata__"})
    one, two = (data.draw(st.sampled_from(names)) for _ in range(2))
    header[one], header[two] = header[two], header[one]
    three = data.draw(st.sampled_from(names))
    header[three]["shape"] = data.draw(st.sampled_from([[*header[three]["shape"][::-1]], [1]]))
    header[data.draw(st.text(max_size=3))] = header.pop(data.draw(st.sampled_from(names)))
    folder = scratch(llama, tmp_path_factory)
    put_together(folder / "model.safetensors", header, tensors)
    only_input_errors(folder)


@settings(max_examples=80)
@given(data=st.data())
def test_flipped_bits_of_a_header(
    data: st.DataObject, llama: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    flipped = bytearray((llama / "model.safetensors").read_bytes())
    end = 8 + int.from_bytes(flipped[:8], "little")
    bit = data.draw(st.integers(64, 8 * end - 1))
    flipped[bit // 8] ^= 1 << bit % 8
    folder = scratch(llama, tmp_path_factory)
    (folder / "model.safetensors").write_bytes(flipped)
    only_input_errors(folder)


def scratch(llama: Path, factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoint's files, for one example after the other."""
    folder = factory.getbasetemp() / "scratch"
    shutil.copytree(llama, folder, dirs_exist_ok=True)
    return folder


def only_input_errors(folder: Path) -> None:
    """Load; raises whatever is no InputError."""
    try:
        load(folder)
    except InputError as error:
        str(error).encode()
