"""Tables and RESULTS.md of an analysis come from the result alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.result import Result
from crossdraft.evaluation.analysis import AnalyzeConfig, analyze
from crossdraft.report.analysis import (
    analysis_markdown,
    closing_lines,
    position_table,
    sample_lines,
    summary_table,
    write_analysis,
)

VERIFICATION = {"tokens": 3, "forwards": 2, "tau": 1.5, "accepted": [0, 1], "drafted": [0, 5],
                "first_window": 0}  # fmt: skip


@pytest.fixture
def result(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "rows.json"
    value = {
        "name": "left | turn",
        "drafter": [5],
        "adapter": [7, 9, 6],
        "target": [7, 8, 6],
        "texts": {"drafter": "[red]*x*", "target": "car\tgo \x1b[2J<b>"},
    }
    path.write_text(json.dumps([value, {**value, "adapter": [1, 2, 3]}]))
    found = analyze(AnalyzeConfig(tokens=path))
    return Result("analyze", found.payload, {}, found.inputs, found.warnings).to_json()


@pytest.fixture
def verified(result: dict[str, Any]) -> dict[str, Any]:
    """The same as if a checkpoint had been analysed."""
    sample = result["samples"][0]
    sample |= {"verification": VERIFICATION, "clip": "c1", "question": "What is it?"}
    sample["matches"][0] = None
    total = {"gamma": 5, "window": 22, **VERIFICATION}
    drafter = {"name": "token-adapter", "path": "best"}
    more = {"drafter_shifted": result["summary"]["drafter"]}
    return result | {
        "verification": total, "drafter": drafter, "clock": "measured", "compared_from": 1,
        "summary": result["summary"] | more,
    }  # fmt: skip


def test_one_row_per_position(result: dict[str, Any]) -> None:
    head, rows = position_table(result["samples"][0])
    assert head == ("pos", "drafter", "adapter", "target", "match")
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert [row[4] for row in rows] == ["✓", "✗", "✓"]
    assert rows[0][1] == "[red]*x* ⟨5⟩"
    assert rows[1][1:3] == ("–", "⟨9⟩"), "no token, and an id that nothing tells about"
    assert position_table(result["samples"][0], 2)[1] == rows[:2]


def test_positions_that_are_not_compared_are_marked(verified: dict[str, Any]) -> None:
    assert position_table(verified["samples"][0])[1][0][4] == "·"


def test_what_could_steer_a_terminal_is_escaped(result: dict[str, Any]) -> None:
    text = analysis_markdown(result)
    assert "\x1b" not in text
    assert "\\x1b" in text
    assert "\t" not in text


def test_summary(verified: dict[str, Any]) -> None:
    head, rows = summary_table(verified)
    assert len(head) == len(rows[0])
    assert rows[0] == ("adapter", "33.3", "2/6", "0.50", "0.5", "1", "50.0")
    assert [row[0] for row in rows] == [
        "adapter", "drafter's own words", "drafter's own words, shifted"
    ]  # fmt: skip
    closing = "\n".join(closing_lines(verified))
    assert "0 in 1, 1 in 1 of 2 samples" in closing
    assert "chains of 5: tau 1.50" in closing
    assert "nothing is proposed that early" in closing
    below = "\n".join(sample_lines(verified["samples"][0]))
    assert "1 consecutive, 2 of 3 positions match (66.7 %)" in below
    assert "accepted per forward: 0 1" in below


def test_markdown_says_everything(verified: dict[str, Any], tmp_path: Path) -> None:
    path = write_analysis(verified, tmp_path)
    text = path.read_text(encoding="utf-8")
    assert path.name == "RESULTS.md"
    assert "## Sample 0: left \\| turn" in text
    assert "Clip c1, asked: What is it?" in text
    assert "token-adapter: its row is what it writes alone" in text
    assert all(warning.split(":")[0] in text for warning in verified["warnings"])
    assert verified["provenance"]["inputs"][0]["sha256"] in text
    assert "\\[red\\]\\*x\\*" in text, "words are no markup"
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {4, 6, 8}


def test_nothing_compared_is_a_dash(result: dict[str, Any]) -> None:
    result["summary"]["adapter"]["match_rate"] = None
    assert summary_table(result)[1][0][1] == "–"
