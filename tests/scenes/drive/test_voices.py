"""Answers are true, marked, grammatical, and say no more than their sensor sees."""

from __future__ import annotations

import gzip
import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.scenes.answers import Answer, SceneAnswers, Voice
from crossdraft.scenes.drive.phrases import answer, listed, named, said
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.traffic import Split
from crossdraft.scenes.drive.voices import answers
from crossdraft.scenes.drive.words import WORDS, named_in
from crossdraft.scenes.drive.world import Clip, LightState, TrafficLight
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.vlm.bpe import train_bpe

#: Words that an event camera's answer must not hold, beside those of camera-only attributes.
UNSEEN = {
    "sky", "sun", "sunny", "bright", "brightly", "lit", "lights", "lamp", "lamps", "headlights",
    "glow", "glows", "shadow", "wet", "dry", "icy", "fog", "foggy", "cloud", "clouds", "cloudy",
    "colour", "color", "colored", "white", "black", "brown", "yellow", "jacket", "morning",
    "afternoon", "clear", "glistens", "glitters", "camera", "weather",
}  # fmt: skip
CAMERA_ONLY = ("time", "weather", "light state", "colour", "second colour")
#: What a text must not name without a mark.
MARKED = ("road", "time", "weather", "vehicle", "colour", "motion")

Told = tuple[Clip, SceneAnswers]


@cache
def told() -> list[Told]:
    """Every answer on 900 clips: 18,000."""
    numbers: list[tuple[Split, int]] = [("train", n) for n in range(30)]
    numbers += [("test", n) for n in range(15)]
    clips = [clip for split, number in numbers for clip in plan_drive(5, split, number, 20)]
    return [(clip, entry) for clip in clips for entry in answers(clip)]


@cache
def truths(clip: Clip) -> dict[Voice, dict[str, set[str]]]:
    """What each voice may name."""
    seen = {attribute: {value} for attribute, value in clip.event_visible().items()}
    hidden = {attribute: {value} for attribute, value in clip.camera_only().items()}
    if clip.outdoors:
        hidden["beside"] = {clip.left, clip.right}
    return {"camera": seen | hidden, "event": seen}


def spoken() -> Iterator[tuple[Clip, Voice, Answer]]:
    for clip, entry in told():
        for voice, said_ in entry.answers.items():
            yield clip, voice, said_


def naming(attribute: str, kinds: tuple[str, ...]) -> re.Pattern[str]:
    words = {word for kind in kinds for word in WORDS[attribute][kind]}
    ordered = sorted(words, key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(ordered)})\b", re.IGNORECASE)


def test_every_mark_stands_on_its_words_and_is_true() -> None:
    for clip, voice, said_ in spoken():
        truth = truths(clip)[voice]
        for name in said_.names:
            assert name.value in truth[name.attribute], (said_, name)
            assert said_.text[name.start : name.end].lower() in WORDS[name.attribute][name.value]
        starts = [name.start for name in said_.names]
        assert starts == sorted(starts), "in the order of the words"


@pytest.mark.parametrize("attribute", MARKED)
def test_nothing_is_named_without_a_mark(attribute: str) -> None:
    words = naming(attribute, tuple(WORDS[attribute]))
    for _, _, said_ in spoken():
        marks = [n for n in said_.names if n.attribute.removeprefix("second ") == attribute]
        for match in words.finditer(said_.text):
            covering = [n for n in marks if n.start <= match.start() and match.end() <= n.end]
            # A light's state is named by the same words as paint.
            state = any(
                n.attribute == "light state" and n.start == match.start() for n in said_.names
            )
            assert covering or (attribute == "colour" and state), (match, said_.text)


def test_the_event_voice_says_nothing_that_events_do_not_show() -> None:
    hidden = {w for a in CAMERA_ONLY for words in WORDS[a].values() for w in words} | UNSEEN
    for _, voice, said_ in spoken():
        if voice == "event":
            assert not hidden & set(re.findall(r"[a-z]+", said_.text.lower())), said_.text
            assert not {name.attribute for name in said_.names} & set(CAMERA_ONLY)


