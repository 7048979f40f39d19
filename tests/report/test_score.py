"""Tables of a score: percent with intervals, what was not probed left out."""

from __future__ import annotations

from typing import Any

from crossdraft.report.score import attribute_table, checked_lines, lines, probe_table

HALF = {"value": 0.5, "low": 0.25, "high": 0.75}
NONE = {"value": None, "low": None, "high": None}
SCORED: dict[str, Any] = {
    "answers": 4000,
    "exact": HALF,
    "ended": {"value": 1.0, "low": None, "high": None},
    "attributes": {
        "road": {"right": 1790, "of": 3580, "silent": 3, "invented": 12, "unnamed": 1420,
                 "accuracy": HALF, "swapped": NONE,
                 "chance": {"value": 0.125, "low": 0.1, "high": 0.2}},
    },
    "unseen": {"colour": {"answers": 1234, "share": HALF}, "time": {"answers": 0, "share": HALF}},
    "probes": {
        "colour": {"prompt": {"rows": 392, "accuracy": HALF, "majority": 0.21, "permuted": 0.179,
                              "by_kind": 0.281},
                   "answer": None},
    },
    "calibration": {"tau": {"value": 2.9, "low": 2.8, "high": 3.0}, "position_match": HALF,
                    "tokens": {"mean": 35.84}, "distinct": 0.941,
                    "split": "5 folds of whole drives"},
}  # fmt: skip


def test_attributes_stand_in_percent_with_their_controls() -> None:
    head, (row,) = attribute_table(SCORED)
    assert len(head) == len(row)
    assert row == (
        "road", "1,790", "3,580", "50.0 [25.0, 75.0]", "–", "12.5 [10.0, 20.0]",
        "12 of 1,420",
    )  # fmt: skip
    assert head[-1] == "invented"


def test_probes_that_were_not_made_are_left_out() -> None:
    head, rows = probe_table(SCORED)
    assert rows == [("colour", "prompt", "392", "50.0 [25.0, 75.0]", "21.0", "17.9", "28.1")]
    assert len(head) == len(rows[0])


def test_lines_tell_what_the_tables_do_not() -> None:
    whole, unseen, predictable = lines(SCORED)
    assert whole == (
        "4,000 answers, 50.0 [25.0, 75.0] % word for word the true one, 100.0 % ended by themselves"
    )
    assert unseen == "answers that name what leaves no event: colour 1,234, time 0"
    assert "table 2.90 [2.80, 3.00], position match 50.0 [25.0, 75.0] %, 35.8 tokens" in predictable
    assert predictable.endswith("94.1 % distinct; 5 folds of whole drives")
    assert len(list(lines({**SCORED, "unseen": None}))) == 2


def test_a_line_for_each_check() -> None:
    told = {"model": "target", "name": "road right", "wanted": "at least 0.9"}
    checks: list[dict[str, Any]] = [
        {**told, "value": 0.95, "ok": True},
        {**told, "value": None, "ok": False},
    ]
    assert list(checked_lines(checks)) == [
        "ok      target   road right: 0.950 (at least 0.9)",
        "FAILED  target   road right: not measured (at least 0.9)",
    ]
