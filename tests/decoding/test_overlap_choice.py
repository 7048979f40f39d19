"""Which way is the fastest: measured once, kept, and again where what is kept is no use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.device import usable_cores
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding import overlap_choice
from crossdraft.decoding.event_words import EventWords, ways_of
from crossdraft.decoding.overlap import Way
from crossdraft.decoding.overlap_choice import (
    Unlearning,
    chosen_way,
    measured_ways,
    overlap_file,
)
from crossdraft.decoding.speculator import Speculator
from crossdraft.decoding.width import Auto
from crossdraft.drafters.base import Budget
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import QUESTION
from tests.decoding.overlap_kit import Loaded, float64_pair
from tests.decoding.test_speculator import Listener

NONE, TURN, THREAD, UNTIL = Way("none"), Way("sequential"), Way("thread"), Way("thread", False)
WAYS = (NONE, TURN, THREAD, UNTIL)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> PairModels:
    return PairModels(float64_pair(tmp_path_factory.mktemp("pair")))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept" / "overlap"


class Clock:
    """What each way takes, and which were tried."""

    def __init__(self, **ms: float) -> None:
        self.ms, self.tried = ms, list[Way]()

    def __call__(self, way: Way) -> float:
        self.tried.append(way)
        return self.ms[way.mode] + (0.5 if not way.goes_on else 0.0)


def chosen(models: Any, clock: Clock, ways: Sequence[Way] = WAYS) -> tuple[Way, list[str]]:
    notes: list[str] = []
    return chosen_way(models, DrafterText(), ways, clock, notes.append), notes


def test_the_fastest_is_measured_once_and_kept(models: PairModels, cache: Path) -> None:
    clock = Clock(none=9.0, sequential=12.0, thread=7.0)
    best, notes = chosen(models, clock)
    assert best == THREAD
    assert len(clock.tried) == 4 * len(WAYS)
    assert notes[0].startswith("measuring")
    assert notes[1] == (
        "the event model works thread: none 9 ms, sequential 12 ms, thread 7 ms, "
        "thread:prefill 8 ms"
    )
    (file,) = cache.iterdir()
    kept = json.loads(file.read_text())
    assert (kept["way"], kept["median_ms"]["none"]) == ("thread", 9.0)
    clock.tried.clear()
    assert chosen(models, clock) == (THREAD, [])
    assert clock.tried == []


def test_not_to_ask_it_is_a_way_too_and_the_first_of_equals_wins(models: PairModels) -> None:
    assert chosen(models, Clock(none=7.0, sequential=7.0, thread=7.0))[0] == NONE


def test_a_single_way_needs_no_measuring(models: PairModels, cache: Path) -> None:
    assert chosen(models, Clock(), (TURN,)) == (TURN, [])
    assert not cache.exists()


@pytest.mark.parametrize(
    "damage",
    [
        "", "{", "[]", "7", '{"way": "thread"}', '{"format": "crossdraft.overlap/1"}',
        '{"format": "crossdraft.overlap/0", "way": "none"}',
        '{"format": "crossdraft.overlap/1", "way": "telepathy"}',
        '{"format": "crossdraft.overlap/1", "way": ["none"]}',
        '{"format": "crossdraft.overlap/1", "way": "process"}', b"\xff\xfe\x00",
    ],
)  # fmt: skip
def test_a_file_that_is_no_use_is_measured_again(models: PairModels, damage: str | bytes) -> None:
    """Damaged, of another version, or with a way that cannot be gone here."""
    file = overlap_file(models, DrafterText())
    file.parent.mkdir(parents=True)
    file.write_bytes(damage if isinstance(damage, bytes) else damage.encode())
    assert chosen(models, Clock(none=9.0, sequential=2.0, thread=7.0))[0] == TURN
    assert json.loads(file.read_text())["way"] == "sequential"


def test_it_holds_for_one_pair_drafter_and_number_of_cores(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = PairModels(replace(models.pair, drafter=replace(models.pair.drafter, frames=1)))
    other._held = models._held
    files = {
        overlap_file(models, DrafterText()),
        overlap_file(models, SuffixDrafter()),
        overlap_file(other, DrafterText()),
        overlap_file(Loaded(models.target, models.drafter), DrafterText()),
        overlap_file(Loaded(models.target, models.target), DrafterText()),
    }
    monkeypatch.setattr(overlap_choice, "usable_cores", lambda: usable_cores() + 1)
    files.add(overlap_file(models, DrafterText()))
    assert len(files) == 6


def test_where_nothing_can_be_kept_a_note_says_so(models: PairModels, cache: Path) -> None:
    cache.parent.write_text("a file where a folder should be")
    best, notes = chosen(models, Clock(none=9.0, sequential=12.0, thread=7.0))
    assert best == THREAD
    assert "cannot be written" in notes[-1]


@given(
    st.lists(st.lists(st.floats(0, 1e6), min_size=3, max_size=3), min_size=1, max_size=4),
    st.floats(0, 1e9),
)
def test_ways_take_turns_and_the_first_round_does_not_count(
    times: list[list[float]], warm: float
) -> None:
    ways = WAYS[: len(times)]
    seen: dict[Way, int] = dict.fromkeys(ways, 0)
    order: list[Way] = []

    def total_ms(way: Way) -> float:
        order.append(way)
        turn = seen[way]
        seen[way] += 1
        return warm if turn == 0 else times[ways.index(way)][turn - 1]

    medians = measured_ways(ways, total_ms)
    assert medians == {way: sorted(each)[1] for way, each in zip(ways, times, strict=True)}
    rounds = [order[i : i + len(ways)] for i in range(0, len(order), len(ways))]
    assert all(set(one) == set(ways) for one in rounds)
    assert [one[0] for one in rounds] == [ways[turn % len(ways)] for turn in range(4)]


class On:
    """A model on a device."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)


