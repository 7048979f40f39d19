"""Differences between ways of answering: all are found, and rounding is told from faults."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.tree import Verification
from crossdraft.bench.wallclock import equality
from crossdraft.bench.wallclock.equality import compare, judge
from crossdraft.bench.wallclock.hf import HfGenerate
from crossdraft.bench.wallclock.record import Run
from crossdraft.decoding import verify
from crossdraft.vlm.target import Target
from tests.bench.wallclock.made_runs import run as made
from tests.vlm.models import DRAFTABLE, VIDEO, MadeScene, Words, llama, scene_of, video_llava

QUESTION = "what is here"
MOST, PLACE = 12, 5


def run(name: str, tokens: Sequence[int], round: int = 0, number: int = 0) -> Run:
    return made(name, tokens=tokens, round=round, number=number, question=QUESTION)


def test_equal_runs_have_no_difference() -> None:
    plain = [run("plain", (1, 2, 3), number) for number in range(3)]
    assert compare(plain, [run("draft", (1, 2, 3), number) for number in range(3)]) == []


def test_every_round_is_looked_at_and_named() -> None:
    plain = [run("plain", (1, 2, 3), number=number) for number in range(2)]
    runs = [
        run("draft", (1, 2, 3), 0), run("draft", (1, 4, 3), 1), run("draft", (1, 4, 3), 2),
        run("draft", (1, 2), 3), run("draft", (1, 2, 3), 1, number=1),
    ]  # fmt: skip
    first, second = compare(plain, runs)
    assert (first.configuration, first.number, first.rounds) == ("draft", 0, (1, 2))
    assert (first.place, first.plain, first.other) == (1, (1, 2, 3), (1, 4, 3))
    assert (second.rounds, second.place) == ((3,), 2)
    assert first.to_json()["plain"] == 2
    assert first.to_json()["other"] == 4
    assert second.to_json()["other"] is None
    json.dumps(second.to_json())


def test_the_reference_is_compared_with_itself() -> None:
    plain = [run("plain", (1, 2)), run("plain", (1, 3), 1)]
    (found,) = compare(plain, [])
    assert (found.configuration, found.rounds, found.place) == ("plain", (1,), 1)


def test_a_question_without_a_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="test question 1"):
        compare([run("plain", (1,))], [run("draft", (1,), number=1)])


@given(st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=3), min_size=1, max_size=8))
def test_none_is_missed(answers: list[list[int]]) -> None:
    found = compare([run("plain", (0, 1))], [run("d", a, i) for i, a in enumerate(answers)])
    rounds = sorted(number for one in found for number in one.rounds)
    assert rounds == [i for i, answer in enumerate(answers) if answer != [0, 1]]
    for one in found:
        assert one.plain[: one.place] == one.other[: one.place]
        assert one.plain[one.place : one.place + 1] != one.other[one.place : one.place + 1]


def single(make: Any = llama, kind: str = "text") -> tuple[Target, MadeScene]:
    """A model in single precision, and something to ask about."""
    model = make().float()
    return Target(model, Words()), scene_of(model, random.Random(1), kind, before=9)


def answered(target: Target, scene: MadeScene) -> tuple[int, ...]:
    return HfGenerate().ask(target, scene, QUESTION, MOST).tokens


def head_of(target: Target) -> Any:
    """[vocab, hidden] weights."""
    model: Any = target.model
    return model.get_output_embeddings().weight


def other(plain: Sequence[int], token: int) -> tuple[int, ...]:
    return (*plain[:PLACE], token, *plain[PLACE + 1 :])


def twin(target: Target, scene: MadeScene) -> tuple[tuple[int, ...], int]:
    """The answer, and another token whose logit at `PLACE` is that of the answer's token."""
    head = head_of(target)
    token = answered(target, scene)[PLACE]
    # The smaller id is chosen of equals.
    same = next(i for i in range(token + 1, DRAFTABLE))
    with torch.no_grad():
        head[same] = head[token]
    plain = answered(target, scene)
    assert plain[PLACE] == token
    return plain, same


