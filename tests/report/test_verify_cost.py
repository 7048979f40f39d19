"""Tables of verification's cost hold its numbers; the figure is drawn from them alone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from crossdraft.base.result import Result
from crossdraft.report.verify_cost import (
    FIGURE,
    describe,
    draw_verify_cost,
    results_markdown,
    tables,
    write_report,
)
from crossdraft.vlm.cost_curve import SHAPES, CostCurves
from tests.vlm.costs import cost, curves

MADE = curves({1: 1.0, 4: 1.25, 8: 1.5, 16: 2.0}, {1: 1.0, 4: 1.5, 8: 1.75, 16: 2.5})


def result_of(made: CostCurves = MADE, **changes: Any) -> dict[str, Any]:
    advice = {
        shape: [asdict(made.advise(alpha, shape)) for alpha in (0.1, 0.8)] for shape in SHAPES
    }
    payload = {"model": "made up", **made.to_json(), "advice": advice, "notes": ["a note"]}
    return Result("bench verify-cost", payload | changes, {}, (), ["a warning"]).to_json()


def test_every_width_has_a_row() -> None:
    passes = tables(result_of())[0]
    assert passes.head == ("k", "chain ms", "chain T(k)/T(1)", "tree ms", "tree T(k)/T(1)")
    assert passes.rows[0] == ("1", "10.00", "1.00", "10.00", "1.00")
    assert passes.rows[2] == ("8", "15.00", "1.50 [1.40, 1.60]", "17.50", "1.75 [1.65, 1.85]")
    assert len(passes.rows) == 4


def test_tails_stand_beside_a_pass_of_their_own() -> None:
    tails = tables(result_of(curves({1: 1.0, 4: 1.25, 6: 1.5})))[1]
    assert tails.rows[0] == ("3", "2.00", "0.20 [0.10, 0.30]", "1.25", "1.05")
    assert tails.rows[1][3:] == ("–", "–"), "8 tokens are wider than what was measured"
    assert "question of 15 tokens" in tails.note and "25.00 ms" in tails.note


def test_without_tails_there_is_no_table_of_them() -> None:
    assert len(tables(result_of())) == 3
    assert len(tables(result_of(curves({1: 1.0, 4: 1.5}, tail=())))) == 2


def test_advice_stands_by_acceptance() -> None:
    advice = tables(result_of())[-1]
    assert advice.rows[0][0] == "0.1" and advice.rows[1][0] == "0.8"
    best = MADE.advise(0.8)
    assert best.gamma > 0
    assert advice.rows[1][1:4] == (
        str(best.gamma), f"{best.tokens_per_pass:.2f}", f"{best.speedup:.2f}",
    )  # fmt: skip
    dear = tables(result_of(curves({1: 1.0, 4: 4.0})))[-1]
    assert dear.rows[0][1:] == ("0", "1.00", "1.00", "0", "1.00", "1.00")


def test_description_names_model_and_machine() -> None:
    text = "\n".join(describe(result_of()))
    for said in (
        "made up: 1,234 parameters",
        "float32 on cpu: made up, 2 threads",
        "growing cache",
        "transformers 5.23.0",
        "300 tokens in the cache, 20 rounds",
    ):
        assert said in text


def test_markdown_has_tables_notes_and_origin() -> None:
    result = result_of()
    page = results_markdown(result)
    for said in ("- a warning", "- a note", "## Provenance", f"({FIGURE})", "`--cost-curve`",
                 *(table.title for table in tables(result))):  # fmt: skip
        assert said in page


def test_figure_is_the_same_every_time(tmp_path: Path) -> None:
    result = result_of()
    written = write_report(result, tmp_path)
    assert {path.name for path in written} == {FIGURE, "RESULTS.md"}
    draw_verify_cost(result, tmp_path / "again.png")
    assert (tmp_path / FIGURE).read_bytes() == (tmp_path / "again.png").read_bytes()
    other = result_of(curves({1: 1.0, 4: 3.0, 16: 9.0}))
    draw_verify_cost(other, tmp_path / "other.png")
    assert (tmp_path / FIGURE).read_bytes() != (tmp_path / "other.png").read_bytes()
    with Image.open(tmp_path / FIGURE) as picture:
        assert picture.width > 1000


def test_figure_without_tails_or_with_nothing_to_gain(tmp_path: Path) -> None:
    dear = curves({1: 1.0, 2: 2.0}, tail=())
    draw_verify_cost(result_of(dear), tmp_path / "dear.png")
    only = curves({1: 1.0}, tail=(cost(3, -0.2),))
    draw_verify_cost(result_of(only), tmp_path / "only.png")
    assert {path.name for path in tmp_path.iterdir()} == {"dear.png", "only.png"}