def test_the_event_voice_does_not_change_with_what_only_the_camera_sees() -> None:
    states: dict[LightState, LightState] = {"red": "green", "green": "yellow", "yellow": "red"}
    for clip in (clip for clip, _ in itertools.islice(told(), 0, None, 100)):
        light = clip.light and TrafficLight(states[clip.light.state], clip.light.distance_m)
        other = replace(
            clip,
            time="dusk" if clip.time == "day" else "day",
            weather="rain" if clip.weather == "snow" else "snow",
            light=light,
            agents=tuple(replace(a, colour="red") for a in clip.agents),
        )
        for one, two in zip(answers(clip), answers(other), strict=True):
            assert one.answers["event"] == two.answers["event"]


def test_in_a_tunnel_nobody_tells_time_or_weather() -> None:
    seen = 0
    for clip, _, said_ in spoken():
        if not clip.outdoors:
            seen += 1
            assert not {n.attribute for n in said_.names} & {"time", "weather", "left", "right"}
    assert seen


def test_a_paint_stands_before_what_it_is_on_and_a_state_before_its_light() -> None:
    kinds = "|".join(word for words in WORDS["vehicle"].values() for word in words)
    for _, _, said_ in spoken():
        for name in said_.names:
            rest = said_.text[name.end :]
            if name.attribute in ("colour", "second colour"):
                assert re.match(rf" ({kinds}|jacket)\b", rest), said_.text
            elif name.attribute == "light state":
                before = said_.text[: name.start]
                assert re.match(r" (traffic )?light\b", rest) or before.endswith(" light is ")


def test_the_words_of_an_attribute_name_one_value_each() -> None:
    for attribute, values in WORDS.items():
        words = [word for said_ in values.values() for word in said_]
        assert len(words) == len(set(words)), attribute


def test_every_word_of_the_table_is_said() -> None:
    used = {
        (n.attribute.removeprefix("second "), n.value, said_.text[n.start : n.end].lower())
        for _, _, said_ in spoken()
        for n in said_.names
    }
    for attribute, values in WORDS.items():
        for value, words in values.items():
            for word in words:
                assert (attribute.removeprefix("second "), value, word) in used


def test_what_an_answer_marks_is_found_in_its_text_and_nothing_else() -> None:
    told_values = 0
    for _, _, said_ in itertools.islice(spoken(), 0, None, 3):
        marked: dict[str, set[str]] = {}
        for name in said_.names:
            marked.setdefault(name.attribute.removeprefix("second "), set()).add(name.value)
        if sides := marked.get("left", set()) | marked.get("right", set()):
            marked["beside"] = marked.get("beside", set()) | sides
        assert named_in(said_.text) == marked, said_.text
        told_values += sum(map(len, marked.values()))
    assert told_values > 40_000


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A car turns left, left behind, right there.", {"vehicle": {"car"}}),
        ("The road turns to the left.", {"bend": {"left"}}),
        ("A green field with red trees.", {"beside": {"field", "trees"}}),
        ("The light is green.", {"traffic light": {"yes"}, "light state": {"green"}}),
        ("Two lights in the daylight.", {"time": {"day"}}),
        ("A BUS in a red jacket.", {"vehicle": {"bus"}, "colour": {"red"}}),
        ("A carpet, a scar, the crossing.", {"motion": {"crossing"}}),
        ("Trees on the left.", {"left": {"trees"}, "beside": {"trees"}}),
        ("It is close on the left.", {"near": {"yes"}, "side": {"left"}}),
        ("", {}),
    ],
    ids=range(10),
)
def test_a_word_counts_in_its_own_surroundings(text: str, found: dict[str, set[str]]) -> None:
    assert named_in(text) == found


