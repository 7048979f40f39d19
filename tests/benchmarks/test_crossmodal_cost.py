"""What a draft of `crossmodal` costs beside a step of the target."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.bench.made_scene import MadeScene
from crossdraft.drafters.checkpoint import save_drafter
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import write_pair
from tests.benchmarks import benchmark
from tests.decoding.states_kit import recorded
from tests.drafters.crossmodal.kit import drafter_of

cost = benchmark("crossmodal_cost")


def test_a_pair_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair_file, out = write_pair(tmp_path), tmp_path / "cost.json"
    with PairModels(ModelPair.find(str(pair_file))) as models:
        pair = recorded(models.target, models.drafter, MadeScene(), 6)
    save_drafter(drafter_of([pair]), tmp_path / "drafter.safetensors")
    call = ["--pair", str(pair_file), "--drafter", str(tmp_path / "drafter.safetensors")]
    code = cost.main([*call, "--gamma", "2", "--rounds", "1", "--json", str(out)])
    found = json.loads(out.read_text())
    assert code == (0 if all(found["checks"].values()) else 1)
    for name in ("per_token", "per_level", "step_ms"):
        assert 0 < found[name]["low"] <= found[name]["median"] <= found[name]["high"]
    assert "a drafted token" in capsys.readouterr().out
    assert cost.main([*call, "--gamma", "0"]) == 2
