"""What a line says of one answer, from spans and moments that are given."""

from __future__ import annotations

import pytest

from crossdraft.base.clock import Span, Spans
from crossdraft.base.tree import DraftTree
from crossdraft.bench.wallclock.reading import readings
from crossdraft.decoding.generation import Generation, Pass

_TREE = DraftTree.chain([7, 8, 9], source="words")


def answer(overlap: str, words_ms: tuple[float, ...]) -> Generation:
    """Two passes: two of three drafts and a token in the prefill, one token behind it."""
    spans = Spans(1000.0)
    spans.spans += [
        Span("read", 0, 20), Span("sensor", 2, 12), Span("pixels", 12, 18), Span("vision", 20, 30),
        Span("prefill", 30, 70), Span("draft", 70, 71), Span("prefill", 71, 81),
        Span("commit", 81, 82), Span("decode", 82, 90), Span("commit", 90, 91),
    ]  # fmt: skip
    event = Spans(1000.0)
    event.spans += [Span("read", 0, 8), Span("sensor", 0, 5), Span("prefill", 8, 15)]
    event.spans += [Span("decode", 20, 25)]
    return Generation(
        (7, 8, 4, 5), "eos", None, "0" * 16, 12, (82.0, 82.0, 82.0, 91.0),
        (Pass(_TREE, (0, 1), 3), Pass(DraftTree.empty(), (), 1)), "greedy", False, spans,
        event, words_ms, overlap,
    )  # fmt: skip


@pytest.mark.parametrize(("overlap", "waited"), [("sequential", 20.0), ("process", None)])
def test_stages_add_up_and_waiting_counts(overlap: str, waited: float | None) -> None:
    found = readings(answer(overlap, (15.0, 25.0)), began_ms=990.0, total_ms=101.0)
    stages = found["stages_ms"]
    assert sum(stages.values()) == pytest.approx(101.0)
    assert stages.get("event model") == waited
    assert (stages["sensor"], stages["prefill"], stages["commit"]) == (10, 50, 2)
    assert found["arrival_ms"] == (92.0, 92.0, 92.0, 101.0), "from the moment before it was asked"
    assert [tuple(one) for one in found["forwards"]] == [(3, 2, 3), (0, 0, 1)]
    assert (found["event_model_ms"], found["last_prefill_ms"]) == (20.0, 10.0)


@pytest.mark.parametrize(
    ("words_ms", "there", "between"),
    [((), 0, None), ((71.0,), 1, None), ((15.0, 25.0, 71.0, 71.1, 95.0), 3, 20.0)],
)
def test_words_that_were_there_when_the_last_prefill_pass_started(
    words_ms: tuple[float, ...], there: int, between: float | None
) -> None:
    found = readings(answer("process", words_ms), 1000.0, 91.0)
    assert found["event_tokens"] == there
    assert found["event_first_ms"] == next(iter(words_ms), None)
    assert found["event_token_ms"] == (None if between is None else pytest.approx(between))
