"""A timeline that trace viewers open: measured spans as Chrome trace events.

ui.perfetto.dev and chrome://tracing read it. Every model has a track of its own, and moments such
as accepted tokens stand on it. Fields as in the Trace Event Format (Google, catapult).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdraft.base.clock import Spans
from crossdraft.base.files import write_json

_PROCESS = 1
Event = dict[str, Any]


@dataclass(frozen=True)
class Moment:
    """Something that happened at one point of time.

    Attributes:
        track: whose; one of the tracks that are written.
        name: what it is called.
        at_ms: when, on the clock of the track's spans.
        args: what a viewer shows of it; plain JSON values.
    """

    track: str
    name: str
    at_ms: float
    args: Mapping[str, Any] = field(default_factory=dict)


def write_trace(
    path: Path,
    tracks: Mapping[str, Spans],
    about: Mapping[str, Any],
    moments: Iterable[Moment] = (),
) -> None:
    """Write a timeline, atomically; gzipped where the name ends in `.gz`.

    Args:
        tracks: name of each track, from top to bottom, and its spans. Spans of one track lie
            inside each other or apart: viewers drop one that lies across another's end.
        about: plain JSON values that are kept with it.

    Raises:
        InputError: the file cannot be written.
        ValueError: a moment on a track that is not there.
    """
    moments = tuple(moments)
    if unknown := sorted({moment.track for moment in moments} - tracks.keys()):
        raise ValueError(f"a moment on {unknown[0]!r}, and tracks {list(tracks)}")
    numbers = {name: number for number, name in enumerate(tracks, start=1)}
    # Spans count from where their track began; the whole counts from the earliest of them.
    begin_ms = min((spans.origin_ms for spans in tracks.values()), default=0.0)
    ahead_ms = {name: spans.origin_ms - begin_ms for name, spans in tracks.items()}
    events = _names(numbers)
    for name, spans in tracks.items():
        events += _complete(numbers[name], spans, ahead_ms[name])
    for one in sorted(moments, key=lambda moment: ahead_ms[moment.track] + moment.at_ms):
        events.append(_instant(numbers[one.track], one, ahead_ms[one.track]))
    write_json(path, {"traceEvents": events, "displayTimeUnit": "ms", "otherData": dict(about)})


def _names(numbers: Mapping[str, int]) -> list[Event]:
    """What the process and the tracks are called, and the order of the tracks."""
    named = [_event("M", "process_name", 0, args={"name": "crossdraft"})]
    for name, number in numbers.items():
        named.append(_event("M", "thread_name", number, args={"name": name}))
        named.append(_event("M", "thread_sort_index", number, args={"sort_index": number}))
    return named


def _complete(number: int, spans: Spans, ahead_ms: float) -> list[Event]:
    """The spans of a track in order of start, the outer of two that begin together first."""
    ordered = sorted(
        (_ns(ahead_ms + span.start_ms), -_ns(ahead_ms + span.end_ms), span.name, span.device)
        for span in spans.spans
    )
    return [
        # Both ends are rounded, never the duration: what lay inside another still does.
        _event("X", name, number, ts=start / 1e3, dur=(-end - start) / 1e3, args={"device": device})
        for start, end, name, device in ordered
    ]


def _instant(number: int, moment: Moment, ahead_ms: float) -> Event:
    at = _ns(ahead_ms + moment.at_ms) / 1e3
    return _event("i", moment.name, number, ts=at, s="t", args=dict(moment.args))


def _event(phase: str, name: str, number: int, **more: Any) -> Event:
    return {"name": name, "ph": phase, "pid": _PROCESS, "tid": number, **more}


def _ns(ms: float) -> int:
    """Whole nanoseconds, which viewers count in; `ts` and `dur` are microseconds."""
    return round(ms * 1e6)
