"""One clock: monotonic, in milliseconds, with spans."""

from __future__ import annotations

import pytest

from crossdraft.base.clock import Spans, now_ms


def test_clock_does_not_run_backwards() -> None:
    times = [now_ms() for _ in range(1000)]
    assert times == sorted(times)


def test_spans_are_recorded_in_order_and_also_on_errors() -> None:
    spans = Spans()
    with spans.measure("outer", device="cuda:0"):
        with pytest.raises(RuntimeError), spans.measure("inner"):
            raise RuntimeError
        with spans.measure("inner"):
            pass
    records = spans.to_records()
    assert [record["name"] for record in records] == ["outer", "inner", "inner"]
    assert records[0]["device"] == "cuda:0"
    assert spans.total_ms("outer") >= spans.total_ms("inner") >= 0
