"""Estimates of memory against what models then hold, and refusals before anything is loaded."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf
from safetensors.torch import load_file, save_file

from crossdraft.base.errors import InputError
from crossdraft.vlm import free_memory
from crossdraft.vlm.free_memory import available_bytes
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.loading import estimate_target, load_target
from crossdraft.vlm.memory import estimate, kv_bytes
from crossdraft.vlm.precision import Precision
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.target import Target
from tests.vlm.checkpoint_folder import change_json, llama_config, write_checkpoint
from tests.vlm.models import tiny
from tests.vlm.packed import LiveBytes, held_bytes, needs_bitsandbytes, packed_layers, wide_config
from tests.vlm.seven_billion import EVENTGPT_KEYS, write_eventgpt_7b, write_video_llava_7b
from tests.vlm.video_llava_folder import write_video_llava

CPU, LLAMA, GB = torch.device("cpu"), "LlamaForCausalLM", 10**9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of 1.3 million values in bfloat16, most of them in the decoder's blocks."""
    config = wide_config(hidden_size=256, intermediate_size=512, vocab_size=100)
    place = tmp_path_factory.mktemp("wide")
    return write_checkpoint(place, config=config, dtype=torch.bfloat16)


def load(folder: Path, dtype: str) -> Any:
    return load_model(folder, hf.LlamaForCausalLM, architectures=(LLAMA,), dtype=dtype)


@pytest.mark.parametrize(
    "dtype",
    [
        "auto",
        "float64",
        "float32",
        "float16",
        pytest.param("int8", marks=needs_bitsandbytes),
        pytest.param("nf4", marks=needs_bitsandbytes),
    ],
)
def test_weights_are_what_was_estimated(dtype: str, folder: Path) -> None:
    said = estimate(folder, hf.LlamaForCausalLM, dtype)
    model = load(folder, dtype)
    model(input_ids=torch.tensor([[5, 6, 7]]))
    # A CPU without AVX-512 for bfloat16 keeps NF4 as GPUs do, a little smaller.
    close = 0.02 if dtype != "nf4" or _repacked(model) else 0.04
    assert held_bytes(model) == pytest.approx(said.weights, rel=close)
    assert said.precision == ("bfloat16" if dtype == "auto" else dtype)


@needs_bitsandbytes
def test_four_bits_as_gpus_keep_them(folder: Path) -> None:
    """And as a CPU does before its first pass."""
    layer = load(folder, "nf4").model.layers[0].mlp.up_proj
    assert Precision("nf4").nbytes(layer, torch.device("cuda")) == held_bytes(layer)


