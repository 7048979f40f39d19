"""A run of verify-cost: which target, what comes out, what it warns of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as hf

from crossdraft.base.errors import InputError
from crossdraft.bench import verify_cost
from crossdraft.bench.verify_cost import VerifyCostConfig, make_target, run
from crossdraft.evaluation.cost import read_cost_curve
from crossdraft.vlm.cost_curve import cost_curves_from
from crossdraft.vlm.cost_setup import Setup
from tests.vlm.checkpoint_folder import write_checkpoint
from tests.vlm.costs import cost, curves
from tests.vlm.models import tiny
from tests.vlm.packed import needs_bitsandbytes, wide_config


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "kept"))
    return tmp_path


def asked(folder: Path, **changes: Any) -> VerifyCostConfig:
    """A run on the shapes of a tiny Llama."""
    path = folder / "config.json"
    path.write_text(tiny("llama").config.to_json_string())
    options: dict[str, Any] = {
        "config": path, "dtype": "float32", "device": "cpu", "context": 40, "widths": (1, 2, 5),
        "repeats": 2,
    }  # fmt: skip
    return VerifyCostConfig(**{**options, **changes})


@pytest.mark.usefixtures("quiet_machine")
def test_result_is_a_cost_curve_with_advice(folder: Path) -> None:
    outcome = run(asked(folder))
    path = folder / "result.json"
    path.write_text(json.dumps(outcome.payload))
    assert read_cost_curve(path, widest=5)(1) == 1.0
    assert cost_curves_from(outcome.payload, path) == outcome.curves
    assert [tail.tokens for tail in outcome.curves.tail] == [3], "no wider than a pass"
    for rows in outcome.payload["advice"].values():
        assert [row["alpha"] for row in rows] == pytest.approx([n / 10 for n in range(1, 10)])
        assert all(0 <= row["gamma"] <= 4 and row["speedup"] >= 1 for row in rows)
    assert str(folder / "config.json") in outcome.payload["model"]
    assert outcome.payload["notes"] == []


@pytest.mark.usefixtures("quiet_machine")
def test_second_run_is_taken_from_what_is_kept(folder: Path) -> None:
    first = run(asked(folder))
    second = run(asked(folder))
    assert second.curves == first.curves
    assert "kept in" in second.payload["notes"][0]
    assert run(asked(folder, fresh=True)).payload["notes"] == []


def test_without_a_model_a_small_one_stands_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "crossdraft.bench.random_model.small_llama", lambda: tiny("llama").config
    )  # fmt: skip
    target, name = make_target(VerifyCostConfig(device="cpu", cache="preallocated"))
    assert (target.cache, target.dtype, name) == (
        "preallocated", torch.float32, "LlamaForCausalLM, random weights",
    )  # fmt: skip


def test_checkpoints_are_loaded(folder: Path) -> None:
    tiny("llama").save_pretrained(folder / "model")
    target, name = make_target(VerifyCostConfig(model=folder / "model", device="cpu"))
    assert target.dtype == torch.float64, "its own"
    assert name == f"LlamaForCausalLM from {folder / 'model'}"
    config = VerifyCostConfig(model=folder / "model")
    assert config.inputs == [folder / "model" / "config.json"]
    with pytest.raises(InputError, match="no such folder"):
        make_target(VerifyCostConfig(model=folder / "none", device="cpu"))


@needs_bitsandbytes
def test_quantised_checkpoints_are_told_apart(folder: Path) -> None:
    write_checkpoint(folder / "model", config=wide_config())
    setups = []
    for dtype, said in (("4bit", " in nf4"), ("bf16", "")):
        config = VerifyCostConfig(model=folder / "model", device="cpu", dtype=dtype)
        target, name = make_target(config)
        assert name == f"LlamaForCausalLM from {folder / 'model'}{said}"
        setups.append(Setup.of(target, 40, 3))
    assert setups[0].dtype == setups[1].dtype == "bfloat16"
    assert setups[0].fingerprint != setups[1].fingerprint, "a measurement of one is not the other's"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_spreading_needs_gpus(folder: Path) -> None:
    write_checkpoint(folder / "model")
    for config in (
        VerifyCostConfig(model=folder / "model", device="balanced"),
        VerifyCostConfig(device="balanced"),
    ):
        with pytest.raises(InputError, match="'balanced'"):
            make_target(config)


def test_shapes_that_no_session_can_drive_are_refused(folder: Path) -> None:
    path = folder / "state.json"
    state_space = hf.MambaConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1)
    path.write_text(state_space.to_json_string())
    with pytest.raises(InputError, match=r"state\.json: MambaForCausalLM"):
        make_target(VerifyCostConfig(config=path, device="cpu"))


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
    ids=["gpu", "cpu"],
)
def test_running_out_of_memory_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("crossdraft.vlm.cost_store.measure", failing)
    with pytest.raises(InputError, match=r"out of memory(.|\n)*shorter --context"):
        run(asked(folder))


def test_other_faults_are_not_hidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("crossdraft.vlm.cost_store.measure", failing)
    with pytest.raises(RuntimeError, match="a bug"):
        run(asked(folder))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Path("a"), "config": Path("b")}, "exclude each other"),
        ({"dtype": "half"}, "--dtype: 'half'"),
        ({"dtype": "int8"}, "--dtype: int8 of random weights"),
        ({"repeats": 0}, "--repeats: 0"),
        ({"widths": (4, 0)}, "--widths: 0 tokens"),
        ({"context": 0}, "--context: 0"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        VerifyCostConfig(**options)


def test_warnings_name_what_flatters_or_disturbs() -> None:
    quiet = curves({1: 1.0, 4: 1.2, 8: 1.5})
    given = VerifyCostConfig(config=Path("config.json"))
    assert verify_cost._warnings(given, quiet) == []
    (stand_in,) = verify_cost._warnings(VerifyCostConfig(), quiet)
    assert "1,234 parameters stands in" in stand_in
    noisy = curves({1: 1.0, 4: 1.2}, tree=(cost(1, 1.0), cost(4, 1.2, spread=0.5)))
    (busy,) = verify_cost._warnings(given, noisy)
    assert "in 1 of 2 passes" in busy
    (fell,) = verify_cost._warnings(given, curves({1: 1.0, 4: 1.5, 8: 1.2}, {1: 1, 4: 1.2, 8: 1.3}))
    assert fell.startswith("a chain of 8 tokens took less time")
