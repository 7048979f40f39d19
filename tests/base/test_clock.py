"""One clock: monotonic, in milliseconds, with spans."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import pytest

from crossdraft.base.clock import Spans, beside, now_ms, stage, told_by, waiting


class Stopped:
    """A clock that always says the same, and notes what it is asked for."""

    def __init__(self, at_ms: float) -> None:
        self.at_ms = at_ms
        self.asked: list[str] = []

    def now_ms(self) -> float:
        return self.at_ms

    def beside(self) -> AbstractContextManager[None]:
        self.asked.append("beside")
        return contextlib.nullcontext()

    def waiting(self) -> AbstractContextManager[None]:
        self.asked.append("waiting")
        return contextlib.nullcontext()


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


def test_another_clock_tells_the_time_until_it_is_left() -> None:
    inner, outer = Stopped(3.0), Stopped(-5.0)
    with told_by(outer):
        with pytest.raises(KeyError), told_by(inner):
            assert now_ms() == 3.0
            with beside(), waiting():
                raise KeyError
        assert now_ms() == -5.0
    assert (inner.asked, outer.asked) == (["beside", "waiting"], [])
    before = now_ms()
    with beside(), waiting():
        assert now_ms() >= before


def test_a_stage_is_recorded_where_somebody_gathers() -> None:
    spans, other = Spans(), Spans()
    with stage("nowhere"):
        pass
    with spans.gathering():
        with stage("file", device="disk"):
            pass
        with pytest.raises(KeyError), other.gathering():
            raise KeyError
        with stage("again"):
            pass
    with stage("nowhere"):
        pass
    assert [(span.name, span.device) for span in spans.spans] == [
        ("file", "disk"),
        ("again", "cpu"),
    ]
    assert not other.spans
