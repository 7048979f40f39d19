"""How much of the event model's time the target hides, in numbers that can be done by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from crossdraft.bench.wallclock.hidden import BEFORE, BESIDE, hidden
from crossdraft.bench.wallclock.record import Run
from tests.bench.wallclock.made_runs import run

NAMES = ("none", BEFORE, BESIDE)


def by_name(*questions: Sequence[float], part: str = "test") -> dict[str, list[Run]]:
    """Totals of (alone, before, beside) for each question."""
    return {
        name: [
            run(name, number=number, total_ms=float(totals[place]), first_ms=1.0, part=part)
            for number, totals in enumerate(questions)
        ]
        for place, name in enumerate(NAMES)
    }


def test_share_is_a_ratio_of_sums() -> None:
    """1 - (10 + 0) / (50 + 150), though the questions' own shares are 0.8 and 1."""
    found = hidden(by_name((100, 150, 110), (300, 450, 300)), seed=0)
    assert found is not None
    assert found["hidden"]["value"] == pytest.approx(0.95)
    assert found["event_model_ms"] == 100.0
    assert (found["alone_ms"], found["before_ms"], found["beside_ms"]) == (200.0, 300.0, 205.0)
    assert found["answers"] == 2


def test_nothing_is_hidden_where_beside_is_no_faster_than_before() -> None:
    found = hidden(by_name((100, 150, 150), (100, 160, 160), (100, 140, 140)), seed=0)  # 2 drives
    assert found is not None
    assert found["hidden"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_rounds_are_medians_and_validation_is_left_aside() -> None:
    by = by_name((100, 150, 110))
    by["none"] += [run(round=r, total_ms=ms, first_ms=1.0) for r, ms in ((1, 9e9), (2, 90.0))]
    for name, runs in by_name((1, 2, 3), part="validation").items():
        by[name] += runs
    found = hidden(by, seed=0)
    assert found is not None
    assert (found["alone_ms"], found["answers"]) == (100.0, 1)
    assert found["hidden"]["value"] == pytest.approx(0.8)


def test_a_question_counts_where_all_three_answered_it() -> None:
    by = by_name((100, 150, 110), (1, 2, 3))
    del by[BESIDE][1]
    found = hidden(by, seed=0)
    assert found is not None and found["answers"] == 1


@pytest.mark.parametrize("name", NAMES)
def test_without_one_of_the_three_nothing_is_said(name: str) -> None:
    by = by_name((100, 150, 110))
    assert hidden({key: runs for key, runs in by.items() if key != name}, seed=0) is None
    assert hidden({**by, name: []}, seed=0) is None


def test_work_that_was_never_done_is_not_hidden() -> None:
    """The event model had not finished beside the first target, and failed beside the second."""
    by = by_name((100, 150, 100), (100, 160, 100), (100, 150, 110))
    by[BEFORE] = [replace(one, event_words=9) for one in by[BEFORE]]
    by[BESIDE] = [
        replace(by[BESIDE][0], event_words=4),
        replace(by[BESIDE][1], event_words=9, warnings=("the event model failed",)),
        replace(by[BESIDE][2], event_words=9),
    ]
    found = hidden(by, seed=0)
    assert found is not None
    assert (found["answers"], found["left_out"]) == (1, 2)
    assert found["hidden"]["value"] == pytest.approx(0.8)
