"""Who waits for whom, to the nanosecond: tiny models at the published pace, times by arithmetic.

The event model says its word i at 96.7 + 10 i ms. The target's prefill starts at 141.6 ms and takes
315.5 ms, a pass 14.5 ms whatever it verifies; the question's pass may be a part of the prefill.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, cast

import pytest

from crossdraft.base.clock import told_by
from crossdraft.base.stated_time import StatedTime
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.loop import ALL_PASSES, Passes
from crossdraft.decoding.overlap import InThread, InTurn, Way
from crossdraft.decoding.speculator import Speculator
from crossdraft.drafters.base import Budget
from crossdraft.drafters.none import NoDrafter
from crossdraft.vlm.paced import Pace, PacedTarget
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.decoding.overlap_kit import Knows, Loaded
from tests.vlm.models import llama

PROMPT = Prompt((1, 7, 8, 9, 10), 2)
MOST = 41
FIRST, STEP = 96.7, 10.0  # the event model's first word, and each further one
START, END, PASS = 141.6, 457.1, 14.5  # the target's prefill, and a pass
LAST = [END + PASS * i for i in (2, 3, 4)]  # tokens 39 to 41, which no word is there in time for


class Broken:
    """An event model that fails behind so many words."""

    def __init__(self, target: Any, words: int) -> None:
        self._target, self._words = target, words

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)

    def open(self, *arguments: Any, **options: Any) -> Any:
        return _Breaking(self._target.open(*arguments, **options), self._words)


class _Breaking:
    def __init__(self, session: Any, words: int) -> None:
        self._session, self._left = session, words

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def fork(self, *arguments: Any) -> Any:
        return _Breaking(self._session.fork(*arguments), self._left)

    def extend(self, *arguments: Any) -> Any:
        self._left -= 1
        if not self._left:
            raise RuntimeError("out of memory")
        return self._session.extend(*arguments)


@cache
def small(seed: int) -> Target:
    model = Target(llama(seed=seed))
    model.prompts = lambda scene, question: PROMPT  # any question
    return model


@cache
def truth() -> tuple[int, ...]:
    """What the target says by itself."""
    return Speculator(small(0), "none").ask("scene", "what", max_new_tokens=MOST).tokens


def wrong() -> tuple[int, ...]:
    """Words of which the target would say none."""
    return tuple(3 + (token - 2) % 100 for token in truth())


def answered(
    way: Way,
    words: Sequence[int] | None,
    *,
    share: float = 1.0,
    nodes: int = 64,
    drafter: Pace | None = None,
    fails_behind: int | None = None,
    passes: Passes = ALL_PASSES,
    questions: int = 1,
) -> tuple[list[Generation], list[tuple[float, int]]]:
    """Answers at the published pace, and what had arrived whenever the drafter was asked.

    Args:
        words: what is proposed, as far as the event model has said as many; None: nothing.
        share: of the prefill that is the question's pass.
        nodes: drafts at most in a pass.
        fails_behind: words of the event model before it fails.
    """
    time = StatedTime()
    with told_by(time):
        target = PacedTarget(small(0), Pace.published_target(share), time)
        events: Any = PacedTarget(small(3), drafter or Pace.published_drafter(), time)
        if fails_behind is not None:
            events = Broken(events, fails_behind)
        side = {"thread": InThread, "sequential": InTurn}.get(way.mode)
        chosen = NoDrafter() if words is None else Knows(words)
        speculator = Speculator(
            cast(Any, Loaded(target, events)),
            chosen,
            width=Budget.chain(nodes),
            overlap=None if side is None else side(lambda: events),
            passes=passes,
        )
        if words is not None:
            speculator.way = way
        answers = []
        for _ in range(questions):
            # The drafter is asked for nothing before the first answer: not part of any.
            answers.append(speculator.ask(object(), "what", max_new_tokens=MOST))
        speculator.close()
    for answer in answers:
        assert answer.tokens == truth()
    saw = chosen.saw[1:] if isinstance(chosen, Knows) else []
    return answers, saw


def ms(values: Iterable[float]) -> Any:
    return pytest.approx(list(values), abs=1e-6)


def said_by(moment: float) -> int:
    """Words of the event model at a moment, that of the last one included."""
    return max(0, min(MOST, int((moment - FIRST + 1e-9) // STEP) + 1))


def test_plainly_every_token_comes_a_pass_after_the_other() -> None:
    (answer,), _ = answered(Way("none"), None)
    assert answer.arrival_ms == ms(END + PASS * i for i in range(MOST))


def test_words_ride_on_the_prefill_and_the_others_on_the_next_pass() -> None:
    """5 words have arrived as the one pass of the prefill starts; 37 as it ends."""
    (answer,), saw = answered(Way("thread"), truth())
    assert [there for _, there in saw[:2]] == [5, 37]
    assert [moment for moment, _ in saw[:2]] == ms([START, END])
    # 5 accepted and one of its own, then 31 and one. It has caught up: 38 words are there for 38
    # tokens, and a pass later 39 for 39.
    assert [there for _, there in saw[2:4]] == [38, 39]
    assert answer.accepted == (5, 31, 0, 0, 0)
    assert [one.emitted for one in answer.passes] == [6, 32, 1, 1, 1]
    assert answer.arrival_ms == ms([END] * 6 + [END + PASS] * 32 + LAST)
    assert answer.drafter_arrival_ms == ms(FIRST + STEP * i for i in range(MOST))
    assert (answer.overlap, answer.warnings) == ("thread", ())


def test_where_the_question_is_the_last_pass_more_words_ride_on_it() -> None:
    """A quarter of the prefill is the question's: it starts at 141.6 + 236.625 ms."""
    start = START + 0.75 * 315.5
    (answer,), saw = answered(Way("thread"), truth(), share=0.25)
    assert saw[0][0] == pytest.approx(start)
    assert saw[0][1] == 29
    assert [one.emitted for one in answer.passes] == [30, 8, 1, 1, 1]
    assert answer.arrival_ms == ms([END] * 30 + [END + PASS] * 8 + LAST)


