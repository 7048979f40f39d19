"""Answers that a dataset brings along: written, read, refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.answers import (
    ANSWERS,
    Answer,
    Named,
    SceneAnswers,
    Voice,
    read_answers,
    write_answers,
)

ENTRY = SceneAnswers(
    "train-0001",
    7,
    "What is ahead?",
    {
        "camera": Answer("A red bus – 公.", (Named("colour", "red", 2, 5),)),
        "event": Answer("A bus."),
    },
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    other = SceneAnswers("test-0000", 0, "Why?", {"event": Answer("Nothing moves.")})
    write_answers(tmp_path, [ENTRY, other])
    assert list(read_answers(tmp_path)) == [ENTRY, other]
    assert ENTRY.scene_id == "train-0001/000007"
    assert [path.name for path in tmp_path.iterdir()] == [ANSWERS]
    # As people write it, to be read and searched for.
    assert "A red bus – 公." in (tmp_path / ANSWERS).read_text(encoding="utf-8")


@given(st.text(min_size=1).filter(str.strip), st.data())
def test_any_text_and_mark_survives(tmp_path_factory: Any, text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    entry = SceneAnswers("d", 0, "Q?", {"camera": Answer(text, (Named("a", "b", start, end),))})
    folder = tmp_path_factory.mktemp("answers")
    write_answers(folder, [entry])
    assert list(read_answers(folder)) == [entry]


def test_a_folder_without_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="brings no answers"):
        list(read_answers(tmp_path))


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_answers(tmp_path / "missing", [ENTRY])


GOOD: dict[str, Any] = {
    "drive": "d", "clip": 3, "question": "Q?",
    "camera": {"text": "A red bus.", "names": [["colour", "red", 2, 5]]},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"drive": ""}, "no drive"),
        ({"question": None}, "no question"),
        ({"clip": "three"}, "clip"),
        ({"clip": None}, "clip is None"),
        ({"clip": -1}, "clip is -1"),
        ({"camera": {"text": "xy", "names": [["a", "b", False, True]]}}, "within the text"),
        ({"camera": None, "event": None}, "camera"),
        ({"camera": {"names": []}}, "no answer"),
        ({"camera": {"text": "x", "names": {}}}, "no answer"),
        ({"camera": {"text": "", "names": []}}, "empty answer"),
        ({"camera": {"text": " \n", "names": []}}, "an empty answer"),
        ({"camera": {"text": "x", "names": [["a", "b", 0, 2]]}}, "within the text"),
        ({"camera": {"text": "x", "names": [["a", "b", 1, 1]]}}, "within the text"),
        ({"camera": {"text": "x", "names": [["a", 1, 0, 1]]}}, "within the text"),
        ({"camera": {"text": "x", "names": [["a", "b", 0]]}}, "within the text"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.replace(" ", "-"),
)
def test_a_damaged_line_is_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    lines = [json.dumps(GOOD), json.dumps({**GOOD, **change})]
    (tmp_path / ANSWERS).write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError) as caught:
        list(read_answers(tmp_path))
    assert "line 2" in str(caught.value)
    assert said in str(caught.value)


def test_a_line_without_any_voice_is_refused(tmp_path: Path) -> None:
    bare = {key: GOOD[key] for key in ("drive", "clip", "question")}
    (tmp_path / ANSWERS).write_text(json.dumps(bare))
    with pytest.raises(InputError, match="holds no answer"):
        list(read_answers(tmp_path))


@pytest.mark.parametrize(
    "damaged",
    [json.dumps(GOOD)[:-5], json.dumps({**GOOD, "question": "\ud800"}), "[" * 100_000],
    ids=["cut", "half-a-character", "deep"],
)
def test_a_line_that_is_no_json_is_named(tmp_path: Path, damaged: str) -> None:
    (tmp_path / ANSWERS).write_text(f"{json.dumps(GOOD)}\n\n{damaged}\n")
    with pytest.raises(InputError, match="in line 3") as caught:
        list(read_answers(tmp_path))
    assert "line 1" not in str(caught.value)


def test_a_text_may_hold_what_ends_lines_elsewhere(tmp_path: Path) -> None:
    entry = SceneAnswers("d", 0, "Q?", {"event": Answer("One\u2028two\x85three\nfour.")})
    write_answers(tmp_path, [entry])
    assert list(read_answers(tmp_path)) == [entry]


def test_both_voices_are_known() -> None:
    voice: Voice = "camera"
    assert voice in ENTRY.answers
