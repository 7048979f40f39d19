"""Rows of timed answers: numbers that can be done by hand, and speed-ups that are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.bench.wallclock.record import Run
from crossdraft.bench.wallclock.summary import Equality, Facts, Summary, summarise
from tests.bench.wallclock.made_runs import PLAIN, TOKENS, facts, plain, run

OTHER = (*TOKENS[:5], 99, *TOKENS[6:])


def summary(runs: Sequence[Run], *about: Facts, **settings: Any) -> Summary:
    known = {one.name: one for one in (PLAIN, *(about or (facts(),)))}
    values: dict[str, Any] = {"cost": lambda n: 1 + 0.1 * (n - 1), "step_ms": 10.0}
    return summarise(runs, known, **{**values, "resamples": 200, **settings})


def rows(found: Summary) -> dict[str, Any]:
    return {row["name"]: row for row in json.loads(json.dumps(found.payload))["configurations"]}


def different(verdict: str) -> Mapping[str, Any]:
    return {
        "scene": "clip0", "question": "What is ahead?", "place": 5, "margin": 0.5, "noise": 1e-6,
        "verdict": verdict, "why": "a reason",
    }  # fmt: skip


def test_rounds_become_medians_before_anything_is_added() -> None:
    runs = [plain(round=r, total_ms=ms) for r, ms in enumerate((300.0, 9000.0, 310.0))]
    runs += [run("suffix", round=r, total_ms=ms) for r, ms in enumerate((155.0, 150.0, 8000.0))]
    found = rows(summary(runs))
    assert found["none"]["total_ms"] == 310.0
    assert found["suffix"]["total_ms"] == 155.0
    assert found["suffix"]["speedup"]["value"] == 2.0
    assert found["suffix"]["speedup_rounds"] == {"low": 310 / 8000, "high": 60.0}


def test_speedup_is_a_ratio_of_sums_with_an_interval_over_drives() -> None:
    totals = {0: (100.0, 50.0), 1: (100.0, 100.0), 2: (1000.0, 100.0), 3: (200.0, 150.0)}
    runs = [plain(number=n, total_ms=a, first_ms=10.0) for n, (a, _) in totals.items()]
    runs += [run(name, number=n, total_ms=b, first_ms=10.0) for n, (_, b) in totals.items()
             for name in ("suffix",)]  # fmt: skip
    found = summary(runs)
    speedup = rows(found)["suffix"]["speedup"]
    assert speedup["value"] == 1400 / 400
    assert speedup["low"] < speedup["value"] < speedup["high"]
    assert found.payload["drives"] == 2
    assert any("2 blocks" in warning for warning in found.warnings)
    assert rows(found)["none"]["speedup"] == {"value": 1.0, "low": None, "high": None}


def test_first_kth_and_decode_times() -> None:
    runs = [plain(), run("suffix", first_ms=80.0, total_ms=270.0)]
    runs += [plain(number=1, tokens=(1, 2)), run("suffix", number=1, tokens=(1, 2))]
    row = rows(summary(runs, k=3))["suffix"]
    assert row["prefill_ms"] == 90.0
    assert row["decode_ms"] == 190.0
    assert row["kth_ms"] == 100.0, "of the answer that has a third token alone"
    assert row["tokens"] == 22
    assert row["speedup_kth"]["value"] == 1.2


@given(st.lists(st.lists(st.floats(1, 1000), min_size=2, max_size=2), min_size=1, max_size=5))
def test_stages_sum_up_to_the_total(rounds: list[list[float]]) -> None:
    runs = [plain(round=r, first_ms=a, total_ms=a + b) for r, (a, b) in enumerate(rounds)]
    row = rows(summary(runs))["none"]
    assert sum(row["stages_ms"].values()) == pytest.approx(row["total_ms"])


def test_acceptance_by_hand() -> None:
    forwards = [(0, 0, 1), (4, 3, 4), (4, 0, 1), (2, 1, 2)]
    tokens = TOKENS[:8]
    runs = [plain(tokens=tokens), run("suffix", tokens=tokens, forwards=forwards)]
    row = rows(summary(runs))["suffix"]
    assert row["tau"]["value"] == 2.0
    assert row["first_window"]["value"] == 3.0 and row["with_window"] == 1.0
    assert row["drafted_per_forward"] == 2.5
    assert row["depth"] == {"passes": 3, "share": [2 / 3, 1 / 3, 1 / 3]}
    assert row["tokens_by_accepted"] == [2 / 8, 2 / 8, 0.0, 4 / 8]


def test_model_cost_counts_forwards_and_drafting() -> None:
    tokens = TOKENS[:4]
    stages = {"prefill": 100.0, "verify": 20.0, "draft": 3.0, "event model": 2.0}
    forwards = [(5, 2, 3), (0, 0, 1)]  # 1.5 and 1 steps, and half a step of drafting
    runs = [plain(tokens=tokens), plain(number=1, tokens=tokens)]
    runs += [run("suffix", tokens=tokens, forwards=forwards, stages_ms=stages, total_ms=125.0)]
    dear = [(20, 0, 1)] * 4  # three steps each
    runs += [run("suffix", number=1, tokens=tokens, forwards=dear, stages_ms={"other": 290.0})]
    found = rows(summary(runs))
    assert found["suffix"]["cost_ratio"] == pytest.approx((3 / 4 + 3) / 2)
    assert found["suffix"]["dearer"] == 0.5
    assert found["none"]["cost_ratio"] == 1.0 and found["none"]["dearer"] == 0.0


def test_unknown_forwards_leave_gaps() -> None:
    row = rows(summary([plain(), run("hf-generate")], facts("hf-generate", kind="hf")))
    for key in ("tau", "first_window", "drafted_per_forward", "depth", "cost_ratio", "dearer"):
        assert row["hf-generate"][key] is None
    assert row["hf-generate"]["speedup"]["value"] == 1.0
    assert row["none"]["speedup_over"]["hf-generate"]["value"] == 1.0


def test_slower_questions_are_counted() -> None:
    totals = (289.0, 291.0, 300.0, 320.0)
    runs = [plain(number=n) for n in range(4)]
    runs += [run("suffix", number=n, total_ms=ms) for n, ms in enumerate(totals)]
    row = rows(summary(runs))["suffix"]
    assert (row["slower"], row["clearly_slower"]) == (0.75, 0.25)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "nobody knows why"),
        ({"equality": Equality(1, 0, 0, (different("fault"),))}, "by more than rounding"),
        ({"equality": Equality(1, 0, 0, (different("unknown"),))}, "not known to be why"),
        ({"equality": Equality(1, 1, 0, ())}, "nobody knows why"),
        ({"kind": "drafter-only"}, "another model's answer"),
        ({"equality": Equality(1, 0, 1, (different("rounding"),))}, None),
        ({"lossy": True}, None),
    ],
)
def test_other_answers_have_no_speedup(changes: dict[str, Any], why: str | None) -> None:
    runs = [plain(), run("suffix", tokens=OTHER, total_ms=145.0)]
    row = rows(summary(runs, facts(**changes)))["suffix"]
    assert row["total_ms"] == 145.0
    if why is None:
        assert row["speedup"]["value"] == 2.0 and row["no_speedup"] is None
    else:
        assert row["speedup"] is None and row["slower"] is None and why in row["no_speedup"]


def test_a_speed_up_over_another_is_question_by_question() -> None:
    runs = [plain(number=n) for n in range(3)]
    runs += [run("suffix", number=n, total_ms=ms) for n, ms in enumerate((200.0, 100.0, 60.0))]
    runs += [run("other", number=n, total_ms=ms) for n, ms in enumerate((100.0, 50.0, 30.0))]
    found = rows(summary(runs, facts(), facts("other"), rivals=("suffix",)))
    faster = found["other"]["speedup_over"]["suffix"]
    assert [faster[key] for key in ("value", "low", "high")] == [2.0, 2.0, 2.0]
    assert found["suffix"]["speedup_over"]["suffix"]["value"] == 1.0
    assert found["none"]["speedup_over"]["suffix"]["value"] < 1.0
    assert rows(summary(runs, facts(), facts("other")))["other"]["speedup_over"] == {}


def test_nobody_is_faster_than_a_rival_with_other_answers() -> None:
    runs = [plain(), run("suffix"), run("hf-generate", tokens=OTHER)]
    found = rows(summary(runs, facts(), facts("hf-generate", kind="hf")))
    assert found["suffix"]["speedup_over"] == {"hf-generate": None}
    assert found["hf-generate"]["equality"]["equal"] == 0


def test_validation_is_left_aside_and_predictions_are_judged() -> None:
    runs = [plain(), run("suffix", total_ms=145.0), plain(part="validation", number=7)]
    said = {"suffix": {"total_ms": 100.0, "speedup": 1.6}, "none": None}
    found = summary(runs, predictions=said)
    assert found.payload["answers"] == 1
    judged = rows(found)["suffix"]["prediction"]
    assert judged["total_error"] == pytest.approx(0.45)
    assert judged["speedup_error"] == pytest.approx(0.25)
    assert rows(found)["none"]["prediction"] is None


def test_what_went_wrong_is_said() -> None:
    runs = [plain(), plain(number=1), plain(round=1), run("suffix", warnings=("thread died",))]
    runs.append(run("suffix", round=1, tokens=OTHER))
    said = "\n".join(summary(runs, facts(), facts("gone")).warnings)
    for warning in (
        "`none`: some questions have 1 rounds, others 2",
        "`suffix` did not answer 1 of 2 questions",
        "answers to 1 questions are not the same in every round",
        "`suffix`, 1 of 2 runs: thread died",
        "`gone` answered nothing",
    ):
        assert warning in said


def test_a_question_that_one_did_not_answer_is_in_no_ratio() -> None:
    runs = [plain(), plain(number=1, total_ms=9000.0), run("suffix", total_ms=145.0)]
    assert rows(summary(runs))["suffix"]["speedup"]["value"] == 2.0


def test_refusals() -> None:
    with pytest.raises(InputError, match="no answer of `none`"):
        summary([run("suffix")])
    with pytest.raises(InputError, match="question 0"):
        summary([plain(), run("suffix", scene="another")])
    with pytest.raises(ValueError, match="eagle"):
        summary([plain(), run("eagle")])
