"""Whole estimates: by formula, replayed, and the figures on real stage times."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.estimate import estimate, formula_table
from crossdraft.evaluation.estimate_config import EstimateConfig
from crossdraft.evaluation.run import evaluate
from crossdraft.pairs.formats import write_pairs
from crossdraft.pairs.record import PairSet
from tests.make import recorded_pairs


@pytest.fixture
def stages(tmp_path: Path) -> Path:
    """60 made-up clips with measured stages."""
    path = tmp_path / "stages.jsonl"
    write_pairs(PairSet(recorded_pairs(60, timed=True), "benchmark"), path)
    return path


def run(**options: Any) -> dict[str, Any]:
    return estimate(EstimateConfig.parse(**options)).payload


def speedups(payload: dict[str, Any]) -> list[float]:
    return [entry["speedup"]["value"] for entry in payload["estimates"]]


def test_table_has_the_usual_and_the_asked() -> None:
    table = formula_table([0.3], [4])
    assert table["gamma"] == [3, 4, 5, 7, 10]
    rows = {row["alpha"]: row["tokens"] for row in table["rows"]}
    assert sorted(rows) == [0.0158, 0.2666, 0.3, 0.5, 0.7, 0.9]
    assert round(rows[0.2666][2], 3) == 1.363


def test_without_acceptance_only_limits_are_predicted() -> None:
    payload = run()
    assert (payload["stages"], payload["estimates"]) == (None, [])
    assert "published" in payload["times"]["source"]
    assert [entry["verify_ratio"] for entry in payload["limits"]] == [1.0, 1.2, 2.0, 4.6]
    window = payload["window"]
    assert window["from_sensor_data"]["until_prefill_ends"]["ms"]["mean"] == pytest.approx(360.4)
    assert window["from_prefill"]["until_prefill_ends"]["ms"]["mean"] == pytest.approx(224.2)


def test_times_by_flags_tell_one_window() -> None:
    times = {"draft_first_ms": 130.0, "draft_token_ms": 25.0, "target_prefill_end_ms": 310.0,
             "target_token_ms": 25.0}  # fmt: skip
    prefills = run(**times, adapter_latency_ms=1.5)
    assert prefills["window"]["from_sensor_data"] is None
    cell = prefills["window"]["from_prefill"]["until_prefill_ends"]
    assert (cell["ms"]["mean"], cell["tokens"]["mean"]) == (178.5, 8.0)
    assert "both prefills start" in prefills["assumptions"][0]
    sensors = run(**times, target_prefill_start_ms=60.0)
    assert sensors["window"]["from_prefill"] is None
    assert "sensor data" in sensors["assumptions"][0]


def test_nothing_accepted_and_free_verification_is_plain_decoding() -> None:
    payload = run(alpha=(0.0,), verify_ratio=(1.0,))
    assert speedups(payload) == pytest.approx([1.0])
    entry = payload["estimates"][0]
    plain = entry["target_alone"]
    assert (entry["first_token_ms"], entry["total_ms"]) == pytest.approx(
        (plain["first_token_ms"], plain["total_ms"])
    )
    assert speedups(run(alpha=(0.0,), verify_ratio=(1.5,)))[0] < 1.0


def test_every_alpha_gamma_and_ratio_is_estimated_within_its_limits(stages: Path) -> None:
    payload = run(stage_file=stages, alpha=(0.3, 0.9), gamma=(3, 7), verify="own")
    assert len(payload["estimates"]) == 2 * 2 * 4
    for entry in payload["estimates"]:
        assert entry["speedup"]["low"] is None, "a given alpha has no interval"
        assert entry["speedup"]["value"] <= entry["limits"]["all_accepted"] * (1 + 1e-9)
        assert entry["limits"]["all_accepted"] <= entry["limits"]["prefill_floor"] * (1 + 1e-9)
        assert entry["verify"] == "own"


def test_replayed_none_gives_exactly_one(stages: Path) -> None:
    payload = run(stage_file=stages, replay="none")
    for entry in payload["estimates"]:
        assert entry["speedup"] == pytest.approx({"value": 1.0, "low": 1.0, "high": 1.0})
        assert entry["tau"]["value"] == 1.0


def test_replay_counts_what_an_evaluation_counts(stages: Path) -> None:
    """Same folds, same fitting, same order: tau of a drafter that reads no drafts is the same."""
    options: dict[str, Any] = {"nodes": 12, "depth": 6, "online": True, "folds": 4, "gap": 2}
    ours = run(stage_file=stages, replay="suffix", **options)
    theirs = evaluate(EvaluateConfig.parse(pairs=stages, drafters=("suffix",), **options)).payload
    for entry in ours["estimates"]:
        assert entry["tau"] == pytest.approx(theirs["drafters"]["suffix"]["tau"])
    assert ours["split"] == theirs["data"]["split"]


@pytest.mark.parametrize("verify", ["prefill", "own"])
def test_replayed_suffix_gains_less_where_verifying_is_dearer(stages: Path, verify: str) -> None:
    payload = run(stage_file=stages, replay="suffix", online=True, verify=verify)
    found = speedups(payload)
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.0
    for entry in payload["estimates"]:
        assert entry["speedup"]["low"] <= entry["speedup"]["value"] <= entry["speedup"]["high"]
        assert entry["speedup"]["value"] <= entry["limits"]["all_accepted"]
    alone = payload["estimates"][0]["target_alone"]
    assert alone["total_ms"] == pytest.approx(payload["stages"]["videollava"]["total_ms"]["mean"])


def test_measured_curve_replaces_constant_ratios(stages: Path, tmp_path: Path) -> None:
    curve = tmp_path / "curve.json"
    curve.write_text(json.dumps({"tokens": [1, 6], "ratio": [1.0, 2.0]}))
    options: dict[str, Any] = {"stage_file": stages, "alpha": (0.5,), "gamma": (5,)}
    measured = run(**options, cost_curve=curve, verify="own")
    constant = run(**options, verify_ratio=(2.0,), verify="own")
    assert speedups(measured) == pytest.approx(speedups(constant))
    assert measured["estimates"][0]["verify_ratio"] is None
    with pytest.raises(InputError, match="ends at 6 tokens"):
        run(stage_file=stages, alpha=(0.5,), gamma=(7,), cost_curve=curve)


def test_stride_evaluates_every_nth_clip(stages: Path) -> None:
    payload = run(stage_file=stages, replay="position", stride_clips=2)
    assert payload["estimates"][0]["answers"] == 30
    assert "one clip in 2" in payload["split"]


def test_untimed_answers_teach_and_are_not_timed(tmp_path: Path) -> None:
    pairs = recorded_pairs(60, timed=True)
    some = tuple(replace(p, draft_stages_ms=None) if i % 3 == 0 else p for i, p in enumerate(pairs))
    path = tmp_path / "some.jsonl"
    write_pairs(PairSet(some, "benchmark"), path)
    outcome = estimate(EstimateConfig.parse(stage_file=path, replay="suffix"))
    assert outcome.payload["estimates"][0]["answers"] == 40
    assert any("20 answers have no stage times" in warning for warning in outcome.warnings)


@pytest.mark.parametrize("name", ["token-adapter", "ensemble"])
def test_drafters_that_fit_does_not_make_ready_are_refused(stages: Path, name: str) -> None:
    with pytest.raises(InputError, match="trained or calibrated first"):
        run(stage_file=stages, replay=name)


def test_recorded_times_and_replayed_suffix(real_answers: Path) -> None:
    """The estimate that the cost model exists for; figures as of the tuned suffix drafter."""
    path = real_answers.with_name("benchmark_2s.json.gz")
    payload = run(stage_file=path, replay="suffix", nodes=60, depth=16, online=True)
    assert speedups(payload) == pytest.approx([2.08, 2.01, 1.78, 1.30], abs=0.05)
    floor = payload["estimates"][0]["limits"]["prefill_floor"]
    assert all(1.0 < value < floor for value in speedups(payload))
    window = payload["window"]["from_sensor_data"]["until_prefill_ends"]
    assert window["tokens"]["mean"] == pytest.approx(40.2, abs=0.05)
