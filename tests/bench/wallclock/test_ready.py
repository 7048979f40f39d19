"""Drafters as a round begins with them."""

from __future__ import annotations

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.bench.wallclock.ready import Stable
from crossdraft.decoding.event_words import silent
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.drafters.calibration import Calibration
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.none import NoDrafter
from tests.bench.wallclock.ground import steep
from tests.make import QUESTION, recorded_pairs

LEARNED = recorded_pairs(40, drives=4)
ANSWER = (50, 51, 52, 53, 54)
WIDE = Budget.tree(16, 8)


def proposed(drafter: Drafter, prefix: tuple[int, ...] = ()) -> DraftTree:
    drafter.begin(Context(QUESTION, silent(), steep))
    return drafter.propose(prefix, WIDE)


def test_what_a_round_teaches_the_next_one_does_not_know() -> None:
    stable = Stable("suffix", (), steep)
    first = stable.fresh()
    assert not len(proposed(first))
    first.finish(ANSWER)
    assert proposed(first, ANSWER[:1]).tokens.tolist()[0] == 51
    assert not len(proposed(stable.fresh(), ANSWER[:1]))


@pytest.mark.parametrize("name", ["suffix", "suffix+position"])
def test_recorded_answers_are_known_from_the_start(name: str) -> None:
    stable = Stable(name, LEARNED, steep)
    trees = [proposed(stable.fresh(), (5, 6)) for _ in range(2)]
    assert trees[0].tokens.tolist()[0] == 7
    assert trees[0].tokens.tolist() == trees[1].tokens.tolist()
    assert not len(proposed(Stable(name, (), steep).fresh(), (5, 6)))


def test_claims_are_worth_what_they_were_on_held_out_drives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    calibrated = Stable._calibrated

    def counted(stable: Stable) -> Calibration:
        asked.append(1)
        return calibrated(stable)

    monkeypatch.setattr(Stable, "_calibrated", counted)
    stable = Stable("suffix", LEARNED, steep)
    drafters = [stable.fresh() for _ in range(3)]
    unlearned = Stable("suffix", (), steep).fresh()
    assert isinstance(unlearned, EnsembleDrafter)
    for one in drafters:
        assert isinstance(one, EnsembleDrafter)
        assert one.calibration.to_json() != unlearned.calibration.to_json()
    assert len(asked) == 1


def test_a_bare_drafter_proposes_more_than_pays() -> None:
    stable = Stable("suffix", LEARNED, lambda n: 1.0 + 10 * (n - 1))
    bare, cut = stable.bare(), stable.fresh()
    assert not isinstance(bare, EnsembleDrafter)
    assert len(proposed(bare, (5,))) > len(proposed(cut, (5,)))


def test_nobody() -> None:
    stable = Stable(None, LEARNED, steep)
    assert isinstance(stable.bare(), NoDrafter) and not len(proposed(stable.fresh()))


@pytest.mark.parametrize("name", ["eagle", "translator", ""])
def test_a_drafter_that_is_not_there_is_refused_at_once(name: str) -> None:
    with pytest.raises(InputError):
        Stable(name, (), steep)
