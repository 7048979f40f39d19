"""The cost of a prefill's tail: what is run of a tiny pair, and what is made of known times."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.tree import DraftTree
from crossdraft.vlm.causal import CausalSession
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.bench.tiny_pair import write_pair
from tests.benchmarks import benchmark
from tests.vlm.models import llama

tail = benchmark("prefill_tail")
PROMPT = Prompt(tuple(range(3, 23)), 12)


@pytest.fixture(scope="module")
def pair_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pair(tmp_path_factory.mktemp("pair"))


def took(tail_ms: float, scale: float = 1.0) -> Any:
    """A question of 10 ms that takes 12 with eight more ids; verifying eight drafts takes 4."""
    key = ("tree", 8)
    return tail.Round(
        10.0 * scale,
        2.0 * scale,
        {8: 12.0 * scale},
        {key: tail_ms * scale},
        {key: 4.0 * scale},
    )


def test_a_pair_is_measured(
    pair_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tail.json"
    call = ["--pair", str(pair_file), "--rounds", "2", "--questions", "2", "--tails", "2", "5"]
    code = tail.main([*call, "--json", str(out)])
    found = json.loads(out.read_text())
    assert code == (0 if all(found["checks"].values()) else 1)
    assert [(row["shape"], row["drafts"]) for row in found["tails"]] == [
        ("chain", 2), ("tree", 2), ("chain", 5), ("tree", 5),
    ]  # fmt: skip
    assert len(found["checks"]) == 8
    for row in found["tails"]:
        assert row["ms"]["verify"] > 0
        for limit in ("over_plain", "saved"):
            assert math.isfinite(row[limit]["median"])
            assert row[limit]["low"] <= row[limit]["median"] <= row[limit]["high"]
    shown = capsys.readouterr().out
    assert shown.count("reached") + shown.count("NOT REACHED") == 8


def test_a_round_runs_every_pass_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every ask is a fork's, of the same picture; every verification stands behind the question."""
    asked: list[tuple[int, int, bool]] = []
    extended: list[tuple[int, int]] = []
    ask, extend = CausalSession.ask, CausalSession.extend

    def noted_ask(self: Any, prompt: Any, tree: DraftTree = DraftTree.empty()) -> Any:  # noqa: B008
        asked.append((len(prompt.question), len(tree), tree.is_chain))
        return ask(self, prompt, tree)

    def noted_extend(self: Any, token: int, tree: DraftTree) -> Any:
        extended.append((len(self.tokens), len(tree)))
        return extend(self, token, tree)

    monkeypatch.setattr(CausalSession, "ask", noted_ask)
    monkeypatch.setattr(CausalSession, "extend", noted_extend)
    place = tail.Place(Target(llama()).open(PROMPT), PROMPT, range(3, 100), (4, 9))
    asked.clear()
    for number in range(2):
        found = place.round(random.Random(number))
    half = len(asked) // 2
    assert asked[:half] != asked[half:], "every round has an order of its own"
    assert sorted(asked) == sorted(
        2 * [
            (8, 0, True), (12, 0, True), (17, 0, True),
            (8, 4, True), (8, 4, False), (8, 9, True), (8, 9, False),
        ]
    )  # fmt: skip
    assert sorted(extended) == sorted(2 * [(20, count) for count in (0, 4, 4, 9, 9)])
    assert set(found.tail_ms) == set(found.verify_ms) == {
        (shape, count) for shape in ("chain", "tree") for count in (4, 9)
    }  # fmt: skip


def test_places_take_turns_behind_a_round_that_warms_up() -> None:
    called: list[int] = []

    class Told:
        def __init__(self, number: int) -> None:
            self.number = number

        def round(self, _: random.Random) -> int:
            called.append(self.number)
            return len(called)

    assert tail.in_turn([Told(n) for n in range(3)], 4) == [4, 5, 6, 7]
    assert called == [0, 1, 2, 0, 1, 2, 0]


def test_ratios_are_formed_within_a_round() -> None:
    rounds = [took(11.0), took(12.0, scale=10.0), took(13.0, scale=0.1)]
    found = tail.summary(rounds, "tree", 8)
    assert found["over_plain"]["median"] == 1.0
    assert found["saved"]["median"] == pytest.approx(0.5)
    assert found["saved"]["low"] == pytest.approx((0.25 + 0.5) / 2)
    assert found["ms"] == {
        "tail": pytest.approx(1.0), "plain": pytest.approx(2.0), "verify": pytest.approx(4.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("tail_ms", "within", "saved"),
    [(11.5, True, True), (12.5, True, False), (12.61, False, False)],
)
def test_a_limit_is_reached_from_its_own_side(tail_ms: float, within: bool, saved: bool) -> None:
    rows = [tail.summary([took(tail_ms)], "tree", 8)]
    assert tail.checks(rows) == {"over_plain, tree of 8": within, "saved, tree of 8": saved}


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (["--rounds", "0"], "--rounds"),
        (["--tails", "4", "0"], "--tails"),
        (["--threads", "0"], "--threads"),
        (["--tails", "100000"], "--tails"),
        (["--scenes", "nowhere"], "nowhere"),
    ],
)
def test_a_wrong_call_is_named(
    call: list[str], said: str, pair_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tail.main(["--pair", str(pair_file), *call]) == 2
    assert said in capsys.readouterr().err
