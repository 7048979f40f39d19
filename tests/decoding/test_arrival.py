"""When drafter tokens arrive, by the measured stages."""

from __future__ import annotations

import pytest

from crossdraft.decoding.arrival import PUBLISHED_1S, Arrival, StageTimes, stage_times
from tests.make import recorded_pairs


def test_measured_stages_become_a_clock() -> None:
    (pair,) = recorded_pairs(1, timed=True)
    times = stage_times(pair)
    assert times is not None
    assert times.draft_first_ms == 20.0
    assert times.draft_token_ms == pytest.approx(10.0)
    assert times.target_prefill_start_ms == 15.0
    assert times.target_prefill_end_ms == 45.0
    assert times.target_token_ms == pytest.approx(15.0)


def test_no_clock_without_stages() -> None:
    assert stage_times(recorded_pairs(1)[0]) is None


def test_tokens_arrive_one_by_one() -> None:
    assert [PUBLISHED_1S.arrived(ms) for ms in (0, 96.6, 96.7, 106.6, 106.8)] == [0, 0, 1, 1, 2]
    instant = StageTimes(10, 0, 0, 0, 1, "made up")
    assert (instant.arrived(9), instant.arrived(10)) == (0, 1 << 30)


def test_visible_is_the_smallest_of_all_limits() -> None:
    both = Arrival(times=PUBLISHED_1S, limit=3)
    assert both.visible(50, 0.0, prefill=False) == 3
    assert Arrival(times=PUBLISHED_1S).visible(4, 0.0, prefill=False) == 4
    assert Arrival(times=PUBLISHED_1S).visible(50, 0.0, prefill=True) == 5
    assert Arrival().visible(50, 0.0, prefill=True) == 50
