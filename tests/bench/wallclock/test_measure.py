"""Alternation, and how a benchmark that was killed goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress, silent
from crossdraft.bench.wallclock import measure as module
from crossdraft.bench.wallclock.answering import Ground, Place
from crossdraft.bench.wallclock.configuration import Configuration, configurations
from crossdraft.bench.wallclock.measure import LINES, Lines, measure
from crossdraft.bench.wallclock.record import Run
from crossdraft.drafters.base import flat_cost
from crossdraft.vlm.pair_models import PairModels
from tests.bench.wallclock.ground import TEXTS, asked, bare_ground, prepare, scenes, steep
from tests.bench.wallclock.made_runs import plain, run

#: Three test questions with a validation question between them.
TEST = asked("test", scenes(["t"], 3), TEXTS[:1])
ORDER = [*TEST[:2], *asked("validation", scenes(["v"], 1), TEXTS[:1]), TEST[2]]
CONFIGS = configurations("none,a,b")
ROUNDS = 2

#: What was done: `ask` or `learn`, by whom (a new one in each hall), about which question.
Event = tuple[str, str, int, str, int]


class Scribe:
    """Answers with the number of its turn, and writes down what it is asked and told."""

    def __init__(self, name: str, number: int, log: list[Event]) -> None:
        self.name, self.number, self.log, self.closed = name, number, log, False

    def ask(self, place: Place, turn: int) -> tuple[Run, None]:
        self.log.append(("ask", self.name, self.number, place.part, place.number))
        tokens = (turn, place.number, len(self.name))
        return run(
            self.name, part=place.part, round=turn, number=place.number, tokens=tokens,
            question=place.scene.id,
        ), None  # fmt: skip

    def learn(self, question: str, answer: Sequence[int]) -> None:
        self.log.append(("learn", self.name, self.number, question, answer[1]))

    def close(self) -> None:
        self.closed = True


class House:
    """Everybody who answers."""

    def __init__(self) -> None:
        self.log: list[Event] = []
        self.all: list[Scribe] = []

    def open(self, one: Configuration, _: Ground) -> Scribe:
        self.all.append(Scribe(one.name, len(self.all), self.log))
        return self.all[-1]

    def measure(self, folder: Path, *, warmup: int = 0, sink: Any = silent) -> list[Run]:
        lines = Lines(folder / LINES)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "answering", self.open)
            measure(bare_ground(flat_cost), CONFIGS, ORDER, ROUNDS, warmup, lines, sink)
        return lines.runs


def keys(runs: Sequence[Run]) -> list[tuple[int, str, int, str]]:
    return [(one.round, one.part, one.number, one.configuration) for one in runs]


EVERY = {
    (turn, place.part, place.number, one.name)
    for turn in range(ROUNDS)
    for place in ORDER
    for one in CONFIGS
}


def test_everybody_answers_every_question_once_a_round_in_turns(tmp_path: Path) -> None:
    house, told = House(), list[Progress]()
    found = keys(house.measure(tmp_path, sink=told.append))
    assert len(found) == len(EVERY) and set(found) == EVERY
    turns = [found[at : at + 3] for at in range(0, len(found), 3)]
    assert [turn[0][:3] for turn in turns] == [
        (r, place.part, place.number) for r in range(ROUNDS) for place in ORDER
    ]
    order = ["".join(key[3][0] for key in turn) for turn in turns]
    assert {"".join(sorted(turn)) for turn in order} == {"abn"}
    assert {turn[0] for turn in order} == set("abn"), "who goes first changes"
    behind = {turn[turn.index("n") - 1] for turn in order if turn[0] != "n"}
    assert behind == set("ab"), "and who comes behind whom"
    assert [(p.done, p.total) for p in told] == [(n + 1, 8) for n in range(8)]
    assert keys(Lines(tmp_path / LINES).runs) == found, "and all of it is in the file"


def test_each_round_and_part_begins_anew(tmp_path: Path) -> None:
    house = House()
    house.measure(tmp_path)
    assert len(house.all) == ROUNDS * len(CONFIGS) * 2
    for one in house.all:
        parts = {event[3] for event in house.log if event[2] == one.number}
        assert len(parts) == 1 and one.closed


def test_warming_up_is_forgotten(tmp_path: Path) -> None:
    house, told = House(), list[Progress]()
    found = keys(house.measure(tmp_path, warmup=9, sink=told.append))
    assert set(found) == EVERY and len(found) == len(EVERY)
    warm = [one for one in house.all if one.number < 6]
    assert len(house.log) == len(EVERY) + len(ORDER) * len(CONFIGS)
    assert all(one.closed for one in warm)
    assert [p.done for p in told[:5]] == [1, 2, 3, 4, 1]
    # Where everything is there, nobody is asked for nothing.
    again = House()
    assert keys(again.measure(tmp_path, warmup=9)) == found and not again.log


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a benchmark that nobody interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    House().measure(folder)
    return (folder / LINES).read_bytes()


@settings(max_examples=40)
@given(share=st.floats(0, 1))
def test_whatever_was_cut_off_is_asked_and_the_rest_is_told(whole: bytes, share: float) -> None:
    cut = round(share * len(whole))
    done = whole[:cut].count(b"\n")
    with TemporaryDirectory() as name:
        folder, house = Path(name), House()
        (folder / LINES).write_bytes(whole[:cut])
        found = keys(house.measure(folder))
        assert (folder / LINES).read_bytes().splitlines() == [
            json.dumps(one.to_json()).encode() for one in Lines(folder / LINES).runs
        ]
    assert sorted(found) == sorted(EVERY), "no answer twice, and none missing"
    asks = [event for event in house.log if event[0] == "ask"]
    assert len(asks) == len(EVERY) - done
    # Whoever was asked in a round has been told, or has said, all that came before.
    for one in house.all:
        numbers = [event[4] for event in house.log if event[2] == one.number]
        assert numbers == sorted(set(numbers)) and (not numbers or numbers[0] == 0)


@pytest.mark.parametrize(
    "line",
    [b"{}", b"[1]", b"7", b"\xff\xfe", b"{", b'{"tokens": [1], "arrival_ms": 5}'],
)
def test_other_lines_are_refused(tmp_path: Path, line: bytes) -> None:
    good = json.dumps(plain().to_json()).encode() + b"\n"
    file = tmp_path / LINES
    file.write_bytes(good + line + b"\n" + good)
    with pytest.raises(InputError, match="not the lines of a benchmark") as caught:
        Lines(file)
    assert caught.value.where == file
    assert file.read_bytes().count(b"\n") == 3, "what cannot be read is left as it is"


def test_a_torn_line_is_dropped_and_a_folder_that_is_gone_is_said(tmp_path: Path) -> None:
    lines = Lines(tmp_path / "gone" / LINES)
    with pytest.raises(InputError, match="cannot be written"):
        lines.add([plain()])
    assert lines.runs == []
    file = tmp_path / LINES
    file.write_text(json.dumps(plain().to_json())[:-1])
    assert Lines(file).runs == [] and file.read_bytes() == b""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ground, list[Place]]]:
    """Tiny models, and one scene that is asked about again and again."""
    site = prepare(tmp_path_factory.mktemp("live"))
    with PairModels(site.pair) as models:
        place = asked("test", list(site.dataset.of_split("test"))[:1], TEXTS[:1])[0]
        yield bare_ground(steep, models=models), [replace(place, number=n) for n in range(4)]


@pytest.mark.parametrize("width", ["suffix+nodes=6", "suffix+nodes=6+separate-verify"])
def test_what_was_learned_is_known_behind_an_interruption(
    live: tuple[Ground, list[Place]], tmp_path: Path, width: str
) -> None:
    """Drafts of the second round are those of the first, and those behind a kill as without."""
    ground, order = live
    whole = _asked(ground, order, tmp_path / "whole", configurations(width), 2)
    passes = {key: [f[:2] for f in one.forwards] for key, one in whole.items()}
    assert passes[0, 0, width] != passes[0, 3, width], "nothing was learned: the test is blind"
    for number in range(len(order)):
        assert passes[0, number, width] == passes[1, number, width]
    lines = (tmp_path / "whole").read_text().splitlines(keepends=True)
    for kept in (3, 12):
        (tmp_path / f"{kept}").write_text("".join(lines[:kept]))
        again = _asked(ground, order, tmp_path / f"{kept}", configurations(width), 2)
        assert {key: [f[:2] for f in one.forwards] for key, one in again.items()} == passes
        assert {key: one.tokens for key, one in again.items()} == {
            key: one.tokens for key, one in whole.items()
        }


def _asked(
    ground: Ground, order: list[Place], path: Path, configs: tuple[Configuration, ...], rounds: int
) -> dict[tuple[int, int, str], Run]:
    lines = Lines(path)
    measure(ground, configs, order, rounds, 0, lines, silent)
    return {(one.round, one.number, one.configuration): one for one in lines.runs}
