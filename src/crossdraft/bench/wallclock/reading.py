"""What a timed line says of an answer of the decoding loop: stages on the way, the event model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crossdraft.base.clock import Span, Spans
from crossdraft.bench.wallclock.record import Forward
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.overlap import OVERLAPPED, Way

#: Stages that lie on the way to the answer, as spans name them; `read` is made of parts.
_STAGES = (
    "sensor", "render", "pixels", "vision", "prefill", "decode", "verify", "draft", "commit",
)  # fmt: skip
_OVERLAPPED = frozenset(str(Way(mode, on)) for mode in OVERLAPPED for on in (True, False))


def readings(answer: Generation, began_ms: float, total_ms: float) -> dict[str, Any]:
    """Fields of a `Run`.

    Args:
        began_ms: moment of `now_ms` before the question was asked.
        total_ms: from there until the answer was handed over.
    """
    ahead_ms, event = answer.spans.origin_ms - began_ms, answer.drafter_spans
    words_ms = [ahead_ms + ms for ms in answer.drafter_arrival_ms]
    return {
        "tokens": answer.tokens,
        "arrival_ms": tuple(ahead_ms + ms for ms in answer.arrival_ms),
        "total_ms": total_ms,
        "forwards": tuple(
            Forward(len(one.tree), len(one.path), one.emitted) for one in answer.passes
        ),
        "stages_ms": _stages(answer, total_ms),
        "event_model_ms": None if event is None else busy_ms(event),
        "event_first_ms": next(iter(words_ms), None),
        "event_token_ms": _between(answer.drafter_arrival_ms),
        "event_tokens": _there(answer),
        "event_words": len(answer.drafter_arrival_ms),
        "last_prefill_ms": _prefill(answer).duration_ms,
        "mode": None if event is None else answer.overlap,
        "warnings": answer.warnings,
    }


def busy_ms(spans: Spans) -> float:
    """Time in which a model worked: stages that lie in no other stage."""
    end = total = 0.0
    for span in sorted(spans.spans, key=lambda one: (one.start_ms, -one.end_ms)):
        total += max(0.0, span.end_ms - max(end, span.start_ms))
        end = max(end, span.end_ms)
    return total


def _stages(answer: Generation, total_ms: float) -> dict[str, float]:
    """Time on the way to the answer by stage; what none of them covers is `other`."""
    stages = {name: ms for name in _STAGES if (ms := answer.spans.total_ms(name))}
    if answer.drafter_spans is not None and answer.overlap not in _OVERLAPPED:
        stages["event model"] = busy_ms(answer.drafter_spans)
    return stages | {"other": total_ms - sum(stages.values())}


def _prefill(answer: Generation) -> Span:
    """The last pass of the prefill."""
    return [span for span in answer.spans.spans if span.name == "prefill"][-1]


def _there(answer: Generation) -> int:
    """Tokens of the event model that were there when the prefill's last pass started."""
    return sum(ms <= _prefill(answer).start_ms for ms in answer.drafter_arrival_ms)


def _between(arrival_ms: Sequence[float]) -> float | None:
    """Mean time from one token to the next."""
    count = len(arrival_ms) - 1
    return (arrival_ms[-1] - arrival_ms[0]) / count if count > 0 else None
