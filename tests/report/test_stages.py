"""Tables of stages hold the measured numbers; the figure is drawn from them alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from crossdraft.base.result import Result
from crossdraft.bench.stages_group import Failure, Group, summary
from crossdraft.report.stages import FIGURE, describe, results_markdown, tables, write_report
from tests.bench.staged import FACTS, clip


def result_of(*groups: Group, **changes: Any) -> dict[str, Any]:
    payload = {
        "question": "What is ahead?", "models": FACTS, "threads": 1, "date": "2026-01-01",
        "durations": [summary(group) for group in groups],
        "errors": [{"scene": one.scene, "role": one.role, "error": one.error}
                   for group in groups for one in group.failures],
    }  # fmt: skip
    return Result("bench stages", payload | changes, {}, (), ["a warning"]).to_json()


SHORT = Group(500_000, (clip(0), clip(1, slower=3)))
LONG = Group(1_000_000, (clip(0, slower=2),), (Failure("drive/000001", 1, "target", "cut"),))


def test_every_stage_has_a_row() -> None:
    stages = tables(result_of(SHORT))[0]
    rows = {row[0].strip(): row[1:] for row in stages.rows}
    assert stages.head == ("stage", "event model", "target")
    assert rows["1 load"] == ("2.0 ± 1.4", "4.0 ± 2.8")
    assert rows["of it drawing events"] == ("0.5 ± 0.0", "–")
    assert rows["prefill complete"] == ("20.0 ± 14.1", "40.0 ± 28.3")
    assert rows["total"] == ("36.0 ± 25.5", "120.0 ± 84.9")
    assert rows["per decoded token"] == ("4.00", "80.00")
    assert rows["prompt tokens"] == ("40 ± 0", "40 ± 0")
    assert not any("memory" in name for name in rows), "a CPU has none to tell"


def test_the_window_and_memory_where_there_is_some() -> None:
    memory = {"eventgpt": {"mean": 1.5e9, "std": None}, "videollava": None}
    group = summary(LONG) | {"peak_memory_bytes": memory}
    stages, window = tables(result_of(durations=[group]))
    assert stages.rows[-1] == ("peak GPU memory, GB", "1.50", "–")
    assert window.rows[0] == ("its last prefill pass starts", "8.0", "3.0")
    assert window.rows[1] == ("its prefill ends", "20.0", "5.0")


def test_a_length_without_a_measured_clip_has_no_table() -> None:
    empty = Group(0, (), (Failure("drive/000009", 0, "drafter", "no such file"),))
    result = result_of(empty, SHORT, LONG)
    assert len(tables(result)) == 4
    text = results_markdown(result)
    assert "- drive/000009 (drafter): no such file" in text
    assert "- drive/000001 (target): cut" in text
    assert "- a warning" in text and "## Provenance" in text


def test_the_report_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    result = result_of(SHORT, LONG)
    assert "event model: Llama, 1,000 parameters, float32 on cpu" in describe(result)
    drawn = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        files = write_report(result, tmp_path / name)
        assert [file.name for file in files] == ["RESULTS.md", FIGURE]
        drawn.append(files[1].read_bytes())
    assert drawn[0] == drawn[1]
    with Image.open(tmp_path / "one" / FIGURE) as image:
        assert image.width > 1000
