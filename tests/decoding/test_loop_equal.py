"""Lossless means equal: whatever is drafted, verified or cut, the answer is that of plain decoding,
token for token, and ends where it ends for the same reason. On a scripted target, many cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import replay
from crossdraft.decoding.rules import Sampling, TopK, Warp
from crossdraft.decoding.width import Auto
from crossdraft.drafters.base import Budget
from crossdraft.drafters.registry import create
from tests.decoding.engine import (
    DRAFTABLE,
    PROMPT,
    VOCAB,
    Drawing,
    Draws,
    Ends,
    Floats,
    Language,
    Made,
    Noting,
    Scripted,
    answer,
    largest,
    may_draft,
    plain,
)
from tests.decoding.trials import CHOICES, UNTRAINED, endings, trials
from tests.make import pair_of


@settings(max_examples=150)
@given(data=st.data(), seed=st.integers(0, 498))
@pytest.mark.parametrize("choice", CHOICES)
def test_any_drafter_leaves_the_answer_as_it_is(
    choice: str, seed: int, data: st.DataObject
) -> None:
    language = Language(seed)
    choose, rule = CHOICES[choice]
    logits = language.behind()
    long, _ = plain(logits, Ends(16), choose)
    ends = data.draw(endings(long))
    trial = data.draw(trials(long, (*range(VOCAB), VOCAB + 3, -1), choice == "greedy"))
    # The last token that is said is never read.
    size = None if ends.room is None else len(PROMPT.ids) + ends.room - 1
    session = Scripted(language, size)
    runs: list[int] = []
    found = answer(
        session,
        trial.drafter,
        ends.stopping(),
        trial.width,
        rule=rule,
        words=trial.words,
        on_tokens=runs.extend,
    )
    said, end = plain(logits, ends, choose)
    assert (found.tokens, found.end) == (said, end)
    assert tuple(runs) == said
    whole = (*PROMPT.ids, *said)
    assert session.tokens == whole[: len(session.tokens)]
    assert len(whole) - len(session.tokens) in (0, 1)


@given(data=st.data(), seed=st.integers(0, 498))
def test_the_same_drafter_goes_on_over_many_answers(seed: int, data: st.DataObject) -> None:
    """What it learned of one answer changes what it drafts for the next one, and nothing else."""
    drafter, width = create(data.draw(st.sampled_from(UNTRAINED))), Auto(lambda _: 1.0)
    session = Scripted(Language(seed))
    accepted = 0
    for most in (9, 14, 6, 14):
        ends = Ends(most, {data.draw(st.integers(0, VOCAB - 1))})
        said, end = plain(Language(seed).behind(), ends, largest)
        found = answer(session.fork(), drafter, ends.stopping(), width, words=said)
        assert (found.tokens, found.end) == (said, end)
        accepted += sum(found.accepted)
    if drafter.name == "drafter-text" and max(said) < DRAFTABLE:
        assert accepted


def test_drawn_drafts_leave_the_distribution_as_it_is() -> None:
    """Of whole answers, over many seeds; a drafter that lies about what it drew from does not."""
    warp = Warp(0.9, top_p=0.95)
    target, draws = Language(17), Draws(0, 0.9, 0, 0.95)
    offered = Draws(0, 1.6).chances
    elsewhere = Language(18)

    def drawing(claims: Callable[[Floats], Floats]) -> float:
        drafter = Drawing(lambda said: offered(elsewhere.logits(said)), 1, claims)
        session = Scripted(target)
        seen: dict[tuple[int, ...], int] = {}
        for seed in range(1500):
            found = answer(
                session.fork(),
                drafter,
                Ends(2).stopping(),
                Budget(4, 2, 2),
                rule=Sampling(warp, seed),
            )
            seen[found.tokens] = seen.get(found.tokens, 0) + 1
        return _chance(seen, lambda said: draws.chances(target.behind()(said)))

    def flatter(row: Floats) -> Floats:
        return np.asarray(row**0.3 / (row**0.3).sum())

    assert drawing(lambda row: row) > 1e-3
    assert drawing(flatter) < 1e-6


def _chance(seen: dict[tuple[int, ...], int], chances: Callable[[Sequence[int]], Floats]) -> float:
    """Of counts of two tokens so far from these chances, or farther; rare ones together."""
    first = chances(())
    expected: dict[tuple[int, ...], float] = {
        (a, b): float(first[a] * second)
        for a in np.flatnonzero(first).tolist()
        for b, second in enumerate(chances((a,)))
    }
    total = sum(seen.values())
    often = [key for key, chance in expected.items() if chance * total >= 5]
    wanted = [expected[key] * total for key in often]
    found = [seen.get(key, 0) for key in often]
    wanted.append(total - sum(wanted))
    found.append(total - sum(found))
    assert all(expected.get(key, 0.0) > 0 for key in seen), "a token that cannot come"
    away = sum((f - w) ** 2 / w for f, w in zip(found, wanted, strict=True))
    half = torch.tensor([(len(wanted) - 1) / 2, away / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


@settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0, 498))
def test_any_drafter_counts_as_in_replay(seed: int, data: st.DataObject) -> None:
    """Of the scripted target; every draft may be verified here, as replay knows no bans."""
    logits = Language(seed).behind()
    eos = data.draw(st.integers(0, VOCAB - 1))
    said, end = plain(logits, Ends(20, {eos}), largest)
    budget = data.draw(st.sampled_from([Budget.chain(3), Budget.tree(9, 4), Budget(7, 3, 2)]))
    skill = data.draw(st.sampled_from([0.0, 0.6, 1.0]))
    made = [Noting(Made(said, seed, skill=skill, spread=2)) for _ in range(2)]
    outcome = replay(made[0], pair_of(said), budget, Arrival())
    session = Scripted(Language(seed), draftable=VOCAB)
    found = answer(
        session,
        made[1],
        Ends(60, {eos}).stopping(),
        budget,
        allowed=lambda ids: (ids >= 0) & (ids < VOCAB),
    )
    if end == "eos":
        assert (found.tokens, found.accepted, found.drafted) == (
            said,
            outcome.accepted,
            outcome.drafted,
        )
        assert made[0].calls("observe") == made[1].calls("observe")


def test_a_relaxed_rule_is_not_equal() -> None:
    """The tests above would notice: a rule that takes a draft for being good enough changes the
    answer of the same target with the same drafters."""
    changed = 0
    for seed in range(20):
        said, _ = plain(Language(seed).behind(), Ends(12), largest)
        drafter = Made((), seed, spread=3)
        found = answer(
            Scripted(Language(seed)), drafter, Ends(12).stopping(), Budget.chain(3), rule=TopK(3)
        )
        changed += found.tokens != said
    assert changed > 10


def test_bans_are_those_of_the_target() -> None:
    """The scripted one of these tests refuses what a real one would."""
    assert may_draft(np.array([-1, 0, DRAFTABLE - 1, DRAFTABLE])).tolist() == [
        False, True, True, False,
    ]  # fmt: skip