@pytest.mark.parametrize(("make", "kind"), [(llama, "text"), (video_llava, "video")])
def test_a_large_margin_is_a_fault(make: Any, kind: str) -> None:
    target, scene = single(make, kind)
    plain = answered(target, scene)
    wrong = other(plain, (plain[PLACE] + 1) % 100 + 3)
    found = judge(target, scene, QUESTION, plain, wrong, PLACE, MOST)
    assert found["verdict"] == "fault"
    assert "more than rounding explains" in found["why"]
    assert found["margin"] > 1e-2 > found["noise"] > 0
    assert (found["plain"], found["other"]) == (plain[PLACE], wrong[PLACE])
    assert target.dtype == torch.float32


def test_an_answer_may_say_a_placeholder_of_pictures() -> None:
    target, scene = single(video_llava, "video")
    plain = answered(target, scene)
    with torch.no_grad():
        # A row as long again as the largest is the argmax wherever that one was.
        head_of(target)[VIDEO] = 2 * head_of(target)[plain[PLACE]]
    plain = answered(target, scene)
    assert VIDEO in plain[:-1]
    place = plain.index(VIDEO)
    wrong = (*plain[:place], plain[place] - 20, *plain[place + 1 :])
    assert judge(target, scene, QUESTION, plain, wrong, place, MOST)["verdict"] == "fault"
    assert judge(target, scene, QUESTION, wrong, plain, place, MOST)["verdict"] == "fault"


def test_a_tie_is_rounding() -> None:
    target, scene = single()
    plain, same = twin(target, scene)
    found = judge(target, scene, QUESTION, plain, other(plain, same), PLACE, MOST)
    assert found["verdict"] == "rounding"
    assert found["margin"] < 1e-7
    (difference,) = compare([run("plain", plain)], [run("draft", other(plain, same))])
    told = difference.judged(target, scene, MOST)
    assert told["verdict"] == "rounding"
    assert (told["scene"], told["rounds"], told["place"]) == ("clip0", [0], PLACE)
    json.dumps(told)


def test_two_small_logits_close_together_are_a_fault() -> None:
    """Neither is what had to be said."""
    target, scene = single()
    plain = answered(target, scene)
    head = head_of(target)
    low = [token for token in range(3, DRAFTABLE) if token not in plain][:2]
    with torch.no_grad():
        head[low[0]] = head[low[1]]
    assert answered(target, scene) == plain
    found = judge(target, scene, QUESTION, other(plain, low[0]), other(plain, low[1]), PLACE, MOST)
    assert found["margin"] < 1e-7
    assert found["verdict"] == "fault"


def test_a_tie_in_a_broken_engine_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    target, scene = single()
    plain, same = twin(target, scene)
    greedy = verify.greedy

    def accepts(logits: Any, tree: Any) -> Verification:
        if not len(tree):
            return greedy(logits, tree)
        return Verification(tuple(range(len(tree))), int(logits[-1].argmax()))

    monkeypatch.setattr(verify, "greedy", accepts)
    found = judge(target, scene, QUESTION, plain, other(plain, same), PLACE, MOST)
    assert found["verdict"] == "fault"
    assert "float64 drafts change token" in found["why"]


def test_without_float64_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    target, scene = single()
    plain, same = twin(target, scene)
    monkeypatch.setattr(equality, "_stays", lambda *_: 1 / 0)
    found = judge(target, scene, QUESTION, plain, other(plain, same), PLACE, MOST)
    assert found["verdict"] == "unknown"
    assert "ZeroDivisionError" in found["why"]
    assert target.dtype == torch.float32
    monkeypatch.setattr(equality, "obstacle", lambda *_: "too little memory")
    found = judge(target, scene, QUESTION, plain, other(plain, same), PLACE, MOST)
    assert found["verdict"] == "unknown"
    assert "too little memory" in found["why"]


def test_an_answer_cut_short_is_a_fault() -> None:
    target, scene = single()
    plain = answered(target, scene)
    found = judge(target, scene, QUESTION, plain, plain[:PLACE], PLACE, MOST)
    assert (found["verdict"], found["other"], found["margin"]) == ("fault", None, None)