class Placed(PairModels):
    """A pair on devices that need not be there."""

    def __init__(self, models: PairModels, target: str, drafter: str) -> None:
        pair = models.pair
        super().__init__(
            replace(
                pair,
                target=replace(pair.target, device=target),
                drafter=replace(pair.drafter, device=drafter),
            )
        )
        self._held = {"target": On(target)}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("target", "drafter", "cores", "beside"),
    [
        ("cpu", "cpu", 1, ()),
        ("cpu", "cpu", 2, ("process",)),
        ("cuda", "cuda", 1, ("thread", "process")),
        ("cuda", "cpu", 1, ("thread", "process")),
        ("cuda:0", "cuda:1", 8, ("thread", "process")),
        ("cpu", "cuda", 1, ("thread",)),
    ],
)
def test_the_ways_that_could_be_the_fastest(
    models: PairModels, target: str, drafter: str, cores: int, beside: tuple[Any, ...]
) -> None:
    expected = [NONE, TURN, *(Way(mode, on) for mode in beside for on in (True, False))]
    assert list(ways_of(Placed(models, target, drafter), cores)) == expected


@pytest.mark.parametrize(
    ("target", "drafter", "thread"),
    [("cpu", "cpu", False), ("cuda", "cuda", True), ("cuda", "cpu", True)],
)
def test_models_that_were_loaded_elsewhere_have_no_process(
    target: str, drafter: str, thread: bool
) -> None:
    ways = ways_of(Loaded(On(target), On(drafter)), 8)
    assert ways == ((NONE, TURN, THREAD, UNTIL) if thread else (NONE, TURN))


def test_what_is_measured_is_not_learned() -> None:
    listener = Listener()
    Unlearning(listener).finish((1, 2))
    assert listener.answers == []
    assert Unlearning(listener).needs == listener.needs


def test_a_way_that_does_not_pay_leaves_no_rest_to_the_others(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every measured answer, and the first real one, begins with a width that has seen nothing."""
    monkeypatch.setattr("crossdraft.decoding.speculator.ways_of", lambda *_: WAYS)
    seen: list[int] = []
    begin = EventWords.begin

    with Speculator(models, DrafterText(), cost=lambda n: float(n), overlap="auto") as speculator:

        def noted(*arguments: Any) -> Any:
            width = speculator._width
            assert isinstance(width, Auto)
            seen.append(width._tried + width._resting)
            return begin(*arguments)

        monkeypatch.setattr(EventWords, "begin", noted)
        speculator.ask(MadeScene(), QUESTION, max_new_tokens=20)
    assert len(seen) > len(WAYS) and set(seen) == {0}


def test_the_first_question_decides_and_its_answer_is_the_targets_own(
    models: PairModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crossdraft.decoding.speculator.ways_of", lambda *_: WAYS)
    plain = Speculator(models, "none").ask(MadeScene(), QUESTION, max_new_tokens=8)
    notes: list[str] = []
    tree = Budget.tree(8, 4)
    listener = Listener()
    with Speculator(models, listener, width=tree, overlap="auto", note=notes.append) as speculator:
        assert speculator.way is None
        for _ in range(2):
            answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=8)
            assert answer.tokens == plain.tokens
            assert answer.overlap == str(speculator.way)
        assert len(notes) == 2
        assert listener.answers == [plain.tokens] * 2, "what was measured is no answer"
    with Speculator(models, Listener(), width=tree, overlap="auto", note=notes.append) as again:
        again.ask(MadeScene(), QUESTION, max_new_tokens=8)
        assert again.way == speculator.way
    assert len(notes) == 2
    shared = Speculator(models, Listener(), width=tree)
    shared.ask(MadeScene(), QUESTION, max_new_tokens=2)
    assert shared.way == TURN, "models on one CPU that were loaded elsewhere take turns"
