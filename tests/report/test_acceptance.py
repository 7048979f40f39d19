"""Figures and RESULTS.md come from the result alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.result import Result
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.run import evaluate
from crossdraft.report.acceptance import FIGURES, results_table, write_report


@pytest.fixture
def result(extraction_file: Path) -> dict[str, Any]:
    config = EvaluateConfig.parse(pairs=extraction_file, resamples=200)
    outcome = evaluate(config)
    return Result(
        "evaluate", outcome.payload, config.model_dump(mode="json"), [extraction_file],
        outcome.warnings,
    ).to_json()  # fmt: skip


def test_report_is_written_and_is_the_same_twice(result: dict[str, Any], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_report(result, tmp_path / name)
    for file in (*FIGURES, "RESULTS.md"):
        one, two = (tmp_path / name / file for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    assert (tmp_path / "one" / FIGURES[0]).read_bytes()[:4] == b"\x89PNG"


def test_results_name_their_figures_inputs_and_warnings(
    result: dict[str, Any], tmp_path: Path
) -> None:
    write_report(result, tmp_path)
    text = (tmp_path / "RESULTS.md").read_text()
    assert all(f"({name})" in text for name in FIGURES)
    assert all(warning in text for warning in result["warnings"])
    assert result["provenance"]["inputs"][0]["sha256"] in text
    head, rows = results_table(result)
    assert [row[0] for row in rows] == list(result["drafters"])
    assert "tau/cost" not in head, "no column without a curve"


def test_missing_values_are_shown_as_such(result: dict[str, Any], tmp_path: Path) -> None:
    for metrics in result["drafters"].values():
        metrics["tau"] = {"value": 1.5, "low": None, "high": None}
        metrics["alpha"] = {"value": None, "low": None, "high": None}
        metrics["by_position"][0] = {"value": 0.5, "low": None, "high": None}
    write_report(result, tmp_path)
    _, rows = results_table(result)
    assert rows[0][1:3] == ["1.50", "–"]


def _height(picture: Path) -> int:
    """Of a PNG, in pixels."""
    return int.from_bytes(picture.read_bytes()[20:24])


def test_many_drafters_have_room(result: dict[str, Any], tmp_path: Path) -> None:
    """More panels and longer pictures, where lines and names would lie on each other."""
    write_report(result, tmp_path)
    few = [_height(tmp_path / name) for name in FIGURES]
    one = result["drafters"]["suffix"]
    result["drafters"] |= {f"level-{n}": one for n in range(12)}
    result["drafters"] |= {f"level-{n}@shuffled": one for n in range(12)}
    write_report(result, tmp_path)
    many = [_height(tmp_path / name) for name in FIGURES]
    assert many[0] == 2 * few[0], "15 drafters of at most 8 a panel; twins are in the table"
    assert many[1] > 1.5 * few[1]


def test_what_shuffled_twins_read_is_said(result: dict[str, Any], tmp_path: Path) -> None:
    write_report(result, tmp_path)
    assert "read another clip's drafter answer" in (tmp_path / "RESULTS.md").read_text()
    result["config"]["shuffled_pairs"] = "elsewhere"
    write_report(result, tmp_path)
    assert "at another drive's events" in (tmp_path / "RESULTS.md").read_text()
