"""Predicted times, where the arithmetic can be done by hand.

Steps take 10 ms and the prefill ends after 100. Unless a test says so, validation runs took what
the model says, so that nothing is stretched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.bench.wallclock.answering import Ground
from crossdraft.bench.wallclock.configuration import Configuration
from crossdraft.bench.wallclock.predict import Key, Known, predicted
from crossdraft.bench.wallclock.record import Run
from crossdraft.drafters.base import Budget, Context, Drafter, flat_cost
from tests.bench.wallclock.ground import bare_ground, steep
from tests.bench.wallclock.made_runs import plain, run

ANSWER = tuple(range(100, 200))


class Oracle(Drafter):
    """Says `says`, from where the answer is; counts what it is asked and told."""

    name = "oracle"

    def __init__(self, says: Sequence[int] = ANSWER) -> None:
        self.says, self.asked, self.heard = says, 0, 0

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        self.asked += 1
        least = min(budget.nodes, budget.depth)
        return DraftTree.chain(self.says[len(prefix) : len(prefix) + least], source=self.name)

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        self.heard += 1


class Reader(Drafter):
    """Says what the event model says at the same place."""

    name, needs = "reader", frozenset({"draft_tokens"})

    def begin(self, context: Context) -> None:
        self.stream = context.stream

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain(self.stream.snapshot().tokens[len(prefix) :], source=self.name)


def ground(drafter: Drafter | None = None, cost: Any = flat_cost) -> Ground:
    """A ground on which `x` is that drafter."""
    made = bare_ground(cost)
    stable: Any = SimpleNamespace(fresh=lambda: drafter, bare=lambda: drafter)
    made._stables["x"] = stable
    return made


def total(
    configs: str,
    here: Ground,
    *,
    validation: Run | Sequence[Run],
    held: int,
    tested: Sequence[int],
    answers: Mapping[Key, Known] | None = None,
) -> float | None:
    """Predicted mean for test answers of so many tokens; `held`: of the validation answer."""
    one = Configuration.parse(configs)
    given = [validation] if isinstance(validation, Run) else list(validation)
    runs = [*given, *(run(one.name, number=n, total_ms=1e9) for n in range(len(tested)))]
    known = {("test", n): Known("", ANSWER[:count]) for n, count in enumerate(tested)}
    known["validation", 0] = Known("", ANSWER[:held])
    return predicted(one, here, runs, answers or known)


def held_run(
    tokens: int, total_ms: float, drafted: Sequence[int] = (), draft_ms: float = 0.0, **more: Any
) -> Run:
    """A validation run with trees of so many nodes."""
    return run(
        "x", part="validation", tokens=ANSWER[:tokens], total_ms=total_ms,
        forwards=[(n, 0, 1) for n in drafted or (0,)], stages_ms={"draft": draft_ms}, **more,
    )  # fmt: skip


def test_plain_decoding_is_a_step_per_token() -> None:
    runs = [plain(part="validation", tokens=ANSWER[:20], total_ms=290.0)]
    assert total("none", ground(), validation=runs, held=20, tested=(11, 21)) == 250.0
    # Validation took twice the time behind the first token: so will the test.
    runs = [plain(part="validation", tokens=ANSWER[:20], total_ms=480.0)]
    assert total("none", ground(), validation=runs, held=20, tested=(11,)) == 300.0


def test_one_slow_round_changes_nothing() -> None:
    """Of several rounds the median counts, for the first token as for the last."""
    rounds = ((100.0, 290.0), (9000.0, 9190.0), (100.0, 290.0))
    runs = [
        plain(part="validation", round=r, tokens=ANSWER[:20], first_ms=first, total_ms=ms)
        for r, (first, ms) in enumerate(rounds)
    ]
    assert total("none", ground(), validation=runs, held=20, tested=(11,)) == 200.0


def test_answers_of_one_token_are_a_prefill() -> None:
    runs = plain(part="validation", tokens=ANSWER[:1], total_ms=100.0)
    assert total("none", ground(), validation=runs, held=1, tested=(1, 1)) == 100.0


def test_drafts_ride_on_the_tail_and_save_passes() -> None:
    """Five tokens a pass, 2 ms of drafting a pass: 20 tokens are the prefill and three passes."""
    validation = held_run(20, 136.0, (4, 4, 4, 4), draft_ms=8.0)
    here = ground(Oracle())
    found = total("x+nodes=4", here, validation=validation, held=20, tested=(10, 5))
    assert found == pytest.approx((112 + 100) / 2)


def test_width_has_its_price_on_the_tail_too() -> None:
    """Five tokens wide costs two steps; the tail's 10 ms are in the measured first token."""
    validation = held_run(10, 130.0, (4, 4), first_ms=110.0)
    here = ground(Oracle(), steep)
    found = total("x+nodes=4", here, validation=validation, held=10, tested=(15,))
    assert found == pytest.approx(110 + 2 * 20)


