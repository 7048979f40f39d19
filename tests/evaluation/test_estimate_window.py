"""The free window from the sensor data and from the prefills, capped and delayed."""

from __future__ import annotations

from crossdraft.decoding.arrival import StageTimes
from crossdraft.evaluation.estimate_window import window

CLOCK = StageTimes(20.0, 10.0, 35.0, 100.0, 10.0, "made up")


def test_tokens_that_are_there_when_the_window_closes() -> None:
    found = window([CLOCK], None, [50], adapter_ms=0.0)
    assert found["from_prefill"] is None
    sensor = found["from_sensor_data"]
    assert sensor["until_prefill_ends"] == {
        "ms": {"mean": 80.0, "std": None},
        "tokens": {"mean": 9.0, "std": None},
    }
    assert sensor["until_last_pass_starts"]["tokens"]["mean"] == 2.0


def test_the_drafter_writes_no_more_than_its_answer() -> None:
    found = window([CLOCK, CLOCK], None, [3, 50], adapter_ms=0.0)
    assert found["from_sensor_data"]["until_prefill_ends"]["tokens"]["mean"] == 6.0


def test_adapter_latency_closes_the_window_earlier() -> None:
    found = window(None, [CLOCK], [50], adapter_ms=5.0)
    assert found["from_sensor_data"] is None
    assert found["from_prefill"]["until_prefill_ends"]["ms"]["mean"] == 75.0
    assert found["from_prefill"]["until_prefill_ends"]["tokens"]["mean"] == 8.0


def test_a_target_that_is_ready_first_leaves_nothing() -> None:
    late = StageTimes(150.0, 10.0, 35.0, 100.0, 10.0, "made up")
    cell = window([late], None, [50], adapter_ms=0.0)["from_sensor_data"]["until_prefill_ends"]
    assert (cell["ms"]["mean"], cell["tokens"]["mean"]) == (-50.0, 0.0)
