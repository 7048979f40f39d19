"""The benchmark of extraction: both procedures do the work, and their rates are compared."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import write_pair
from tests.benchmarks import benchmark
from tests.scenes.synth_world import draw_waves, make

extraction = benchmark("extraction")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pair, and two drives of a clip."""
    folder = tmp_path_factory.mktemp("ground")
    write_pair(folder)
    with pytest.MonkeyPatch.context() as patched:
        draw_waves(patched)
        make(folder / "world", drives=2, clips=1)
    return folder


def test_random_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    call = ["--size", "tiny", "--device", "cpu", "--clips", "2", "--questions", "2"]
    code = extraction.main([*call, "--tokens", "5", "--rounds", "2", "--json", str(out)])
    found = json.loads(out.read_text())
    assert code == (0 if found["reached"] else 1)
    assert len(found["pairs_per_second"]) == 2
    ratios = [one["ours"] / one["per_question"] for one in found["pairs_per_second"]]
    assert min(ratios) <= found["ratio"] <= max(ratios)
    assert found["reached"] == (found["ratio"] >= 8.0)
    assert capsys.readouterr().out.count("pairs/s") == 2


def test_the_procedure_stores_what_one_generate_per_question_gives(
    ground: Path, tmp_path: Path
) -> None:
    questions = ["What is ahead?", "Who is crossing?"]
    with PairModels(ModelPair.find(str(ground / "tiny.yaml"))) as models:
        clips = extraction.of_dataset(models, ground / "world", 2, questions)
        out = tmp_path / "chunk.pt"
        made = extraction.per_question(models.target, models.drafter, clips, 7, out)
        assert made == 4
        assert extraction.side_by_side(models.target, models.drafter, clips, 7) == 4
        answers = [models.target.open(c.target[0]).answer_many(c.target, 7) for c in clips]
    chunk = torch.load(out, weights_only=True)
    lengths = chunk["seq_lens"].tolist()
    assert chunk["vl_hidden"].shape == (*chunk["egpt_hidden"].shape[:2], 64)
    assert len(chunk["vl_hidden"]) == len(lengths)
    said = [len(one.tokens) for clip in answers for one in clip]
    assert all(5 <= n <= max(said) for n in lengths)


def test_the_command_is_run_and_its_rate_taken(
    ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []

    def run(call: list[str], **_: Any) -> SimpleNamespace:
        called.append(call)
        return SimpleNamespace(returncode=0, stdout='{"pairs_per_s": 1e6}', stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    out = tmp_path / "found.json"
    code = extraction.main(
        ["--scenes", str(ground / "world"), "--pair", str(ground / "tiny.yaml"), "--clips", "2",
         "--per-question-clips", "1", "--questions", "1", "--tokens", "2", "--rounds", "2",
         "--json", str(out)]
    )  # fmt: skip
    assert code == 0 and json.loads(out.read_text())["reached"]
    stores = [call[call.index("--out") + 1] for call in called]
    assert len(set(stores)) == 2, "every run makes a store of its own"


def test_wrong_calls(capsys: pytest.CaptureFixture[str]) -> None:
    assert extraction.main([]) == 2
    assert extraction.main(["--size", "huge"]) == 2
    assert extraction.main(["--size", "tiny", "--tokens", "0"]) == 2
    assert "one of 7b, tiny" in capsys.readouterr().err