def test_separate_verification_has_no_tail() -> None:
    validation = held_run(6, 110.0, (0, 4))
    drafter = Oracle()
    found = total(
        "x+nodes=4+separate-verify", ground(drafter), validation=validation, held=6, tested=(11,)
    )
    assert found == pytest.approx(100 + 2 * 10)
    assert drafter.asked == 1 + 2


def test_the_seed_procedure_verifies_once() -> None:
    """The first token, then those up to the sixth and one behind them at once, then one by one."""
    drafter = Oracle(ANSWER[:6])
    validation = held_run(7, 112.0, (0, 5), draft_ms=2.0)
    found = total("seed-procedure=x", ground(drafter), validation=validation, held=7, tested=(20,))
    assert found == pytest.approx(100 + 12 + 13 * 10)
    assert drafter.asked == 2, "once for each answer"


def test_drafting_that_does_not_pay_rests() -> None:
    """Wrong drafts at 2 ms: eight passes with them, eight without, eight with, sixteen without."""
    drafter = Oracle([7] * 200)
    validation = held_run(9, 196.0, [4] * 9, draft_ms=18.0)
    found = total("x", ground(drafter), validation=validation, held=9, tested=(1 + 8 + 8 + 8 + 16,))
    assert found == pytest.approx(100 + 2 * 8 * 12 + (8 + 16) * 10)
    assert drafter.asked == 9 + 1 + 8 + 8
    assert drafter.heard == 9 + 41, "of every pass, as in the loop"


def test_words_come_by_the_clock() -> None:
    """Their first after 50 ms, then one every 10; the prefill's last pass starts at 80, when four
    are there. At 100 the sixth is, and the loop is on its heels from there on."""
    validation = held_run(10, 140.0, (4,), event_first_ms=50.0, event_token_ms=10.0,
                          last_prefill_ms=20.0)  # fmt: skip
    said = {
        ("validation", 0): Known("", ANSWER[:10], words=ANSWER[:10], shuffled=(7,) * 10),
        ("test", 0): Known("", ANSWER[:10], words=ANSWER[:10], shuffled=(7,) * 10),
    }
    given: dict[str, Any] = {"validation": validation, "held": 10, "tested": (10,), "answers": said}
    assert total("x+nodes=9", ground(Reader()), **given) == pytest.approx(140.0)
    alone = {**given, "validation": held_run(10, 190.0, (4,), event_first_ms=50.0)}
    assert total("x+nodes=9+shuffled", ground(Reader()), **alone) == pytest.approx(190.0)


def test_transformers_are_predicted_by_token() -> None:
    runs = [
        run("hf-generate", part="validation", number=n, tokens=ANSWER[:count], total_ms=ms)
        for n, (count, ms) in enumerate(((11, 300.0), (5, 180.0)))
    ]  # 280 ms for 14 tokens
    found = total("hf-generate", ground(), validation=runs, held=11, tested=(21, 11))
    assert found == pytest.approx(100 + 15 * 20)


def test_the_event_model_alone_is_predicted_by_its_own_words() -> None:
    runs = run("drafter-only", part="validation", tokens=ANSWER[:11], total_ms=200.0)
    known: dict[Key, Known] = {("test", 0): Known("", ANSWER[:50], words=ANSWER[:7], own=5)}
    found = total("drafter-only", ground(), validation=runs, held=11, tested=(5,), answers=known)
    assert found == pytest.approx(100 + 4 * 10)


def test_without_validation_runs_nothing_is_predicted() -> None:
    assert total("none", ground(), validation=(), held=1, tested=(5,)) is None
    assert total("none", ground(), validation=plain(part="validation"), held=20, tested=()) is None


def test_measured_times_of_the_test_are_not_read() -> None:
    one, known = Configuration.parse("none"), {("test", 0): Known("", ANSWER[:11])}
    known["validation", 0] = Known("", ANSWER[:20])
    held = plain(part="validation")
    totals = {predicted(one, ground(), [held, plain(total_ms=ms)], known) for ms in (110.0, 1e6)}
    assert totals == {200.0}
