"""The thresholds of a pair: each can fail, and by itself."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from crossdraft.bench.score_checks import THRESHOLDS, Checked, check


def estimate(value: float | None, spread: float = 0.02) -> dict[str, float | None]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": value - spread, "high": value + spread}


def attribute(right: float) -> dict[str, Any]:
    return {
        "accuracy": estimate(right), "swapped": estimate(0.25), "chance": estimate(0.22)
    }  # fmt: skip


def good() -> dict[str, Any]:
    """A pair that reaches everything."""
    probed = {"accuracy": estimate(0.22), "chance": 0.2}
    return {
        "target": {
            "attributes": {
                name: attribute(0.95) for name in ("road", "time", "vehicle", "colour", "motion")
            },
            "calibration": {"tau": estimate(2.9), "position_match": estimate(0.28)},
        },
        "drafter": {
            "attributes": {name: attribute(0.85) for name in ("vehicle", "motion")},
            "unseen": {"colour": {"share": estimate(0.0)}},
            "probes": {"colour": {"prompt": dict(probed), "answer": dict(probed)}},
        },
    }


def failed(payload: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one.model, one.name) for one in check(payload) if not one.ok]


def test_a_good_pair_passes_all_of_them() -> None:
    found = list(check(good()))
    assert len(found) == len(THRESHOLDS) == 19
    assert all(one.ok for one in found)
    assert found[0] == Checked("target", "road right", 0.95, "at least 0.9", True)
    assert {one.wanted for one in found} == {
        "at least 0.9", "at least 0.8", "at most 0", "at most 0.05", "2.3 to 3.3", "at most 0.35",
        "at most 0.1, or intervals that overlap",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "name"),
    [
        ("target attributes colour accuracy", estimate(0.89), "colour right"),
        ("target attributes road accuracy", estimate(None), "road right"),
        ("drafter attributes motion accuracy", estimate(0.79), "motion right"),
        ("target attributes time swapped", estimate(0.4), "time, swapped from chance"),
        ("drafter attributes vehicle swapped", estimate(0.1), "vehicle, swapped from chance"),
        ("target attributes time chance", estimate(None), "time, swapped from chance"),
        ("drafter unseen colour share", estimate(0.001), "answers that name a colour"),
        ("drafter probes colour prompt accuracy", estimate(0.26),
         "colour in prompt states over chance"),
        ("drafter probes colour answer", None, "colour in answer states over chance"),
        ("target calibration tau", estimate(3.31), "tau of a 12-gram table"),
        ("target calibration tau", estimate(2.29), "tau of a 12-gram table"),
        ("target calibration position_match", estimate(0.36), "position match"),
    ],
)  # fmt: skip
def test_each_fails_by_itself(path: str, value: Any, name: str) -> None:
    payload = copy.deepcopy(good())
    *way, last = path.split()
    place = payload
    for key in way:
        place = place[key]
    place[last] = value
    assert failed(payload) == [(way[0], name)]


def test_far_from_chance_is_spared_where_the_intervals_overlap() -> None:
    payload = good()
    payload["target"]["attributes"]["road"]["swapped"] = estimate(0.5, spread=0.3)
    assert failed(payload) == []
    payload["target"]["attributes"]["road"]["swapped"] = {"value": 0.5, "low": None, "high": None}
    assert failed(payload) == [("target", "road, swapped from chance")]


def test_an_attribute_that_no_truth_names_is_not_measured_and_fails() -> None:
    payload = good()
    del payload["drafter"]["attributes"]["motion"]
    assert failed(payload) == [
        ("drafter", "motion right"), ("drafter", "motion, swapped from chance")
    ]  # fmt: skip


def test_a_model_that_was_not_asked_is_not_checked() -> None:
    payload = good()
    del payload["target"]
    assert {one.model for one in check(payload)} == {"drafter"}
