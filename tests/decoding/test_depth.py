"""How deep proposals are worth making: what was seen decides, whatever the drafter's kind."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.decoding.depth import Depth
from crossdraft.decoding.width import USUAL, Auto, Took

STEP_MS = 10.0


def flat(_: int) -> float:
    return 1.0


def lived(alpha: float, fixed_ms: float, level_ms: float, passes: int = 400) -> Auto:
    """A width behind many passes of a drafter with these costs, each of whose drafts is right with
    probability alpha; wide passes cost the target nothing."""
    rng, width = random.Random(0), Auto(flat)
    for number in range(1, passes + 1):
        budget = width.budget(number)
        depth = budget.depth if budget.nodes else 0
        right = 0
        while right < depth and rng.random() < alpha:
            right += 1
        draft_ms = fixed_ms + level_ms * depth if depth else 0.0
        width.saw(Took(depth > 0, depth, right + 1, draft_ms, STEP_MS, depth, depth))
    return width


def rate(alpha: float, fixed_ms: float, level_ms: float, depth: int) -> float:
    """Tokens per millisecond at one depth."""
    tokens = sum(alpha**k for k in range(depth + 1))
    return tokens / (STEP_MS + fixed_ms + level_ms * depth)


@pytest.mark.parametrize("alpha", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("fixed_ms", [0.0, 2.0])
@pytest.mark.parametrize("level_ms", [0.5, 1.5])
def test_depth_comes_near_the_best_there_is(alpha: float, fixed_ms: float, level_ms: float) -> None:
    best = max(rate(alpha, fixed_ms, level_ms, depth) for depth in range(1, 17))
    assert best * STEP_MS > 1, "drafting pays"
    width = lived(alpha, fixed_ms, level_ms)
    chosen = width.budget(1).depth
    assert rate(alpha, fixed_ms, level_ms, chosen) > 0.9 * best


def test_a_lookup_goes_as_deep_as_it_may() -> None:
    assert lived(0.75, 0.1, 0.0).budget(1).depth == USUAL.depth


def test_the_prefills_drafts_are_judged_by_themselves() -> None:
    """Of a drafter that has much to say at once there, or that writes them one by one as well."""
    for level_ms, shallow in ((0.0, False), (4.0, True)):
        width = lived(0.75, 0.0, 4.0)
        assert width.budget(1).depth < 4
        assert width.budget(0) == USUAL, "nothing was seen of them"
        width.saw(Took(True, 16, 4, 16 * level_ms, 100 * STEP_MS, 16, 16, 0))
        assert (width.budget(0).depth < 4) == shallow
        assert width.budget(1).depth < 4
    first = Auto(flat)
    first.saw(Took(True, 16, 4, 64.0, 100 * STEP_MS, 16, 16, 0))
    assert first.budget(0) == USUAL, "what a token takes is not known yet"


def test_a_drafter_nobody_knows_yet_is_tried_at_a_small_depth() -> None:
    assert Auto(flat).budget(1).depth == Depth.FIRST
    assert Depth().worth(2, STEP_MS) == 2


def test_a_fixed_part_is_told_from_the_levels() -> None:
    depth = Depth()
    for asked in (4, 2, 4, 1):
        depth.saw(asked, asked, 1, 6.0 + 1.0 * asked)
    assert depth.level_ms == pytest.approx(1.0)
    same = Depth()
    same.saw(4, 4, 1, 10.0)
    assert same.level_ms == pytest.approx(2.5), "of a single depth nothing can be told apart"


@pytest.mark.parametrize(
    ("deep_ms", "shallow_ms", "part"), [(8.0, 12.0, 0.25), (16.0, 2.0, 1.0), (12.0, 7.0, 0.79)]
)
def test_a_level_takes_between_a_quarter_of_a_drafts_time_and_all_of_it(
    deep_ms: float, shallow_ms: float, part: float
) -> None:
    """Deep ones quicker than shallow ones, much slower, and as a straight line has it."""
    depth = Depth()
    depth.saw(4, 4, 1, deep_ms)
    depth.saw(2, 2, 1, shallow_ms)
    assert depth.level_ms == pytest.approx(part * (deep_ms + shallow_ms) / 6, rel=1e-2)


def test_a_pass_without_a_proposal_says_nothing() -> None:
    depth = Depth()
    depth.saw(0, 0, 0, 5.0)
    assert (depth.worth(16, STEP_MS), depth.level_ms) == (Depth.FIRST, 0.0)
    seen = Depth()
    for each in (depth, seen):
        each.saw(3, 3, 2, 6.0)
    depth.saw(0, 0, 0, 5.0)
    assert (depth.alpha, depth.level_ms) == (seen.alpha, seen.level_ms)


def test_what_was_not_verified_is_no_refusal() -> None:
    """Three of three right, and the drafter made more: nobody knows about the fourth."""
    depth = Depth()
    for _ in range(200):
        depth.saw(8, 3, 3, 1.0)
    assert depth.alpha > 0.99
    for _ in range(200):
        depth.saw(8, 3, 1, 1.0)
    assert depth.alpha == pytest.approx(0.5, abs=0.01)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 16), st.integers(0, 16), st.integers(0, 17), st.floats(0, 1e4)
        ),
        max_size=30,
    ),
    st.integers(1, 16),
    st.floats(0, 1e3),
)  # fmt: skip
def test_it_never_fails_whatever_it_sees(
    seen: list[tuple[int, int, int, float]], most: int, token_ms: float
) -> None:
    depth = Depth()
    for asked, verified, accepted, ms in seen:
        depth.saw(asked, verified, accepted, ms)
    assert 1 <= depth.worth(most, token_ms) <= most
    assert 0 <= depth.alpha <= 1
    assert depth.level_ms >= 0
