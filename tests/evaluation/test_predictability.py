"""Predictability: corpora whose numbers are known by hand, and a table counted naively."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget, Context
from crossdraft.evaluation.predictability import Part, Spoken, predictability
from crossdraft.evaluation.predictability_oracle import OracleTable
from crossdraft.evaluation.predictability_tables import NGramDrafter, TokenTable
from crossdraft.pairs.record import Pair


def pair(*tokens: int, question: str = "Q", drive: str = "d", index: int = 0) -> Pair:
    return Pair(f"{drive}/{index}", index, question, 0, (), tokens, drive=drive)


def fitted(pairs: Sequence[Pair], order: int = 12, by_question: bool = False) -> TokenTable:
    table = TokenTable(order, by_question)
    table.fit(pairs)
    return table


def tau(train: Sequence[Pair], test: Pair) -> float:
    drafter = NGramDrafter(fitted(train))
    done = replay(drafter, test, Budget.chain(5), Arrival())
    return done.tokens / done.forwards


# --- tables ---------------------------------------------------------------------------------------


def test_an_answer_known_by_heart_takes_a_forward_for_six_tokens() -> None:
    known = pair(*range(10, 22))
    assert tau([known, known], known) == 6.0


def test_a_surprise_costs_a_forward_and_what_follows_is_found_again() -> None:
    # Draft 1 2 3 4: 1 accepted, 9 emitted. Nothing ever followed 9, so 1 is drafted (all are
    # equally frequent): 3 emitted. Behind 3 stands 4, drafted and accepted.
    assert tau([pair(1, 2, 3, 4)], pair(1, 9, 3, 4)) == 4 / 3


def test_of_equally_frequent_followers_the_smallest_is_taken() -> None:
    table = fitted([pair(1, 5), pair(1, 3)])
    assert table.guess("Q", table.row("Q", (1,))) == 3


def test_the_longest_known_context_decides() -> None:
    table = fitted([pair(1, 2, 7), pair(3, 2, 8), pair(3, 2, 8)])
    assert table.guess("Q", (1, 2)) == 7
    assert table.guess("Q", (9, 2)) == 8
    assert table.guess("Q", (9, 9)) == 2, "the most frequent of all"


def test_answers_to_different_questions_start_differently() -> None:
    pairs = [pair(4, 1, question="A"), pair(5, 2, question="B")]
    table = fitted(pairs)
    assert table.guess("A", table.row("A", ())) == 4
    assert table.guess("B", table.row("B", ())) == 5
    assert table.guess("unknown", table.row("unknown", ())) == 1


def test_by_question_nothing_is_shared() -> None:
    pairs = [pair(7, 1, question="A"), pair(7, 2, question="B"), pair(7, 2, question="B")]
    table = fitted(pairs, 5, by_question=True)
    assert [table.guess(question, (7,)) for question in "AB"] == [1, 2]
    assert table.guess("C", (7,)) is None


def test_an_empty_table_guesses_nothing() -> None:
    assert fitted([]).guess("Q", (1,)) is None
    drafter = NGramDrafter(fitted([]))
    drafter.begin(Context("Q", stream=None))  # type: ignore[arg-type]
    assert len(drafter.propose((1,), Budget.chain(5))) == 0


corpora = st.lists(
    st.tuples(st.sampled_from("AB"), st.lists(st.integers(0, 3), min_size=1, max_size=9)),
    min_size=1,
    max_size=8,
)


@given(corpora, st.booleans(), st.integers(1, 6))
def test_the_table_is_what_counting_everything_gives(
    corpus: list[tuple[str, list[int]]], by_question: bool, order: int
) -> None:
    table = fitted([pair(*tokens, question=q) for q, tokens in corpus], order, by_question)
    counts: dict[tuple[Any, ...], Counter[int]] = defaultdict(Counter)
    for question, tokens in corpus:
        row = table.row(question, tokens)
        for place in range(1, len(row)):
            for length in range(min(order - 1, place) + 1):
                context = row[place - length : place]
                counts[(question if by_question else "", *context)][row[place]] += 1
    for question, tokens in [*corpus, ("A", [3, 2, 1, 0, 3]), ("B", [0, 0, 0])]:
        row = table.row(question, tokens)
        for place in range(1, len(row) + 1):
            best = None
            for length in range(min(order - 1, place), -1, -1):
                key = (question if by_question else "", *row[place - length : place])
                if key in counts:
                    best = min(counts[key], key=lambda t: (-counts[key][t], t))
                    break
            assert table.guess(question, row[:place]) == best


# --- attributes -----------------------------------------------------------------------------------


def oracle(pairs: Sequence[Pair], attributes: Sequence[Mapping[str, str]]) -> OracleTable:
    made = OracleTable(fitted(pairs, 5, by_question=True))
    made.fit(pairs, attributes)
    return made


def guessed(table: OracleTable, known: Mapping[str, str], *before: int) -> int | None:
    row = fitted([pair(*before)]).row("Q", before)
    return table.guess("Q", row, table.values_of(known))


def test_an_attribute_that_decides_is_asked() -> None:
    attributes = [{"a": "x", "b": "u"}, {"a": "y", "b": "u"}] * 4
    table = oracle([pair(5, 10 if known["a"] == "x" else 20) for known in attributes], attributes)
    assert guessed(table, {"a": "x", "b": "u"}, 5) == 10
    assert guessed(table, {"a": "y", "b": "u"}, 5) == 20
    assert guessed(table, {"a": "never seen"}, 5) == 10, "the plain table's"


def test_two_attributes_that_decide_together_are_asked() -> None:
    follower = {("x", "u"): 10, ("x", "v"): 10, ("y", "u"): 20, ("y", "v"): 30}
    often = {10: 2, 20: 4, 30: 4}
    attributes = [
        {"a": a, "b": b} for (a, b), token in follower.items() for _ in range(often[token])
    ]
    pairs = [pair(5, follower[known["a"], known["b"]]) for known in attributes]
    table = oracle(pairs, attributes)
    for (a, b), token in follower.items():
        assert guessed(table, {"a": a, "b": b}, 5) == token


def test_what_names_every_scene_apart_is_no_use() -> None:
    attributes = [{"name": str(number)} for number in range(8)]
    table = oracle([pair(5, 10 + number % 2) for number in range(8)], attributes)
    assert not table._choices, "each value was seen once"


def test_an_absent_attribute_is_a_value_too() -> None:
    attributes: list[dict[str, str]] = [{"a": "x"}, {}] * 3
    pairs = [pair(5, 10 if known else 20) for known in attributes]
    table = oracle(pairs, attributes)
    assert guessed(table, {}, 5) == 20
    assert guessed(table, {"a": "x"}, 5) == 10


def test_a_value_seen_once_could_be_chance() -> None:
    values = ["x"] * 4 + ["y"] * 3 + ["z"]
    attributes = [{"a": value} for value in values]
    pairs = [pair(5, {"x": 10, "y": 20, "z": 30}[value]) for value in values]
    table = oracle(pairs, attributes)
    assert guessed(table, {"a": "y"}, 5) == 20
    assert guessed(table, {"a": "z"}, 5) == 10, "the plain table's"


def test_attributes_are_asked_by_question() -> None:
    follower = {("A", "x"): 10, ("A", "y"): 20, ("B", "x"): 20, ("B", "y"): 10}
    asked = [key for key in follower for _ in range(3)]
    pairs = [pair(1, 2, 3, 4, follower[key], question=key[0]) for key in asked]
    table = oracle(pairs, [{"a": value} for _, value in asked])
    for (question, value), token in follower.items():
        assert table.guess(question, (1, 2, 3, 4), table.values_of({"a": value})) == token


# --- measures -------------------------------------------------------------------------------------


def made_part() -> Part:
    """Answers of three tokens: the second follows from attribute `a`, the third always from it."""

    def one(number: int, split: str) -> Spoken:
        a = "xy"[number % 2]
        tokens = (5, 10, 11) if a == "x" else (5, 20, 21)
        drive = f"{split}-{number // 4}"
        seen, hidden = {"a": a}, {"colour": "red"}
        return Spoken(pair(*tokens, drive=drive, index=number % 4), seen, hidden, 1)

    return Part(tuple(one(n, "train") for n in range(8)), tuple(one(n, "test") for n in range(40)))


def test_every_number_by_hand() -> None:
    found, _ = predictability([made_part()])
    values = {k: v["value"] for k, v in found.items() if isinstance(v, dict) and "value" in v}
    # x: 5 10 11 at once. y: 5 accepted and 20 emitted, 21 drafted and accepted: two forwards.
    assert values["tau"] == pytest.approx(6 / 3)
    assert values["five_gram"] == values["twelve_gram"] == pytest.approx(5 / 6)
    assert values["position_match"] == pytest.approx(4 / 6)
    assert values["with_seen"] == values["with_all"] == 1.0
    assert values["gain_seen"] == values["gain_all"] == pytest.approx(1 / 6)
    assert values["camera_tokens"] == pytest.approx(1 / 3)
    assert found["tokens"] == {"mean": 3.0, "min": 3, "max": 3, "per_word": None}
    assert found["distinct"] == 2 / 40
    assert (found["data"]["drives"], found["data"]["test_answers"]) == (10, 40)
    assert found["tau"]["low"] == found["tau"]["high"] == pytest.approx(2.0), "all drives are alike"


def test_without_attributes_there_is_no_gain() -> None:
    part = made_part()
    bare = Part(*(tuple(Spoken(one.pair) for one in side) for side in (part.train, part.test)))
    found, _ = predictability([bare])
    assert found["gain_seen"] is found["with_all"] is found["camera_tokens"] is None
    assert found["tau"]["value"] == pytest.approx(2.0)


def test_what_only_some_answers_know_is_not_measured() -> None:
    part = made_part()

    def some(answers: tuple[Spoken, ...], every: int) -> tuple[Spoken, ...]:
        return tuple(Spoken(a.pair) if n % every else a for n, a in enumerate(answers))

    fewer = some(part.train, 2)
    unpainted = tuple(replace(a, camera_only=None) for a in part.test[:20]) + part.test[20:]
    for parts, lacking in (
        ([Part(part.train, some(part.test, 4))], ["30 of 48", "30 of 40 test"]),
        ([Part(fewer, part.test)], ["4 of 48"]),
        ([Part(fewer, part.test), Part(part.test, fewer)], ["4 of 48", "4 of 48 test"]),
        ([Part(part.train, unpainted)], ["20 of 48"]),
    ):
        found, warnings = predictability(parts)
        for count, warning in zip(lacking, warnings, strict=True):
            assert warning.startswith(f"{count} answers do not know")
        assert found["gain_all"] is found["with_all"] is None
        assert (found["camera_tokens"] is None) == any("test" in count for count in lacking)
        assert found["tau"]["value"] > 1.0
    assert found["gain_seen"]["value"] == pytest.approx(1 / 6), "paint alone is lacking"


def test_tokens_per_word_leave_out_the_end_and_answers_without_a_text() -> None:
    part = made_part()
    told = [replace(part.test[0], words=2, ended=True), replace(part.test[1], words=1)]
    found, _ = predictability([Part(part.train, (*told, *part.test[2:]))])
    assert found["tokens"]["per_word"] == pytest.approx((2 + 3) / 3)


def test_what_the_camera_alone_sees_is_gained_by_all_attributes_alone() -> None:
    part = made_part()
    turned = Part(*(
        tuple(Spoken(one.pair, {}, one.seen, 1) for one in side)
        for side in (part.train, part.test)
    ))  # fmt: skip
    found, _ = predictability([turned])
    assert found["gain_seen"]["value"] == 0.0
    assert found["gain_all"]["value"] == pytest.approx(1 / 6)
