"""The loop at 7B shapes, at tiny size on a CPU: recorded answers are said, times are added up."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.tree import DraftTree
from crossdraft.decoding.loop import Drafting, decode
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Fixed
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.none import NoDrafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.benchmarks import benchmark
from tests.vlm.models import llama

overlap = benchmark("gpu_overlap")
kit = benchmark("gpu_overlap_kit")
CPU = torch.device("cpu")
PROMPT = Prompt(tuple(range(3, 13)), 6)
TARGET = Target(llama())
OPENED = TARGET.open(PROMPT)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips with much the same answer, of which some ids are no tiny model's."""
    file = tmp_path_factory.mktemp("pairs") / "answers.json"
    results = [
        {
            "sample_idx": clip, "question_idx": 0, "sample_id": f"clip-{clip}", "query": "What?",
            "egpt_tokens": [5, 6, 7, 2], "egpt_text": "", "vl_text": "",
            "vl_tokens": [450, 7, 8, 30 + clip, 31999, 9, 10, 2],
        }
        for clip in range(10)
    ]  # fmt: skip
    file.write_text(json.dumps({"results": results}))
    return file


@pytest.fixture(scope="module")
def tiny() -> Any:
    return kit.kit_of("tiny", CPU, Budget.tree(8, 4), 3)


class Guess(Drafter):
    """Two tokens, the first `right` of them those of the answer, and a wrong sibling of each."""

    name = "guess"

    def __init__(self, answer: Sequence[int], right: int) -> None:
        self.answer, self.right = answer, right

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        ahead = [*self.answer[len(prefix) : len(prefix) + 2], 1, 1][:2]
        guess = [token if place < self.right else 1 for place, token in enumerate(ahead)]
        return DraftTree.from_parents([0, guess[0], 0, guess[1]], [-1, -1, 1, 1])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(3, 100), min_size=1, max_size=9), st.integers(0, 2))
def test_the_recorded_answer_is_said_whatever_is_drafted(answer: list[int], right: int) -> None:
    session: Any = kit.Imposed(OPENED.fork(), PROMPT, answer)
    drafting = Drafting(Guess(answer, right), Fixed(Budget.tree(4, 2)), TARGET.may_draft)
    found = decode(
        session, PROMPT, Context("q", AnswerStream()), drafting, StopAt(frozenset(), len(answer))
    )
    assert found.tokens == tuple(answer)
    assert len(found.passes) == math.ceil(len(answer) / (right + 1))


def test_a_run_measures_every_way(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "overlap.json"
    call = ["--size", "tiny", "--device", "cpu", "--pairs", str(pairs), "--clips", "2"]
    assert overlap.main([*call, "--event-tokens", "2", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert list(found["ways"]) == [str(way) for way in kit.WAYS]
    for name, way in found["ways"].items():
        assert way["total_ms"] > 0 and way["overhead"]["median"] > 0
        assert (way["tau"] == 1) == name.startswith("none")
    assert found["ways"]["none, event model none"]["speedup"]["median"] == 1
    assert found["warnings"] == [overlap.NOT_ON_A_GPU] and found["checks"] == {}
    assert overlap.NOT_ON_A_GPU in capsys.readouterr().out


def test_ways_take_turns_and_no_drafter_has_heard_what_it_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[Any, int]] = []
    heard: list[tuple[int, ...]] = []

    class Noting(NoDrafter):
        def finish(self, answer: Sequence[int]) -> None:
            heard.append(tuple(answer))

    class Told:
        def run(self, way: Any, drafter: Any, answer: Sequence[int]) -> tuple[Any, int]:
            assert isinstance(drafter, Noting) == way.suffix
            asked.append((way, answer[0]))
            return asked[-1]

    monkeypatch.setattr(overlap, "SuffixDrafter", Noting)
    found = overlap.in_turn(Told(), [(number,) for number in range(6)], 2)
    assert {answer for (answer,) in heard} == {0, 1, 2}
    count = len(kit.WAYS)
    turns = [asked[at : at + count] for at in range(0, len(asked), count)]
    assert [turn[0] for turn in turns] == [(kit.WAYS[n], 3 + n) for n in range(3)], "in turn"
    assert all({way for way, _ in turn} == set(kit.WAYS) for turn in turns)
    assert [one[kit.PLAIN][1] for one in found] == [4, 5], "the first warms up"


def test_ids_of_larger_models_are_folded(pairs: Path, tiny: Any) -> None:
    found = kit.answers_of(pairs, tiny)
    assert len(found) == 10 and found[4][1:4] == (7, 8, 34) and found[4][-1] == kit.EOS
    assert all(token < 250 for answer in found for token in answer)
    assert kit._folded(31999, 32000) == 31999


def test_both_models_are_waited_for(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the target the event model says as much as before it, and the later end counts."""
    answer = (5, 6, 7, 2)
    tiny = replace(tiny, event_tokens=50)
    ends = []
    for way in (kit.BEFORE, kit.BESIDE):
        given: list[Any] = []
        begin = tiny.sides[way.event].begin

        def noted(*args: Any, begin: Any = begin, given: list[Any] = given) -> Any:
            given.append((begin(*args), args[3]))
            return given[-1][0]

        monkeypatch.setattr(tiny.sides[way.event], "begin", noted)
        took = tiny.run(way, Guess(answer, 1), answer)
        ((own, stream),) = given
        assert len(stream.own) == 50 and stream.closed and own.warning is None
        assert took.total_ms >= max(*stream.arrival_ms, *took.answer.arrival_ms)
        ends.append((stream.arrival_ms[-1], took.answer.arrival_ms[0]))
    assert ends[0][0] < ends[0][1]


def test_an_event_model_that_fails_is_no_fast_one(
    tiny: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(tiny.event, "prompts", fails)
    for way in (kit.BEFORE, kit.BESIDE):
        with pytest.raises(RuntimeError, match="out of memory"):
            tiny.run(way, Guess((5, 6), 1), (5, 6))


def test_shares_are_formed_within_a_clip() -> None:
    def took(total_ms: float, own_ms: float = 0.1, passes: int = 5) -> Any:
        answer = SimpleNamespace(tokens=range(10), passes=range(passes))
        return kit.Took(total_ms, own_ms, 5.0, answer)

    def clip(scale: float, beside_ms: float) -> Any:
        times = (100.0, 50.0, 70.0, beside_ms)
        return {way: took(scale * ms) for way, ms in zip(kit.WAYS, times, strict=True)}

    found = overlap.summary([clip(1.0, 55.0), clip(10.0, 50.0), clip(0.1, 70.0)])
    assert found["hidden"]["median"] == pytest.approx(0.75)
    assert found["hidden"]["low"] == pytest.approx(0.375)
    assert found["event_ms"] == pytest.approx(20.0)
    ways = found["ways"]
    assert ways[str(kit.ALONE)]["speedup"]["median"] == pytest.approx(2.0)
    assert ways[str(kit.BEFORE)]["overhead"]["median"] == pytest.approx(0.02)
    assert ways[str(kit.PLAIN)]["tau"] == 2.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["--clips", "0"], "--clips"),
        (["--clips", "10"], "--clips"),
        (["--event-tokens", "0"], "--event-tokens"),
        (["--pairs", "nowhere.json"], "nowhere.json"),
    ],
)
def test_a_wrong_call_is_named(
    call: list[str], said: str, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = ["--size", "tiny", "--device", "cpu", "--pairs", str(pairs)]
    assert overlap.main([*begun, *call]) == 2
    assert said in capsys.readouterr().err
