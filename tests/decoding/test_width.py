"""How much is drafted: a fixed number, or as much as the clock says."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.width import NOTHING, USUAL, Auto, Fixed, Took, cost_of, cutting
from crossdraft.drafters.base import Budget, CostCurve
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.registry import create
from tests.decoding.engine import Made
from tests.make import pair_of
from tests.vlm.costs import curves

STEP_MS = 10.0


def dear(tokens: int) -> float:
    """Every further token of a pass costs a tenth of a step."""
    return 1 + 0.1 * (tokens - 1)


def drive(
    width: Auto,
    passes: int,
    emitted: Callable[[int], int],
    *,
    drafted: int = 10,
    draft_ms: float = 0.0,
    cost: CostCurve = dear,
) -> list[bool]:
    """Passes as they would be: where the drafter is asked the pass is wider, takes longer, and
    gives more; whether it was asked, for each."""
    asked = []
    for number in range(passes):
        on = width.budget(1).nodes > 0
        asked.append(on)
        nodes = drafted if on else 0
        width.saw(
            Took(
                on,
                nodes,
                emitted(number) if on else 1,
                draft_ms if on else 0.0,
                STEP_MS * cost(1 + nodes),
            )
        )
    return asked


def rests(asked: list[bool]) -> list[int]:
    """Lengths of the pauses that ended."""
    text = "".join("x" if on else "." for on in asked)
    return [len(pause) for pause in text.rstrip(".").split("x") if pause]


@given(st.lists(st.booleans(), max_size=9))
def test_a_fixed_width_never_changes(asked: list[bool]) -> None:
    width = Fixed(Budget.chain(3))
    for one in asked:
        width.saw(Took(one, 3, 1, 500.0, 500.0))
        assert width.budget(1) == Budget.chain(3)
    assert NOTHING.nodes == 0


def test_it_goes_on_where_drafting_pays() -> None:
    """Eleven tokens wide costs two steps and gives three tokens."""
    width = Auto(dear)
    assert width.budget(0) == USUAL
    assert all(drive(width, 200, lambda _: 3))
    assert width.pays


def test_a_budget_of_its_own() -> None:
    assert Auto(dear, Budget.chain(4)).budget(0) == Budget.chain(4)


def test_it_rests_ever_longer_where_drafting_does_not_pay() -> None:
    """And tries a few passes behind each rest."""
    width = Auto(dear)
    asked = drive(width, 600, lambda _: 1)
    assert asked[: Auto.TRIAL] == [True] * Auto.TRIAL
    assert rests(asked) == [8, 16, 32, 64, 128, 128, 128]
    text = "".join("x" if on else "." for on in asked)
    assert {len(trial) for trial in text.split(".") if trial} == {Auto.TRIAL}


def test_it_comes_back_when_drafting_pays_again() -> None:
    width = Auto(dear)
    drive(width, 100, lambda _: 1)
    asked = drive(width, 300, lambda _: 4)
    first = asked.index(True)
    assert first <= 128
    assert all(asked[first:])
    # What it once rested is forgotten: the next rest is a short one.
    assert rests(drive(width, 60, lambda _: 1))[0] == Auto.REST


def test_a_trial_is_judged_by_itself() -> None:
    """What passes gave before a rest says nothing about those behind it."""
    width = Auto(dear)
    # Five tokens a pass for two steps of time pay; twenty passes at a tenth of that do not.
    drive(width, Auto.TRIAL, lambda _: 1, draft_ms=200 * STEP_MS)
    asked = drive(width, Auto.REST + Auto.TRIAL + 1, lambda _: 5)
    assert asked == [False] * Auto.REST + [True] * (Auto.TRIAL + 1)


def test_steps_cost_something() -> None:
    with pytest.raises(InputError, match="a plain step costs 0"):
        Auto(lambda _: 0.0)


def test_times_of_the_drafter_count() -> None:
    """Two tokens at one and a half steps pay, unless proposing takes a step of its own."""
    assert all(drive(Auto(dear), 60, lambda _: 2, drafted=5))
    slow = drive(Auto(dear), 60, lambda _: 2, drafted=5, draft_ms=STEP_MS)
    assert slow.index(False) == Auto.TRIAL
    assert all(drive(Auto(dear), 60, lambda _: 2, drafted=5, draft_ms=0.4 * STEP_MS))


def test_the_border_is_a_plain_step() -> None:
    for tokens, pays in ((2.1, True), (1.9, False)):
        width = Auto(dear)
        parts = [0.0]

        def emitted(_: int, tokens: float = tokens, parts: list[float] = parts) -> int:
            parts[0] += tokens
            whole = int(parts[0])
            parts[0] -= whole
            return whole

        assert all(drive(width, 8, emitted)) and width.budget(1).nodes == (32 if pays else 0)


def test_plain_steps_are_measured_where_the_costs_are_wrong() -> None:
    """Costs that promise dear passes make steps look cheap, until plain steps are seen: a target
    whose wide passes are free rests for a while and then drafts on."""
    width = Auto(lambda tokens: 1.0 if tokens == 1 else 4.0)
    asked = drive(width, 400, lambda _: 3, drafted=7, cost=lambda _: 1.0)
    assert not all(asked)
    assert sum(asked[-100:]) > sum(asked[:20])


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.floats(0, 50)), max_size=60))
def test_it_never_fails_whatever_it_sees(
    seen: list[tuple[bool, int, float]],
) -> None:
    """Passes without a draft although one was wanted, empty proposals, no time at all."""
    width = Auto(dear)
    for asked, emitted, ms in seen:
        width.saw(Took(asked, (emitted - 1) if asked else 0, emitted, ms, ms))
        assert width.budget(0) in (USUAL, NOTHING)


def test_passes_that_could_not_draft_are_not_judged() -> None:
    width = Auto(dear)
    for _ in range(50):
        width.saw(Took(False, 0, 1, 0.0, STEP_MS))
    assert width.budget(0) == USUAL


def test_any_drafter_is_cut_as_an_ensemble() -> None:
    suffix = create("suffix")
    cut = cutting(suffix)
    assert isinstance(cut, EnsembleDrafter)
    assert (cut.name, cut.parts) == ("suffix", (suffix,))
    assert cut.needs == suffix.needs
    both = create("suffix+position")
    assert cutting(both) is both


def test_what_is_cut_costs_more_than_it_gives() -> None:
    """Its own proposal where verifying is free; less of it where it is dear."""
    from crossdraft.decoding.stream import AnswerStream
    from crossdraft.drafters.base import Context, flat_cost

    def proposed(cost: CostCurve) -> DraftTree:
        drafter = cutting(create("suffix"))
        drafter.fit([pair_of([5, 6, last, last + 1, last + 2, 2]) for last in range(20, 60, 3)])
        drafter.begin(Context("what", AnswerStream(), cost))
        return drafter.propose((5, 6), Budget.tree(16, 8))

    assert len(proposed(flat_cost)) == 16
    assert 0 < len(proposed(lambda tokens: 1 + 0.05 * (tokens - 1))) < 16
    assert len(proposed(lambda tokens: float(tokens))) == 0


def test_a_cut_drafter_proposes_in_its_own_name() -> None:
    from crossdraft.decoding.stream import AnswerStream
    from crossdraft.drafters.base import Context

    drafter = cutting(Made((4, 5, 1)))
    drafter.begin(Context("what", AnswerStream()))
    tree = drafter.propose((), Budget.chain(2))
    assert tree.tokens.tolist() == [4, 5]
    assert [tree.source_names[source] for source in tree.sources] == ["made", "made"]


def test_costs_are_the_measured_ones_of_trees_and_go_on_beyond() -> None:
    measured = curves({1: 1.0, 9: 9.0}, trees={1: 1.0, 5: 1.8, 9: 3.0})
    cost = cost_of(measured)
    for tokens in range(1, 10):
        assert cost(tokens) == measured.cost(tokens)
    assert cost(13) == pytest.approx(3.0 + 4 * 2.0 / 8)
    assert cost(17) - cost(13) == pytest.approx(cost(13) - cost(9))


def test_costs_of_one_width_alone_stay_as_they_are() -> None:
    assert cost_of(curves({1: 1.0}))(40) == 1.0


def test_a_drafter_that_stops_by_itself_is_told_the_prices() -> None:
    """As deep as it may, at what a token and a node take of late."""
    width = Auto(dear, stops=True)
    assert width.budget(0) == USUAL, "nothing is known yet"
    drive(width, 6, lambda _: 3, drafted=10)
    asked = width.budget(1)
    assert (asked.nodes, asked.depth) == (USUAL.nodes, USUAL.depth)
    assert asked.token_ms == pytest.approx(STEP_MS * dear(11) / 3)
    assert asked.node_ms == pytest.approx(0.1 * STEP_MS)
    other = Auto(dear)
    drive(other, 6, lambda _: 3, drafted=10)
    assert other.budget(1).token_ms == other.budget(1).node_ms == 0.0
