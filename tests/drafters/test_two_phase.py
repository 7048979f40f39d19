"""Two drafters in turn: who proposes when, who hears what, and how they are named."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.arrival import Arrival, RecordedStream
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget, Context, Drafter, Rows
from crossdraft.drafters.checkpoint import TrainedOn, save_drafter
from crossdraft.drafters.find import find_drafter, phases_of, seen_drives
from crossdraft.drafters.registry import create
from crossdraft.drafters.two_phase import TwoPhaseDrafter, split_phases
from crossdraft.pairs.record import Pair
from tests.make import QUESTION, recorded_pairs
from tests.tiny import built

PAIRS = recorded_pairs(12)


class Noting(Drafter):
    """Says one token and notes what it is told."""

    def __init__(self, name: str, token: int, needs: frozenset[str] = frozenset()) -> None:
        self.name, self.token, self.needs = name, token, needs
        self.told: list[object] = []

    def fit(self, pairs: Sequence[Pair]) -> None:
        self.told.append(("fit", len(pairs)))

    def begin(self, context: Context) -> None:
        self.told.append("begin")

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain([self.token] * budget.depth)

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        self.told.append((verification.path, verification.token, rows))

    def finish(self, answer: Sequence[int]) -> None:
        self.told.append(("finish", tuple(answer)))


def test_each_proposes_in_its_phase_and_both_hear_everything() -> None:
    first, later = Noting("a", 5, frozenset({"x"})), Noting("b", 6, frozenset({"y"}))
    both = TwoPhaseDrafter(first, later)
    assert both.name == "a:b" and both.needs == frozenset({"x", "y"})
    both.fit(PAIRS)
    both.begin(Context(QUESTION, RecordedStream(())))
    assert both.propose((), Budget.chain(3)).tokens.tolist() == [5, 5, 5]
    both.observe(Verification((0,), 7))
    assert both.propose((5, 7), Budget.chain(2)).tokens.tolist() == [6, 6]
    both.finish((5, 7))
    told = [("fit", 12), "begin", ((0,), 7, None), ("finish", (5, 7))]
    assert first.told == later.told == told


@given(st.integers(0, 11), st.integers(1, 6))
def test_replay_is_the_first_ones_prefill_and_the_others_rest(place: int, gamma: int) -> None:
    pair, budget = PAIRS[place], Budget.chain(gamma)

    def accepted(name: str) -> tuple[int, ...]:
        drafter = find_drafter(name)
        drafter.fit(PAIRS[:6])
        return replay(drafter, pair, budget, Arrival()).accepted

    both, first = accepted("position:suffix"), accepted("position")
    assert both[0] == first[0]
    silent = accepted("none:suffix")
    assert silent[0] == 0
    assert accepted("suffix:suffix") == accepted("suffix")
    assert sum(both) + len(both) >= len(pair.target_tokens)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two runs; the path of one holds a `:`."""
    monkeypatch.chdir(tmp_path)
    for name, folder in (("translator", "run"), ("token-adapter", "runs/12:30")):
        (tmp_path / folder).mkdir(parents=True)
        trained_on = TrainedOn((), (f"drive of {name}",))
        save_drafter(built(name, PAIRS), tmp_path / folder / "best_model.safetensors", trained_on)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("none:suffix", "none:suffix"),
        ("drafter-text:suffix+position", "drafter-text:suffix+position"),
        ("run:suffix", "translator:suffix"),
        ("run:runs/12:30", "translator:token-adapter"),
        ("runs/12:30:run", "token-adapter:translator"),
        ("runs/12:30+suffix:none", "token-adapter+suffix:none"),
    ],
)
def test_named(here: Path, text: str, name: str) -> None:
    drafter = find_drafter(text)
    assert isinstance(drafter, TwoPhaseDrafter) and drafter.name == name


def test_a_path_with_the_sign_alone_is_one_drafter(here: Path) -> None:
    assert find_drafter("runs/12:30").name == "token-adapter"
    assert phases_of("runs/12:30") is None and phases_of("suffix") is None
    assert seen_drives("run:runs/12:30") == {"drive of translator", "drive of token-adapter"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sufix:none", "'sufix'"),
        ("none:sufix", "'sufix'"),
        ("none:suffix:position", "'suffix:position'"),
        ("suffix:", "'suffix:'"),
        ("translator:suffix", "translator must be trained first"),
    ],
)
def test_what_is_wrong_is_said_of_the_side(here: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        find_drafter(text)


def test_readings() -> None:
    assert split_phases("a:b:c") == [("a", "b:c"), ("a:b", "c")]
    assert split_phases(":a") == split_phases("a") == []
    with pytest.raises(InputError):
        create("suffix:none")
