"""`crossdraft evaluate` from the outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from crossdraft.pairs.formats import read_pairs, write_pairs
from crossdraft.pairs.record import PairSet
from tests.cli.run import crossdraft
from tests.make import recorded_pairs
from tests.tiny import tiny_options

RATIOS = ("tau", "alpha", "top5", "first_window", "nothing_accepted", "forwards_per_answer",
          "position_match", "position_match_top5", "seed_match", "seed_match_top5")  # fmt: skip


def evaluate(extraction_file: Path, *arguments: str | Path) -> dict[str, Any]:
    done = crossdraft(
        "evaluate", "--pairs", extraction_file, *arguments, "--json", cwd=extraction_file.parent
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert isinstance(result, dict)
    return result


def test_evaluate_prints_every_metric(extraction_file: Path, tmp_path: Path) -> None:
    curve = tmp_path / "curve.json"
    curve.write_text('{"tokens": [1, 61], "ratio": [1.0, 2.5]}')
    result = evaluate(
        extraction_file, "suffix", "--nodes", "60", "--depth", "16", "--cost-curve", curve
    )
    assert list(result["drafters"]) == [
        "none", "position", "suffix", "drafter-text", "drafter-text@shuffled"
    ]  # fmt: skip
    for metrics in result["drafters"].values():
        for name in (*RATIOS, "tau_per_cost"):
            estimate = metrics[name]
            assert estimate["low"] <= estimate["value"] <= estimate["high"], name
        assert len(metrics["by_position"]) == 15
    assert (
        result["drafters"]["suffix"]["tau_per_cost"]["value"]
        < (result["drafters"]["suffix"]["tau"]["value"])
    )


def test_evaluate_writes_the_run_folder(extraction_file: Path) -> None:
    done = crossdraft("evaluate", "--pairs", extraction_file, cwd=extraction_file.parent)
    assert done.returncode == 0, done.stderr
    (folder,) = (extraction_file.parent / "runs").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml", "result.json", "RESULTS.md", "acceptance_by_position.png",
        "tokens_per_forward.png",
    }  # fmt: skip
    assert folder.name in done.stdout
    assert "@shuffled" in done.stdout
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config == json.loads((folder / "result.json").read_text())["config"]


def test_out_folder_is_not_overwritten(extraction_file: Path, tmp_path: Path) -> None:
    evaluate(extraction_file, "--out", tmp_path / "out")
    before = (tmp_path / "out" / "result.json").read_bytes()
    again = crossdraft(
        "evaluate", "--pairs", extraction_file, "--out", tmp_path / "out", cwd=tmp_path
    )
    assert again.returncode == 2
    assert "already holds a result" in again.stderr
    assert (tmp_path / "out" / "result.json").read_bytes() == before


def test_train_pairs_and_folds(extraction_file: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    train = tmp_path / "train.jsonl"
    drive = recorded_pairs(50, seed=1)
    other = tuple(replace(p, clip="t" + p.clip, dataset="other") for p in drive)
    write_pairs(PairSet(other, "extraction"), train)
    by_file = evaluate(extraction_file, "--train-pairs", train)
    assert "50 pairs" in by_file["data"]["split"]
    assert len(by_file["provenance"]["inputs"]) == 2
    by_folds = evaluate(extraction_file, "--folds", "3", "--gap", "2")
    assert by_folds["data"]["split"] == "3 folds of contiguous blocks, gap 2 clips"
    leaking = crossdraft(
        "evaluate", "--pairs", extraction_file, "--train-pairs", extraction_file, cwd=tmp_path
    )
    assert leaking.returncode == 2
    assert "share 60 clips" in leaking.stderr


def test_arrived_limits_what_the_drafter_reads(tmp_path: Path) -> None:
    # A drafter that says what the target says: only arrival limits it.
    from dataclasses import replace

    pairs = tuple(replace(p, draft_tokens=p.target_tokens) for p in recorded_pairs(60))
    path = tmp_path / "a.jsonl"
    write_pairs(PairSet(pairs, "extraction"), path)
    window = {
        arrived: evaluate(path, "--arrived", arrived)["drafters"]["drafter-text"]["first_window"]
        for arrived in ("0", "3", "clock", "all")
    }
    assert window["0"]["value"] == 0
    assert window["3"]["value"] == 3
    assert window["clock"]["value"] == window["all"]["value"] > 9


def test_terminal_table_names_interval_and_folder(extraction_file: Path) -> None:
    done = crossdraft("evaluate", "--pairs", extraction_file, cwd=extraction_file.parent)
    for word in ("tau", "match %", "95 % interval", "tokens_per_forward.png", "note:"):
        assert word in done.stdout
    assert "…" not in done.stdout, "nothing is cut to fit"
    assert max(map(len, done.stdout.splitlines()[2:14])) <= 80


@pytest.mark.parametrize("kind", ["jsonl", "json"])
def test_formats_give_the_same_numbers(extraction_file: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / f"other.{kind}"
    assert crossdraft("convert", extraction_file, other, cwd=tmp_path).returncode == 0
    assert evaluate(other)["drafters"] == evaluate(extraction_file)["drafters"]
    assert len(read_pairs(other)) == 60


def test_options_reach_the_trainings(tmp_path: Path, extraction_file: Path) -> None:
    options = [f"token-adapter.{k}={v}" for k, v in tiny_options("token-adapter").items()]
    words = [word for text in [*options, "learning-rate=1e-2"] for word in ("--option", text)]
    done = crossdraft(
        "evaluate", "token-adapter", "--pairs", extraction_file, "--folds", "2", "--num-epochs",
        "1", *words, "--out", "run", "--json", cwd=tmp_path,
    )  # fmt: skip
    result = json.loads(done.stdout)
    assert result["config"]["train"]["learning_rate"] == 0.01
    assert result["config"]["train"]["token-adapter"]["embed_dim"] == 16
    for wrong, message in (("num_epochs", "DRAFTER"), ("suffix.num_epochs=1", "not trained here"),
                           ("num_epochs=many", "--num-epochs")):  # fmt: skip
        refused = crossdraft(
            "evaluate", "token-adapter", "--pairs", extraction_file, "--option", wrong, cwd=tmp_path
        )
        assert refused.returncode == 2
        assert message in refused.stderr
