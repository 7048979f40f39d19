"""Predictability: corpora whose numbers are known by hand, and a table counted naively."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import replay
from crossdraft.drafters.base import Budget, Context
from crossdraft.evaluation.predictability import Part, Spoken, predictability
from crossdraft.evaluation.predictability_oracle import OracleTable
from crossdraft.evaluation.predictability_source import Options, read_source
from crossdraft.evaluation.predictability_tables import NGramDrafter, TokenTable
from crossdraft.pairs.record import Pair
from crossdraft.scenes.answers import Answer, Named, SceneAnswers, write_answers
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.traffic import Split
from crossdraft.scenes.drive.voices import answers
from crossdraft.scenes.manifest import to_record, write_manifest
from crossdraft.scenes.scene import Scene


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
    assert found["tokens"] == {"mean": 3.0, "min": 3, "max": 3}
    assert found["distinct"] == 2 / 40
    assert (found["data"]["drives"], found["data"]["test_answers"]) == (10, 40)
    assert found["tau"]["low"] == found["tau"]["high"] == pytest.approx(2.0), "all drives are alike"


def test_without_attributes_there_is_no_gain() -> None:
    part = made_part()
    bare = Part(*(tuple(Spoken(one.pair) for one in side) for side in (part.train, part.test)))
    found, _ = predictability([bare])
    assert found["gain_seen"] is found["with_all"] is found["camera_tokens"] is None
    assert found["tau"]["value"] == pytest.approx(2.0)


def test_what_the_camera_alone_sees_is_gained_by_all_attributes_alone() -> None:
    part = made_part()
    turned = Part(*(
        tuple(Spoken(one.pair, {}, one.seen, 1) for one in side)
        for side in (part.train, part.test)
    ))  # fmt: skip
    found, _ = predictability([turned])
    assert found["gain_seen"]["value"] == 0.0
    assert found["gain_all"]["value"] == pytest.approx(1 / 6)


# --- sources --------------------------------------------------------------------------------------


def write_drive(folder: Path, drives: Mapping[Split, int], clips: int = 4) -> Path:
    """A dataset without pictures: truth and answers alone."""
    folder.mkdir(parents=True, exist_ok=True)
    planned = [
        (split, clip)
        for split, count in drives.items()
        for number in range(count)
        for clip in plan_drive(0, split, number, clips)
    ]
    records = [
        to_record(Scene(c.drive, c.number, folder, split=split, truth=c.to_truth()))
        for split, c in planned
    ]
    write_manifest(folder, records, {})
    write_answers(folder, (entry for _, clip in planned for entry in answers(clip)))
    return folder


def test_a_drive_is_split_as_its_manifest_says(tmp_path: Path) -> None:
    source = read_source(write_drive(tmp_path, {"train": 3, "test": 2}), Options())
    (part,) = source.parts
    assert {one.pair.drive for one in part.train} == {f"train-000{n}" for n in range(3)}
    assert {one.pair.drive for one in part.test} == {"test-0000", "test-0001"}
    assert len(part.test) == 2 * 4 * 10
    assert all(one.pair.target_tokens[-1] == 2 for one in part.test)
    assert source.vocabulary is not None
    assert source.vocabulary <= 1500


def test_camera_tokens_are_those_that_touch_a_camera_only_mark(tmp_path: Path) -> None:
    truth = {"event_visible": {"vehicle": "bus"}, "camera_only": {"colour": "red"}}
    scenes = [Scene(d, 0, tmp_path, split=d, truth=truth) for d in ("train", "test")]
    write_manifest(tmp_path, [to_record(scene) for scene in scenes], {})
    marks = (Named("colour", "red", 2, 5), Named("vehicle", "bus", 6, 9))
    said = Answer("A red bus.", marks)
    write_answers(tmp_path, [SceneAnswers(s.drive, 0, "Q?", {"camera": said}) for s in scenes])
    (part,) = read_source(tmp_path, Options()).parts
    assert [one.camera_tokens for one in part.test] == [1]
    assert len(part.test[0].pair.target_tokens) == 5, "A, red, bus, the full stop, the end"


def test_a_drive_without_a_test_part_is_folded_by_drive(tmp_path: Path) -> None:
    source = read_source(write_drive(tmp_path, {"train": 4}), Options(folds=2))
    assert len(source.parts) == 2
    for part in source.parts:
        assert not {o.pair.drive for o in part.train} & {o.pair.drive for o in part.test}
    assert "2 folds of whole drives" in source.split


def test_the_voice_chooses_the_answers(extraction_file: Path) -> None:
    camera = read_source(extraction_file, Options("camera", gap=4)).parts
    event = read_source(extraction_file, Options("event", gap=4)).parts
    assert camera[0].test[0].pair.target_tokens != event[0].test[0].pair.target_tokens
    assert camera[0].test[0].seen is None


@pytest.mark.parametrize(
    ("options", "option"),
    [
        (Options(vocabulary=20), "--vocabulary"),
        (Options(folds=1), "--folds"),
        (Options(gap=-1), "--gap"),
        (Options(eos=-1), "--eos"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_options_out_of_range_are_refused(
    extraction_file: Path, options: Options, option: str
) -> None:
    with pytest.raises(InputError, match=option):
        read_source(extraction_file, options)


def test_answers_that_fit_no_scene_or_stand_twice_are_refused(tmp_path: Path) -> None:
    folder = write_drive(tmp_path, {"train": 2}, clips=1)
    good = SceneAnswers("train-0000", 0, "Q?", {"camera": Answer("Hm.")})
    for entries, said in (
        ([SceneAnswers("train-0009", 0, "Q?", good.answers)], "no such scene"),
        ([good, good], "answered twice"),
        (
            [SceneAnswers("train-0000", 0, "Q?", {"event": Answer("Hm.")})],
            "no answer of the camera",
        ),
        ([], "the file is empty"),
    ):
        write_answers(folder, entries)
        with pytest.raises(InputError, match=said):
            read_source(folder, Options())


def test_a_drive_in_both_parts_is_refused(tmp_path: Path) -> None:
    scenes = [Scene("d", n, tmp_path, split=s) for n, s in enumerate(("train", "test"))]
    write_manifest(tmp_path, [to_record(scene) for scene in scenes], {})
    said = Answer("Hm.")
    write_answers(tmp_path, [SceneAnswers("d", n, "Q?", {"camera": said}) for n in range(2)])
    with pytest.raises(InputError, match="drive d is in train and in test"):
        read_source(tmp_path, Options())


def test_the_made_drive_is_as_predictable_as_it_should_be(tmp_path: Path) -> None:
    source = read_source(write_drive(tmp_path, {"train": 24, "test": 8}, clips=5), Options())
    found, _ = predictability(source.parts)
    assert 2.3 <= found["tau"]["value"] <= 3.3
    assert found["position_match"]["value"] <= 0.35
    assert found["camera_tokens"]["value"] >= 0.10
    assert found["gain_seen"]["low"] > 0.02, "twelve points on 80 drives of 20 clips"
    assert found["gain_all"]["value"] > found["gain_seen"]["value"]


def test_recorded_answers(real_answers: Path) -> None:
    found, _ = predictability(read_source(real_answers, Options()).parts)
    assert found["tau"]["value"] == pytest.approx(3.08, abs=0.005)
    assert found["position_match"]["value"] == pytest.approx(0.303, abs=0.001)
