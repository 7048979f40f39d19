"""`crossdraft estimate` from the outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from crossdraft.pairs.formats import write_extraction, write_pairs
from crossdraft.pairs.record import PairSet
from tests.cli.run import crossdraft
from tests.make import recorded_pairs


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    """60 made-up clips with measured stages."""
    path = tmp_path / "stages.jsonl"
    write_pairs(PairSet(recorded_pairs(60, timed=True), "benchmark"), path)
    return path


def test_json_carries_stages_window_and_estimates(stages: Path) -> None:
    done = crossdraft("estimate", stages, "--replay", "suffix", "--json", cwd=stages.parent)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "estimate")
    for model in ("eventgpt", "videollava"):
        names = {*(f"stage{number}_ms" for number in range(1, 6)), "total_ms"}
        assert all(result["stages"][model][name].keys() == {"mean", "std"} for name in names)
    assert result["window"], "what is free"
    assert [entry["verify_ratio"] for entry in result["estimates"]] == [1.0, 1.2, 2.0, 4.6]
    for entry in result["estimates"]:
        assert entry["speedup"].keys() == {"value", "low", "high"}
        assert entry.keys() >= {"first_token_ms", "kth_token_ms", "total_ms", "target_alone"}
    assert len(result["provenance"]["inputs"]) == 1
    assert [path.name for path in stages.parent.iterdir()] == [stages.name], "nothing is written"


def test_terminal_shows_tables_that_fit(stages: Path) -> None:
    done = crossdraft(
        "estimate", stages, "--replay", "suffix", "--nodes", "12", "--depth", "6", "--online",
        cwd=stages.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("1.363", "4 prefill", "Free window", "target alone", "prefill floor", "assumed:",
                 "measured stages of each clip, stages.jsonl", "note:"):  # fmt: skip
        assert word in done.stdout, word
    assert "…" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_out_writes_the_run_folder(tmp_path: Path) -> None:
    call = ("estimate", "--alpha", "0.7", "--gamma", "5", "--egpt-prefill-ms", "130",
            "--egpt-per-token-ms", "25", "--vl-prefill-ms", "310", "--vl-per-token-ms", "25",
            "--adapter-latency-ms", "1.5", "--out", "run")  # fmt: skip
    done = crossdraft(*call, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "run"
    assert {p.name for p in folder.iterdir()} == {"config.yaml", "result.json", "RESULTS.md"}
    result = json.loads((folder / "result.json").read_text())
    assert result["config"] == yaml.safe_load((folder / "config.yaml").read_text())
    assert result["config"]["draft_first_ms"] == 130.0
    assert "alpha 0.7, gamma 5" in (folder / "RESULTS.md").read_text()
    again = crossdraft(*call, cwd=tmp_path)
    assert (again.returncode, "already holds a result" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--baseline", "both"], "runs both models"),
        (["--alpha", "1.5"], "--alpha"),
        (["extraction.json", "--out", "run"], "no stage times"),
        (["extraction.json", "--vl-prefill-ms", "310"], "exclude each other"),
    ],
)
def test_wrong_calls_exit_2_and_write_nothing(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    write_extraction(PairSet(recorded_pairs(3), "extraction"), tmp_path / "extraction.json")
    done = crossdraft("estimate", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["extraction.json"]
