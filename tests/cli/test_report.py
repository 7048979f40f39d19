"""`crossdraft report compare`, `estimate --cost-model` and two-phase evaluations, from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import crossdraft_here


def test_compare_writes_one_file(extraction_file: Path, tmp_path: Path) -> None:
    for name, words in (("a", ["--gamma", "5"]), ("b", ["--gamma", "5"]), ("c", ["--gamma", "3"])):
        done = crossdraft_here(
            "evaluate", "--pairs", extraction_file, "--folds", "2", *words, "--out", name,
            cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    done = crossdraft_here("report", "compare", "a", "b", "c", "--out", "out.md", cwd=tmp_path)
    assert done.returncode == 0 and "written: out.md" in done.stdout, done.stderr
    text = (tmp_path / "out.md").read_text()
    assert text.count("\n| suffix |") == 2, "equal controls of one test stand once"
    assert "- c: " in text
    again = crossdraft_here("report", "compare", "a", "--out", "out.md", cwd=tmp_path)
    assert again.returncode == 2 and "exists" in again.stderr
    assert (tmp_path / "out.md").read_text() == text
    shown = crossdraft_here("report", "compare", "a", cwd=tmp_path)
    assert shown.stdout.startswith("# Comparison")
    refused = crossdraft_here("report", "compare", "nix", cwd=tmp_path)
    assert refused.returncode == 2 and "no such folder" in refused.stderr


def test_the_seed_studys_tables_need_no_run(tmp_path: Path) -> None:
    done = crossdraft_here("estimate", "--cost-model", "seed-b", "--json", cwd=tmp_path)
    rows = json.loads(done.stdout)["seed_cost"]["rows"]
    assert [f"{row['speedup']:.2f}" for row in rows] == [
        "1.54", "1.56", "1.56", "1.55", "1.45", "1.31"
    ]  # fmt: skip
    done = crossdraft_here(
        "estimate", "--cost-model", "seed-b", "--free-tokens", "3.82", "--decode-consecutive",
        "0.733", "--vl-prefill-ms", "310", "--out", "run", cwd=tmp_path,
    )  # fmt: skip
    assert "1.54" in done.stdout and "not a measurement" in done.stdout
    assert "1.54" in (tmp_path / "run" / "RESULTS.md").read_text()
    done = crossdraft_here("estimate", "--cost-model", "seed-a", cwd=tmp_path)
    assert "0.99" in done.stdout, "all accepted, and still slower than the target alone"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--free-tokens", "3"], "belongs to --cost-model"),
        (["--cost-model", "seed-b", "--alpha", "0.3"], "--alpha beside --cost-model"),
        (["--cost-model", "seed-b", "--kth", "3"], "written"),
        (["--cost-model", "seed-x"], "seed-a or seed-b"),
        (["--cost-model", "seed-b", "--vl-per-token-ms", "0"], "--vl-per-token-ms"),
    ],
)
def test_options_that_do_not_belong_are_refused(
    tmp_path: Path, words: list[str], said: str
) -> None:
    done = crossdraft_here("estimate", *words, cwd=tmp_path)
    if said != "written":
        assert done.returncode == 2 and said in done.stderr


def test_two_phases_by_flags_and_by_file(extraction_file: Path, tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(
        "configurations: {P+S: {prefill: position, decode: suffix}, S-only: {decode: suffix}}"
    )
    done = crossdraft_here(
        "evaluate", "--pairs", extraction_file, "--folds", "2", "--prefill-drafter", "position",
        "--decode-drafter", "suffix", "--two-phase", "two.yaml", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    drafters = json.loads(done.stdout)["drafters"]
    assert drafters["position:suffix"]["tau"] == drafters["P+S"]["tau"]
    assert drafters["S-only"]["first_window"]["value"] == 0
    half = crossdraft_here(
        "evaluate", "--pairs", extraction_file, "--folds", "2", "--decode-drafter", "suffix",
        "--json", cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(half.stdout)["drafters"]["none:suffix"]["tau"] == drafters["S-only"]["tau"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--decode-drafter", "sufix"], "'sufix'"),
        (["--checkpoints", "runs"], "belongs to --two-phase"),
        (["--cost-model", "seed-x"], "--cost-model"),
        (["--gamma-decode", "0"], "--gamma-decode"),
        (["--lm-head", "nix.safetensors"], "a pair store"),
    ],
)
def test_wrong_two_phase_options(extraction_file: Path, words: list[str], said: str) -> None:
    done = crossdraft_here(
        "evaluate", "--pairs", extraction_file, *words, cwd=extraction_file.parent
    )
    assert done.returncode == 2 and said in done.stderr, done.stderr