def test_dense_models_do_not_wait_for_what_quantises(folder: Path) -> None:
    """bitsandbytes takes seconds to import, and an estimate of its precisions does not need it."""
    program = (
        "import sys; from crossdraft.vlm.loading import load_target; "
        f"load_target({str(folder)!r}); assert 'bitsandbytes' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_shared_embeddings_are_held_once(tmp_path: Path) -> None:
    config = llama_config(tie_word_embeddings=True, vocab_size=2000)
    folder = write_checkpoint(tmp_path, config=config)
    said = estimate(folder, hf.LlamaForCausalLM)
    assert held_bytes(load(folder, "auto")) == pytest.approx(said.weights, rel=0.001)


def test_towers_that_are_not_loaded_are_not_counted(tmp_path: Path) -> None:
    folder = write_video_llava(tmp_path)
    assert held_bytes(load_target(folder).model) == pytest.approx(
        estimate_target(folder).weights, rel=0.001
    )


@needs_bitsandbytes
def test_weights_that_are_stored_quantised(folder: Path, tmp_path: Path) -> None:
    with quiet():
        load(folder, "nf4").save_pretrained(tmp_path / "packed")
    said = estimate(tmp_path / "packed", hf.LlamaForCausalLM)
    again = load(tmp_path / "packed", "auto")
    assert packed_layers(again) and not said.narrower
    assert held_bytes(again) == pytest.approx(said.weights, rel=0.02)


def _repacked(model: Any) -> bool:
    state = model.model.layers[0].mlp.up_proj.weight.quant_state
    return getattr(state, "packing_format_for_cpu", False)


@pytest.mark.parametrize("name", ["llama", "llava-onevision"])
def test_keys_and_values_are_what_a_session_holds(name: str) -> None:
    model: Any = tiny(name)
    session = Target(model, cache="preallocated", room=40).open(Prompt((5, 6, 7), 0))
    session.fork().ask(Prompt((5, 6, 7), 0))
    child = session.fork()
    child.ask(Prompt((5, 6, 7), 0))
    assert child.cache_bytes == kv_bytes(model, 40, torch.float64)


def test_no_more_tokens_than_the_model_can_hold(folder: Path) -> None:
    said = estimate(folder, hf.LlamaForCausalLM, "bfloat16")
    assert said.tokens == 128
    assert said.cache == 2 * 2 * 256 * 128 * 2
    short = estimate(folder, hf.LlamaForCausalLM, "bfloat16", tokens=64)
    assert (short.tokens, 2 * short.cache, 2 * short.working) == (64, said.cache, said.working)


def test_working_space_is_twice_what_lives_in_a_prefill(tmp_path: Path) -> None:
    config = llama_config(hidden_size=128, intermediate_size=352, max_position_embeddings=2048)
    folder = write_checkpoint(tmp_path, config=config)
    said = estimate(folder, hf.LlamaForCausalLM, tokens=900)
    target = load_target(folder)
    with LiveBytes() as live:
        target.open(Prompt(tuple(range(5, 55)) * 20, 900))
    assert live.peak - said.cache == pytest.approx(said.working / 2, rel=0.2)


@pytest.mark.parametrize(
    "wide", ["lm_head.weight", "model.embed_tokens.weight", "all but the head"]
)
def test_auto_of_mixed_formats_is_that_of_most_bytes(wide: str, tmp_path: Path) -> None:
    """Where config.json says nothing; transformers would go by the first tensor."""
    folder = write_checkpoint(tmp_path, config=wide_config(vocab_size=100))
    change_json(folder / "config.json", dtype=None)
    path = folder / "model.safetensors"
    tensors = {
        name: tensor if name == wide or (wide[0] == "a" and name != "lm_head.weight")
        else tensor.bfloat16()
        for name, tensor in load_file(path).items()
    }  # fmt: skip
    save_file(tensors, path, metadata={"format": "pt"})
    said, model = estimate(folder, hf.LlamaForCausalLM), load(folder, "auto")
    expected = torch.float32 if wide[0] == "a" else torch.bfloat16
    assert {one.dtype for one in model.parameters()} == {expected}
    assert f"torch.{said.precision}" == str(expected)
    assert held_bytes(model) == pytest.approx(said.weights, rel=0.001)


def test_quantising_holds_the_largest_weight_twice(tmp_path: Path) -> None:
    """As it is stored, and as it will be; a pass over few tokens works in less."""
    folder = write_checkpoint(tmp_path, config=wide_config(vocab_size=10_000))
    largest = 10_000 * 128 * 4
    for dtype in ("int8", "nf4"):
        assert estimate(folder, hf.LlamaForCausalLM, dtype, tokens=1).working == 2 * largest
    assert estimate(folder, hf.LlamaForCausalLM, "float32", tokens=1).working < largest


@pytest.fixture
def layouts(tmp_path: Path) -> Iterator[Path]:
    """A folder for weight files that are holes, not left behind for tools that would copy them."""
    yield tmp_path
    for path in tmp_path.rglob("*.safetensors"):
        path.unlink()


@pytest.mark.parametrize("kind", ["eventgpt", "video-llava"])
def test_layouts_of_7b_are_refused_where_there_is_no_room(
    kind: str, layouts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every precision; nothing of the size of a layer is taken before."""
    if kind == "eventgpt" and not EVENTGPT_KEYS.exists():
        pytest.skip(f"no list of tensors at {EVENTGPT_KEYS}")
    folder = (write_eventgpt_7b if kind == "eventgpt" else write_video_llava_7b)(layouts / "7b")
    stored = {"eventgpt": 7_079_684_096, "video-llava": 7_063_099_392}[kind]
    said = estimate_target(folder)
    assert said.weights == pytest.approx(2 * stored, rel=0.001)
    assert [one.precision for one in said.narrower] == ["int8", "nf4"]
    assert said.cache == 2 * 32 * 4096 * 4096 * 2
    packed, wide = said.at("nf4"), estimate_target(folder, dtype="fp32")
    assert wide.weights == pytest.approx(2 * said.weights, rel=0.001)
    assert 4.4 * GB < packed.weights < 4.9 * GB
    monkeypatch.setattr(free_memory, "available_bytes", lambda _: 8 * GB)
    monkeypatch.setattr(free_memory, "lacking", lambda: None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"needs 1\d(\.\d)? GB \(weights 14") as refused:
        load_model(
            folder,
            _class_of(kind),
            architectures=("EventChatModel", "VideoLlavaForConditionalGeneration"),
        )
    assert "cpu has 8 GB free" in refused.value.found
    assert refused.value.hint == f"dtype nf4 ({packed.total / GB:.3g} GB)"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kilobytes"


def _class_of(kind: str) -> Any:
    if kind == "eventgpt":
        from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration

        return EventGPTForConditionalGeneration
    from crossdraft.vlm.video_llava import VideoOnlyLlava

    return VideoOnlyLlava


def test_this_machine_refuses_7b_in_single_precision(layouts: Path) -> None:
    """A program of its own, and nothing patched."""
    free = available_bytes("cpu")
    if free is None or free > 34 * GB:
        pytest.skip("nothing is known of free memory, or there is enough")
    folder = write_video_llava_7b(layouts / "7b")
    program = f"""
import sys
from crossdraft.base.errors import InputError
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.video_llava import VideoOnlyLlava
try:
    load_model({str(folder)!r}, VideoOnlyLlava, dtype="float32",
               architectures=("VideoLlavaForConditionalGeneration",))
except InputError as error:
    sys.exit(str(error))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert f"{folder}: needs 34" in done.stderr and "(weights 28.3 GB" in done.stderr


def test_text_models_have_sizes_in_other_fields(tmp_path: Path) -> None:
    model = deepcopy(tiny("gpt2")).float()
    model.save_pretrained(tmp_path)
    said = estimate(tmp_path, type(model))
    assert held_bytes(model) == pytest.approx(said.weights, rel=0.01)
    assert said.cache == 2 * 2 * 32 * 512 * 4 and said.working > 0
    assert "int8" not in [one.precision for one in said.narrower], "nothing to quantise"
