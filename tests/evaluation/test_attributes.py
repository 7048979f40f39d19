"""Answers held against the truth: what counts as right, and shares counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.evaluation.attributes import (
    ATTRIBUTES,
    UNSEEN_BY_EVENTS,
    Truth,
    accuracies,
    shares_named,
)
from crossdraft.evaluation.bootstrap import BlockBootstrap
from crossdraft.scenes.answers import Answer, Named
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.voices import answers
from crossdraft.scenes.drive.words import WORDS, named_in


def marked(text: str, **values: str) -> Answer:
    """An answer whose words name these values, underscores of attributes standing for spaces."""
    names = tuple(
        Named(attribute.replace("_", " "), value, text.index(value), text.index(value) + len(value))
        for attribute, value in values.items()
    )
    return Answer(text, names)


BUS = Truth.of(
    marked(
        "A red bus waits, a blue car is crossing.",
        colour="red", vehicle="bus", second_colour="blue", second_vehicle="car",
    )
)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "colour", "vehicle"),
    [
        ("There is a red bus.", True, True),
        ("A blue bus.", False, True),  # the colour of the other one alone
        ("A red bus and a blue car.", True, True),
        ("A red bus and a green truck.", False, False),
        ("A blue car.", False, False),
        ("The bus is there.", False, True),
        ("Nothing at all.", False, False),
    ],
)
def test_right_names_what_is_marked_and_nothing_that_is_not_there(
    said: str, colour: bool, vehicle: bool
) -> None:
    assert BUS.judge(named_in(said)) == {"colour": colour, "vehicle": vehicle}


def test_what_lies_on_both_sides_must_both_be_named() -> None:
    truth = Truth({"beside": {"trees", "buildings"}}, {"beside": {"trees", "buildings"}})
    assert truth.judge(named_in("Between trees and buildings.")) == {"beside": True}
    assert truth.judge(named_in("Along the trees.")) == {"beside": False}


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from(["train", "test"]))
def test_the_truth_is_right_about_itself(number: int, split: str) -> None:
    (clip,) = plan_drive(number % 7, split, number // 7, 1)  # type: ignore[arg-type]
    for entry in answers(clip):
        for voice, answer in entry.answers.items():
            truth = Truth.of(answer)
            assert all(truth.judge(named_in(answer.text)).values()), (voice, answer.text)
            assert truth.marked.keys() <= set(ATTRIBUTES)
            if voice == "event":
                assert not truth.named.keys() & set(UNSEEN_BY_EVENTS), answer.text


def test_attributes_are_all_that_words_name_but_for_a_second_road_user() -> None:
    assert {*ATTRIBUTES} | {f"second {a}" for a in ATTRIBUTES} >= WORDS.keys()
    assert set(UNSEEN_BY_EVENTS) <= set(ATTRIBUTES)


def test_accuracies_are_shares_of_those_that_were_asked_for() -> None:
    truths = [
        Truth({"road": {"tunnel"}, "time": {"day"}}, {"road": {"tunnel"}, "time": {"day"}}),
        Truth({"road": {"highway"}}, {"road": {"highway"}}),
        Truth({"road": {"highway"}}, {"road": {"highway"}}),
    ]
    said = [{"road": {"tunnel"}, "time": {"night"}}, {"road": {"tunnel"}}, {"time": {"day"}}]
    swapped = [{"road": {"highway"}}, {"road": {"highway"}}, None]
    found = accuracies(truths, said, {"swapped": swapped}, BlockBootstrap([[0], [1], [2]], 200, 0))
    assert list(found) == ["road", "time"]
    road, time = found["road"], found["time"]
    assert (road["right"], road["of"], road["silent"]) == (1, 3, 1)
    assert road["accuracy"]["value"] == pytest.approx(1 / 3)
    assert road["accuracy"]["low"] < 1 / 3 < road["accuracy"]["high"]
    assert road["swapped"]["value"] == 0.5, "the third has nobody in its place"
    assert (time["right"], time["of"], time["silent"]) == (0, 1, 0)
    assert time["swapped"]["value"] == 0.0, "silence is not right"


def test_what_is_named_where_the_truth_does_not_name_it_is_counted() -> None:
    yes = {"mountains": {"yes"}}
    by_words = Truth({}, yes)  # named without a mark: no invention
    truths = [Truth(yes, yes), Truth({}, {}), Truth({"road": {"tunnel"}}, {}), by_words]
    bootstrap = BlockBootstrap([[0, 1], [2, 3]], 50, 0)
    always = accuracies(truths, [yes, yes, yes, yes], {}, bootstrap)["mountains"]
    assert always["accuracy"]["value"] == 1.0
    assert (always["invented"], always["unnamed"]) == (2, 2)
    looks = accuracies(truths, [yes, {}, {}, {}], {}, bootstrap)
    assert looks["mountains"]["accuracy"]["value"] == 1.0
    assert (looks["mountains"]["invented"], looks["mountains"]["unnamed"]) == (0, 2)
    # Marks alone name it too.
    assert (looks["road"]["invented"], looks["road"]["unnamed"]) == (0, 3)


def test_shares_named_count_every_answer() -> None:
    said = [named_in("A red car."), named_in("A car at night."), named_in("A bus."), {}]
    found = shares_named(said, ("colour", "time"), BlockBootstrap([[0, 1], [2, 3]], 50, 0))
    assert found["colour"]["answers"] == 1
    assert found["colour"]["share"]["value"] == 0.25
    assert found["time"]["share"] == {"value": 0.25, "low": 0.0, "high": 0.5}
