"""A timeline says when each model did what, in the fields that trace viewers read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.clock import Span, Spans
from crossdraft.base.errors import InputError
from crossdraft.base.trace import Moment, write_trace

TRACKS = {
    "target": Spans(
        1000.0,
        [
            Span("decode", 30.0, 42.5, "cuda"),
            Span("vision", 1.0, 2.0, "cuda"),
            Span("prefill", 1.0, 30.0, "cuda"),
        ],
    ),
    "drafter": Spans(990.0, [Span("prefill", 0.0, 4.25)]),
}


def written(path: Path, *args: Any) -> list[dict[str, Any]]:
    """The events of a trace, each with the fields that every event must have."""
    write_trace(path, *args)
    events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    for event in events:
        assert isinstance(event["name"], str) and event["ph"] in ("X", "M", "i")
        assert type(event["pid"]) is int and type(event["tid"]) is int
    return events


def of_phase(events: list[dict[str, Any]], phase: str) -> list[dict[str, Any]]:
    return [event for event in events if event["ph"] == phase]


def test_each_model_has_a_named_track(tmp_path: Path) -> None:
    events = written(tmp_path / "trace.json", TRACKS, {})
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    order = {e["tid"]: e["args"]["sort_index"] for e in events if e["name"] == "thread_sort_index"}
    assert sorted(names, key=order.__getitem__) == [1, 2] and names == {1: "target", 2: "drafter"}
    assert [e["args"] for e in events if e["name"] == "process_name"] == [{"name": "crossdraft"}]
    assert len({e["pid"] for e in events}) == 1


def test_spans_are_complete_events_in_microseconds_of_one_clock(tmp_path: Path) -> None:
    events = of_phase(written(tmp_path / "trace.json", TRACKS, {}), "X")
    # The target's clock began 10 ms after the drafter's, with which the timeline begins.
    assert [(e["tid"], e["name"], e["ts"], e["dur"], e["args"]) for e in events] == [
        (1, "prefill", 11_000.0, 29_000.0, {"device": "cuda"}),
        (1, "vision", 11_000.0, 1_000.0, {"device": "cuda"}),
        (1, "decode", 40_000.0, 12_500.0, {"device": "cuda"}),
        (2, "prefill", 0.0, 4_250.0, {"device": "cpu"}),
    ]


def test_moments_stand_on_their_track_in_order(tmp_path: Path) -> None:
    moments = (
        Moment("target", "accepted", 42.5, {"tokens": 3, "of": 5}),
        Moment("drafter", "token", 4.25),
    )
    events = of_phase(written(tmp_path / "trace.json", TRACKS, {}, moments), "i")
    assert [(e["tid"], e["name"], e["ts"], e["s"], e["args"]) for e in events] == [
        (2, "token", 4_250.0, "t", {}),
        (1, "accepted", 52_500.0, "t", {"tokens": 3, "of": 5}),
    ]
    with pytest.raises(ValueError, match="'event'"):
        write_trace(tmp_path / "other.json", TRACKS, {}, [Moment("event", "token", 1.0)])
    assert not (tmp_path / "other.json").exists()


def test_what_it_is_about_is_kept(tmp_path: Path) -> None:
    about = {"drafter": "suffix", "tau": 3.5}
    write_trace(tmp_path / "trace.json.gz", TRACKS, about)
    trace = json.loads(gzip.decompress((tmp_path / "trace.json.gz").read_bytes()))
    assert trace["otherData"] == about and trace["displayTimeUnit"] == "ms"
    written(tmp_path / "none.json", {}, {})
    with pytest.raises(InputError, match="cannot write"):
        write_trace(tmp_path / "absent" / "trace.json", TRACKS, about)


@given(st.lists(st.floats(0, 1e5), min_size=4, max_size=4), st.floats(0, 1e9))
def test_what_lies_inside_another_still_does(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], origin_ms: float
) -> None:
    begin, inner, end, last = sorted(times)
    spans = Spans(origin_ms, [Span("in", inner, end), Span("out", begin, last)])
    path = tmp_path_factory.mktemp("trace") / "trace.json"
    one, two = of_phase(written(path, {"target": spans, "early": Spans(0.0)}, {}), "X")
    assert one["ts"] <= two["ts"]
    # A viewer counts whole nanoseconds.
    ends = [round((event["ts"] + event["dur"]) * 1e3) for event in (one, two)]
    assert ends[1] <= ends[0] and two["dur"] >= 0