def test_a_prefill_left_alone_shows_what_its_tail_is_worth() -> None:
    (answer,), _ = answered(Way("thread"), truth(), passes=Passes(1))
    assert [one.emitted for one in answer.passes] == [1, 37, 1, 1, 1]
    assert answer.arrival_ms == ms([END] + [END + PASS] * 37 + LAST)


def test_in_turn_all_words_are_there_and_the_target_starts_behind_them() -> None:
    (answer,), saw = answered(Way("sequential"), truth())
    whole = FIRST + STEP * (MOST - 1)
    assert saw[0][0] == pytest.approx(whole + START)
    assert saw[0][1] == MOST
    assert answer.arrival_ms == ms([whole + END] * MOST)


def test_beside_the_target_is_before_both_of_the_others() -> None:
    ends = {
        way: answered(Way.parse(way), words)[0][0].arrival_ms[-1]
        for way, words in (("none", None), ("sequential", truth()), ("thread", truth()))
    }
    assert ends == {
        "none": pytest.approx(END + 40 * PASS),
        "sequential": pytest.approx(FIRST + 40 * STEP + END),
        "thread": pytest.approx(END + 4 * PASS),
    }


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_words_that_are_all_wrong_cost_nothing_where_passes_cost_the_same(share: float) -> None:
    (answer,), saw = answered(Way("thread"), wrong(), share=share)
    assert answer.arrival_ms == ms(END + PASS * i for i in range(MOST))
    assert sum(answer.accepted) == 0
    passes = [START + (1 - share) * 315.5, *(END + PASS * i for i in range(len(saw) - 1))]
    assert [there for _, there in saw] == [said_by(moment) for moment in passes]


def test_until_the_prefill_ends_means_no_word_behind_the_targets_first() -> None:
    """The word that it is at, the 38th, is dropped as it comes, and it stops there."""
    (answer,), saw = answered(Way("thread", goes_on=False), wrong())
    assert [there for _, there in saw[:3]] == [5, 37, 37]
    assert {there for _, there in saw[2:]} == {37}
    assert answer.drafter_arrival_ms == ms(FIRST + STEP * i for i in range(37))
    assert answer.arrival_ms == ms(END + PASS * i for i in range(MOST))
    assert answer.overlap == "thread:prefill"


def test_one_that_is_slower_than_the_target_costs_nothing() -> None:
    slow = Pace(500, 500, 500, 500, 500)
    answers, saw = answered(Way("thread"), truth(), drafter=slow, questions=3)
    assert {there for _, there in saw} == {0}
    for turn, answer in enumerate(answers):
        # Nobody waits for the question before, whose prefill it is still at.
        first = [END + PASS * i for i in range(MOST)]
        assert answer.arrival_ms == ms(first), turn
        assert answer.drafter_arrival_ms == ()


def test_one_that_fails_has_said_what_it_said() -> None:
    (answer,), saw = answered(Way("thread"), truth(), fails_behind=3)
    assert [there for _, there in saw[:2]] == [3, 3]
    assert [one.emitted for one in answer.passes[:2]] == [4, 1]
    assert answer.arrival_ms == ms([END] * 4 + [END + PASS * i for i in range(1, MOST - 3)])
    assert answer.warnings[0].endswith("RuntimeError: out of memory")


@pytest.mark.parametrize("nodes", [1, 4])
def test_more_words_than_a_pass_may_verify_wait_for_the_next(nodes: int) -> None:
    (answer,), _ = answered(Way("thread"), truth(), nodes=nodes)
    ends = [END + PASS * (i // (nodes + 1)) for i in range(MOST)]
    assert answer.arrival_ms == ms(ends)
