"""One answer to look at: who said each of its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from crossdraft.base.clock import Spans
from crossdraft.base.tree import DraftTree
from crossdraft.bench.wallclock import example as module
from crossdraft.bench.wallclock.configuration import Configuration
from crossdraft.bench.wallclock.example import Example, example
from crossdraft.decoding.generation import Generation, Pass
from tests.bench.wallclock.ground import asked, bare_ground, scenes, steep

PLACES = asked("test", scenes(["a", "b", "c"], 1), ("What is ahead?",))
#: Two chains of two below the root: 7 8 and 9 10.
TREE = DraftTree.from_parents([7, 8, 9, 10], [-1, 0, -1, 2], source="suffix")


def generation(*passes: Pass, tokens: Sequence[int], event: bool = False) -> Generation:
    return Generation(
        tuple(tokens), "length", None, "hash", 9, tuple(float(n) for n in range(len(tokens))),
        passes, "greedy", False, Spans(0.0), Spans(0.0) if event else None,
    )  # fmt: skip


def kinds(*passes: Pass, tokens: Sequence[int]) -> list[tuple[Any, ...]]:
    shown = module._tokens(_ground(), generation(*passes, tokens=tokens))
    assert [one["text"] for one in shown] == [f"{token} " for token in tokens]
    return [(one["kind"], one["by"], one["pass"]) for one in shown]


def _ground() -> Any:
    return bare_ground(steep, models=SimpleNamespace(target=SimpleNamespace(prompts=None)))


def test_a_token_is_accepted_corrected_a_bonus_or_plain() -> None:
    found = kinds(
        Pass(DraftTree.empty(), (), 1),
        Pass(TREE, (0, 1), 3),  # a whole path: what follows is a bonus
        Pass(TREE, (2,), 2),  # 9, and then not 10
        Pass(TREE, (), 1),  # nothing of it
        Pass(TREE, (0,), 1),  # the answer ends with a draft
        tokens=[5, 7, 8, 6, 9, 6, 6, 7],
    )
    assert found == [
        ("plain", None, 0),
        ("accepted", "suffix", 1), ("accepted", "suffix", 1), ("bonus", None, 1),
        ("accepted", "suffix", 2), ("corrected", None, 2),
        ("corrected", None, 3),
        ("accepted", "suffix", 4),
    ]  # fmt: skip


class Known:
    """Gives one answer, and remembers what it was taught."""

    def __init__(self, name: str, answer: Generation) -> None:
        self.name, self.answer, self.log = name, answer, list[Any]()

    def ask(self, place: Any, _: int) -> tuple[None, Generation]:
        self.log.append(place.number)
        return None, self.answer

    def learn(self, question: str, answer: Sequence[int]) -> None:
        self.log.append((question, tuple(answer)))

    def close(self) -> None:
        self.log.append("closed")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> tuple[Example, dict[str, Known]]:
    plain = generation(*[Pass(DraftTree.empty(), (), 1)] * 3, tokens=[7, 8, 6])
    drafted = generation(Pass(TREE, (0, 1), 3), tokens=[7, 8, 6], event=True)
    who = {"none": Known("none", plain), "suffix": Known("suffix", drafted)}
    monkeypatch.setattr(module, "answering", lambda one, _: who[one.name])
    answers = {n: (n, n) for n in range(3)}
    return example(Configuration.parse("suffix"), PLACES, _ground(), answers), who


def test_the_middle_question_behind_those_before_it(
    shown: tuple[Example, dict[str, Known]],
) -> None:
    found, who = shown
    assert found.place is PLACES[1]
    assert who["suffix"].log == [("What is ahead?", (0, 0)), 1, "closed"]
    assert who["none"].log[-2:] == [1, "closed"]


def test_what_is_written(shown: tuple[Example, dict[str, Known]]) -> None:
    found = shown[0]
    written = found.to_json()
    assert written["scene"] == "b/000000" and written["question"] == "What is ahead?"
    assert written["baseline"]["total_ms"] == written["configuration"]["total_ms"] == 2.0
    assert [one["kind"] for one in written["configuration"]["tokens"]] == [
        "accepted", "accepted", "bonus",
    ]  # fmt: skip
    assert set(found.tracks()) == {"target", "event model"}
    moments = found.moments()
    assert [(one.name, one.at_ms) for one in moments] == [("7 ", 0.0), ("8 ", 1.0), ("6 ", 2.0)]
