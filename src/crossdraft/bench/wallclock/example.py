"""One answer to look at: who proposed each token, and what ran when.

The question is asked once more behind the benchmark, by plain decoding and by the fastest
configuration, whose drafter has learned what it had learned when it met the question before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crossdraft.base.clock import Spans
from crossdraft.base.trace import Moment
from crossdraft.bench.wallclock.answering import Ground, Place, answering
from crossdraft.bench.wallclock.configuration import BASELINE, Configuration
from crossdraft.decoding.generation import Generation, Pass
from crossdraft.decoding.models import tokenizer_of
from crossdraft.vlm.text_stream import TextStream


@dataclass(frozen=True)
class Example:
    """One question, answered by two configurations.

    Attributes:
        place: the question.
        plain, drafted: both answers.
        name: of the configuration that drafted.
        tokens: of the answer, each with `text`, `by`, `kind` and `pass`.
    """

    place: Place
    plain: Generation
    drafted: Generation
    name: str
    tokens: tuple[Mapping[str, Any], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "scene": self.place.scene.id,
            "question": self.place.question,
            "baseline": _told(BASELINE, self.plain),
            "configuration": {**_told(self.name, self.drafted), "tokens": list(self.tokens)},
        }

    def tracks(self) -> dict[str, Spans]:
        """Spans of the drafted answer by who worked."""
        tracks = {"target": self.drafted.spans}
        if self.drafted.drafter_spans is not None:
            tracks["event model"] = self.drafted.drafter_spans
        return tracks

    def moments(self) -> list[Moment]:
        """Tokens of the drafted answer, when they were there."""
        return [
            Moment("target", str(token["text"]), at_ms, {"by": token["by"], "kind": token["kind"]})
            for token, at_ms in zip(self.tokens, self.drafted.arrival_ms, strict=True)
        ]


def example(
    configuration: Configuration,
    test: Sequence[Place],
    ground: Ground,
    answers: Mapping[int, Sequence[int]],
) -> Example:
    """The middle question of the test, asked again.

    Args:
        answers: the target's, by number of the question.
    """
    place = test[len(test) // 2]
    said: list[Generation] = []
    cold = replace(ground, picture="cold")
    for one in (Configuration.parse(BASELINE), configuration):
        who = answering(one, cold)
        for earlier in test[: len(test) // 2]:
            who.learn(earlier.question, answers[earlier.number])
        if one.name == BASELINE:
            who.ask(place, 0)  # to warm up; what drafts would have learned the answer
        _, answer = who.ask(place, 0)
        who.close()
        assert answer is not None  # transformers alone says nothing of its passes
        said.append(answer)
    return Example(place, said[0], said[1], configuration.name, _tokens(ground, said[1]))


def _told(name: str, answer: Generation) -> dict[str, Any]:
    event = answer.drafter_spans
    return {
        "configuration": name,
        "total_ms": answer.arrival_ms[-1],
        "spans": {
            "target": answer.spans.to_records(),
            "event model": [] if event is None else event.to_records(),
        },
    }


def _tokens(ground: Ground, answer: Generation) -> tuple[Mapping[str, Any], ...]:
    tokenizer = tokenizer_of(ground.models.target)
    stream = None if tokenizer is None else TextStream(tokenizer)
    texts = [f"{token} " if stream is None else stream.push(token) for token in answer.tokens]
    if stream is not None:
        texts[-1] += stream.close()
    found: list[Mapping[str, Any]] = []
    for number, one in enumerate(answer.passes):
        for place in range(one.emitted):
            by = answer.proposed_by[len(found)]
            kind = _kind(one, place)
            found.append({"text": texts[len(found)], "by": by, "kind": kind, "pass": number})
    return tuple(found)


def _kind(one: Pass, place: int) -> str:
    """What a token of a pass is: an accepted draft, or the target's own behind them."""
    if place < len(one.path):
        return "accepted"
    if not len(one.tree):
        return "plain"
    last = one.path[-1] if one.path else -1
    return "corrected" if (one.tree.parents == last).any() else "bonus"