def test_nothing_is_said_twice() -> None:
    """Weather may lie on the road and fall as well; the time, a wall, the viewer stand once."""
    for clip, voice, said_ in spoken():
        text = said_.text.lower()
        if voice == "camera":
            assert sum(name.attribute == "time" for name in said_.names) <= 1, text
        if not clip.outdoors:
            assert len(re.findall(r"\bwalls\b", text)) <= 1, text
        for sentence in text.split("."):
            assert len(re.findall(r"\bviewer\b", sentence)) <= 1, text


def test_an_empty_road_and_sides_read_well() -> None:
    for clip, _, said_ in spoken():
        text = said_.text.lower()
        assert not re.search(r"an empty road, |nobody is (on|in|at)\b|light shows", text), text
        assert not re.search(r"from the \w+ (far off|close by)", text), text
        assert "there is nobody" not in text or not clip.agents
        for road in WORDS["road"][clip.road]:  # a side has its own `and`
            assert not re.search(rf"\ba {road} and [^.]* on the (left|right) and", text), text


def test_answers_are_sentences() -> None:
    for _, _, said_ in spoken():
        text = said_.text
        assert re.fullmatch(r"[A-Z][^.{}]+\.( [A-Z][^.{}]+\.)*", text), text
        assert not re.search(r"\s\s|\s[,.]|,,|\ban? an?\b|\bthe (the|an?)\b", text), text
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou\s]", text, re.IGNORECASE), text
        assert not re.search(r"\ban? (\w+ )?(trees|buildings|mountains)\b", text), text
        assert not re.search(r"\b(\w+) \1\b", text), text


def test_answers_have_twenty_to_sixty_tokens() -> None:
    texts = {said_.text for _, _, said_ in spoken()}
    tokenizer = train_bpe(texts)
    for text, encoded in zip(
        texts, tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True
    ):
        assert 20 <= len(encoded.ids) <= 60, (len(encoded.ids), text)


def test_the_same_sight_gives_the_same_words() -> None:
    for clip in (clip for clip, _ in itertools.islice(told(), 0, None, 200)):
        other = replace(clip, drive="another", number=99, world_seed=1, start_m=7.0)
        for one, two in zip(answers(clip), answers(other), strict=True):
            assert one.answers == two.answers


def test_questions_are_answered_in_different_ways() -> None:
    for clip, entries in itertools.groupby(told(), key=lambda each: each[0]):
        answered = [entry for _, entry in entries]
        assert [entry.question for entry in answered] == [q.text for q in DEFAULT_QUESTIONS]
        assert {entry.scene_id for entry in answered} == {f"{clip.drive}/{clip.number:06d}"}
        for voice in ("camera", "event"):
            texts = {entry.answers[voice].text for entry in answered}
            assert len(texts) >= (10 if clip.agents else 8), texts


def test_no_sentence_is_a_recorded_one(real_answers: Path) -> None:
    with gzip.open(real_answers, "rt") as file:
        results = json.load(file)["results"]
    recorded = {
        sentence.strip()
        for item in results
        for text in (item["vl_text"], item["egpt_text"])
        for sentence in text.split(".")
        if len(sentence.split()) > 3
    }
    ours = {part.strip() for _, _, said_ in spoken() for part in said_.text.split(".") if part}
    assert not ours & recorded


_WORDS = st.text(alphabet="abc", min_size=1, max_size=5)


@given(st.lists(_WORDS, min_size=1, max_size=4), _WORDS)
def test_marks_move_with_their_words(words: list[str], before: str) -> None:
    parts = [named(word, (f"attribute {n}", word)) for n, word in enumerate(words)]
    whole = answer(said(before + " {all}", all=listed(parts)), said("{one}", one=parts[0].a))
    assert [whole.text[n.start : n.end].lower() for n in whole.names] == [*words, words[0]]
    assert [n.value for n in whole.names] == [*words, words[0]]


def test_an_article_fits_what_follows() -> None:
    assert named("orange").a.text == "an orange"
    assert said("{it}", it=named("bus").a).text == "a bus"
    assert listed([named("a"), named("b")]).text == "a and b"
    assert listed([named("a"), named("b"), named("c")]).text == "a, b, and c"
