"""Tables of an estimate hold its numbers and say what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossdraft.base.result import Result
from crossdraft.evaluation.estimate import estimate
from crossdraft.evaluation.estimate_config import EstimateConfig
from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import PairSet
from crossdraft.report.estimate import describe_times, results_markdown, tables
from tests.make import recorded_pairs


def result_of(**options: Any) -> dict[str, Any]:
    config = EstimateConfig.parse(**options)
    outcome = estimate(config)
    resolved = config.model_dump(mode="json")
    return Result("estimate", outcome.payload, resolved, (), outcome.warnings).to_json()


def stage_file(folder: Path) -> Path:
    path = folder / "stages.jsonl"
    write_pairs(PairSet(recorded_pairs(40, timed=True), "benchmark"), path)
    return path


def test_formula_and_published_times_without_any_option() -> None:
    result = result_of()
    formula, window, limits = tables(result)
    assert dict(zip(formula.head, formula.rows[1], strict=True))["gamma 5"] == "1.363"
    assert "speed-up only where drafting is free" in formula.note
    assert window.rows[0] == ("sensor data", "target's prefill ends", "360.4", "37.0")
    assert [row[0] for row in limits.rows] == ["1", "1.2", "2", "4.6"]
    assert "RTX 4090" in describe_times(result)


def test_replay_stands_beside_the_target_alone(tmp_path: Path) -> None:
    result = result_of(stage_file=stage_file(tmp_path), replay="suffix", verify="own", kth=4)
    stages, speedup = tables(result)[1], tables(result)[-1]
    assert stages.head == ("stage", "event model", "target")
    assert stages.rows[3] == ("4 prefill", "14.0 ± 0.0", "30.0 ± 0.0")
    assert "no speed-up of one over the other" in stages.note
    assert speedup.rows[0][:2] == ("target alone", "1.00")
    assert "token 4, ms" in speedup.head
    assert "`suffix` replayed, chain of 5, static" in speedup.title
    assert "passes of their own" in speedup.note
    assert len(speedup.rows) == 5
    cells = {len(table.head) for table in tables(result) for _ in table.rows}
    assert cells == {len(row) for table in tables(result) for row in table.rows}


def test_one_table_for_each_acceptance(tmp_path: Path) -> None:
    result = result_of(alpha=(0.2, 0.8), gamma=(3, 5), verify_ratio=(1.0, 2.0))
    predicted = [table for table in tables(result) if "predicted" in table.title]
    assert [table.title.rpartition(": ")[2] for table in predicted] == [
        "alpha 0.2, gamma 3", "alpha 0.2, gamma 5", "alpha 0.8, gamma 3", "alpha 0.8, gamma 5",
    ]  # fmt: skip
    assert all("interval" not in table.note for table in predicted)


def test_markdown_says_what_is_assumed_and_where_it_is_from(tmp_path: Path) -> None:
    result = result_of(stage_file=stage_file(tmp_path), replay="suffix")
    page = results_markdown(result)
    for said in (*result["assumptions"], *result["warnings"], *(t.title for t in tables(result))):
        assert said in page
    assert "## Provenance" in page
    assert "| target alone |" in page
