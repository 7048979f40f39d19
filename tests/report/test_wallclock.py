"""Tables and figures of timed answers come from the result alone, and hide no answer."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from crossdraft.base.result import Result
from crossdraft.bench.wallclock.record import Run
from crossdraft.bench.wallclock.summary import Equality, Facts, summarise
from crossdraft.report import style
from crossdraft.report.wallclock import FIGURES, TIMELINE, describe, tables, write_report
from crossdraft.report.wallclock_figures import in_lines
from crossdraft.report.wallclock_tables import differences, main_table, stages
from crossdraft.report.wallclock_text import COLUMNS, _placed, draw_text
from crossdraft.report.wallclock_timeline import draw_timeline, leaves
from tests.bench.wallclock.made_runs import PLAIN, TOKENS, facts, plain, run

FAULT = {
    "scene": "clip0", "question": "What is ahead?", "place": 3, "margin": 1.25, "noise": 1e-6,
    "verdict": "fault", "why": "the margin is large",
}  # fmt: skip
ABOUT = (
    PLAIN,
    facts("suffix"),
    facts("text@shuffled", shuffled=True),
    facts("broken", equality=Equality(2, 1, 0, (FAULT,))),
    facts("typical", lossy=True),
    facts("hf-generate", kind="hf", drafter=None, verify=None),
    facts("seed-procedure", kind="seed-procedure"),
    facts("event model", kind="drafter-only", drafter=None),
)
TOTALS = dict(zip((f.name for f in ABOUT), (290, 145, 300, 100, 120, 310, 400, 50), strict=True))


def made_runs(about: Sequence[Facts]) -> list[Run]:
    runs = []
    for one in about:
        for number in range(2):
            total_ms = TOTALS.get(one.name, 200.0) + number
            values: dict[str, Any] = {"number": number, "first_ms": 40.0, "total_ms": total_ms}
            if one.kind == "speculative":
                values |= {"forwards": [(4, 3, 4)] * 5, "mode": "thread", "event_model_ms": 30.0}
            if one.name == "event model":
                values["tokens"] = (7,) * len(TOKENS)
            runs.append(plain(**values) if one.kind == "plain" else run(one.name, **values))
    return runs


def result_of(about: Sequence[Facts] = ABOUT, **more: Any) -> dict[str, Any]:
    said = {"suffix": {"total_ms": 160.0, "speedup": 1.8}}
    found = summarise(
        made_runs(about), {one.name: one for one in about}, cost=lambda _: 1.0, step_ms=10.0,
        predictions=said, resamples=50,
    )  # fmt: skip
    made = Result("bench wallclock", {**found.payload, **more}, {}, (), ["a warning"])
    loaded: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    return loaded


def span(name: str, start_ms: float, end_ms: float) -> dict[str, Any]:
    return {"name": name, "start_ms": start_ms, "end_ms": end_ms, "device": "cpu"}


def token(text: str, kind: str = "plain", by: str | None = None) -> dict[str, Any]:
    return {"text": text, "by": by, "kind": kind, "pass": 0}


def example(tokens: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
    spans = [span("read", 0, 10), span("sensor", 0, 4), span("pixels", 4, 10)]
    spans += [span("prefill", 10, 50), span("verify", 50, 90), span("odd one", 90, 95)]
    said = [token(" a", "accepted", "suffix"), token(" $b", "corrected"), token(" c", "bonus")]
    return {
        "scene": "clip0",
        "question": "What is $ahead$?",
        "baseline": {"configuration": "none", "spans": {"target": spans}, "total_ms": 95.0},
        "configuration": {
            "configuration": "suffix",
            "spans": {"target": spans, "event model": [span("decode", 3, 200)]},
            "total_ms": 90.0,
            "tokens": [*said, token("\n")] if tokens is None else tokens,
        },
    }


def test_main_table_shows_every_configuration() -> None:
    table = main_table(result_of())
    shown = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    assert list(shown) == [one.name for one in ABOUT]
    suffix = shown["suffix"]
    assert suffix["tau"].startswith("4.00") and suffix["first window"].startswith("3.00")
    assert suffix["first token ms"] == "40.0" and suffix["total ms"] == "145.5"
    assert suffix["speed-up"].startswith("2.00")
    assert suffix["× hf-generate"] == "2.13"
    assert (suffix["equal"], suffix["predicted speed-up"], suffix["error %"]) == (
        "2/2", "1.80", "+10.9",
    )  # fmt: skip
    assert shown["text@shuffled"]["slower %"] == "100 (0)"


def test_no_speedup_is_shown_where_answers_differ() -> None:
    result = result_of()
    table = main_table(result)
    shown = {row[0]: dict(zip(table.head, row, strict=True)) for row in table.rows}
    for name in ("broken", "event model"):
        assert shown[name]["speed-up"] == shown[name]["× hf-generate"] == "–"
        assert f"`{name}` has none" in table.note
    assert "lossy" in table.note and "seed study" in table.note
    found = differences(result)
    assert found is not None and found.rows[0][3:] == ("3", "1.2", "1e-06", "fault")


def test_headline_is_the_best_of_the_lossless() -> None:
    text = describe(result_of(setting=["on a made-up machine"]))
    assert text[0] == "on a made-up machine"
    assert text[-1].startswith("`suffix` answers 2.00")
    slow = describe(result_of((PLAIN, facts("text@shuffled", shuffled=True))))
    assert slow[-1] == "No drafting configuration has a speed-up to tell."


def test_stages_keep_their_order() -> None:
    result = result_of()
    result["configurations"][0]["stages_ms"] = {"other": 1.0, "verify": 2.0, "new": 3.0}
    assert stages(result).head == (
        "configuration", "prefill", "decode", "verify", "new", "other", "total",
    )  # fmt: skip


def test_report_is_the_same_twice_and_names_its_figures(tmp_path: Path) -> None:
    result = result_of(example=example())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        written = write_report(result, tmp_path / name)
    assert {path.name for path in written} == {*FIGURES, TIMELINE, "RESULTS.md"}
    for path in written:
        assert path.read_bytes() == (tmp_path / "one" / path.name).read_bytes()
    page = written[0].read_text()
    for said in (*(f"({name})" for name in (*FIGURES, TIMELINE)), "- a warning",
                 "## Provenance", "## Answers that differ"):  # fmt: skip
        assert said in page
    with Image.open(tmp_path / "one" / TIMELINE) as picture:
        assert picture.width > 1000


def test_report_without_example_drafts_or_differences(tmp_path: Path) -> None:
    written = write_report(result_of((PLAIN,)), tmp_path)
    assert TIMELINE not in {path.name for path in written}
    page = written[0].read_text()
    assert TIMELINE not in page and "## Answers that differ" not in page


def test_terminal_tables_fit(capsys: pytest.CaptureFixture[str]) -> None:
    from crossdraft.cli.table import print_table

    for table in tables(result_of()):
        print_table(table.head, table.rows)
    printed = capsys.readouterr().out
    assert "…" not in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_leaves_leave_out_what_lies_around() -> None:
    spans = [span("sensor", 0, 4), span("read", 0, 10), span("pixels", 4, 10)]
    spans += [span("decode", 10, 20), span("commit", 20, 20), span("vision", 30, 40)]
    spans += [span("whole", 30, 40)]
    names = [one["name"] for one in leaves(spans)]
    assert names == ["sensor", "pixels", "decode", "commit", "vision"]


def test_text_is_whole_and_wrapped() -> None:
    words = random.Random(3).choices([" road", " a", ",", "\n", " " + "x" * 100, ""], k=80)
    placed = _placed([token(word) for word in words])
    assert all(column + len(text) <= COLUMNS for _, column, text, _ in placed)
    for (row, column, text, _), (next_row, next_column, _, _) in pairwise(placed):
        behind = (next_row, next_column) in ((row, column + len(text)), (row + 1, 0))
        assert behind, "no piece lies on another"
    said = "".join(text for _, _, text, _ in placed).replace(" ", "")
    assert said == "".join(word or "·" for word in words).replace("\n", "↵").replace(" ", "")


def test_kinds_and_sources_of_tokens_differ_without_colour(tmp_path: Path) -> None:
    tokens = [token("word", kind) for kind in ("corrected", "bonus", "plain")]
    tokens += [token("word", "accepted", by) for by in ("suffix", "text")]
    looks = []
    for one in tokens:
        with style.figure(tmp_path / "text.png") as (_, drawn):
            axes: Any = drawn
            # All of them, so that each source keeps its number; this one last, on a line apart.
            draw_text(axes, [*tokens, token("\n"), one], "suffix")
            last = max(text.get_position()[1] for text in axes.texts)
            letters = {
                (text.get_weight(), text.get_style())
                for text in axes.texts
                if text.get_position()[1] == last
            }
            lines = [line for line in axes.lines if abs(min(line.get_ydata()) - last) < 0.5]
            marks = tuple((str(line.get_linestyle()), len(line.get_xdata())) for line in lines)
            # A dashed line is `--` whatever its dashes are.
            dashes = tuple(str(line._unscaled_dash_pattern) for line in lines)
        looks.append((tuple(letters), marks, dashes))
    assert len(set(looks)) == len(tokens)


def test_long_names_leave_room_for_the_bars() -> None:
    place = "/home/somebody/study/runs/embedded/train-l1"
    name = f"seed-procedure={place}:{place}+gamma=4"
    lines = in_lines(name).split("\n")
    assert "".join(lines) == name, "nothing is left out"
    assert max(map(len, lines)) <= 34 and len(lines) < 5
    assert in_lines("seed-procedure=translator") == "seed-procedure=translator"


def test_odd_characters_are_drawn(tmp_path: Path) -> None:
    draw_timeline(example([token("漢"), token("\t"), token("\r\n"), token("")]), tmp_path / "a.png")
    draw_timeline(example([]), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "b.png").read_bytes()
