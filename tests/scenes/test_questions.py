"""Questions: the default ten, and lists of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.questions import DEFAULT_QUESTIONS, Question, read_questions


def written(folder: Path, value: Any) -> Path:
    path = folder / "questions.json"
    path.write_text(json.dumps(value))
    return path


def test_texts_and_objects(tmp_path: Path) -> None:
    path = written(tmp_path, ["Who?", {"question": "What?", "count": 3}, {"question": " Why? "}])
    assert read_questions(path) == (Question("Who?"), Question("What?", 3), Question("Why?"))


def test_the_default_ten_head_the_recorded_list() -> None:
    path = Path(__file__).parents[3] / "shared" / "real" / "top50_questions.json"
    if not path.exists():
        pytest.skip(f"no recorded questions at {path}")
    assert read_questions(path)[:10] == DEFAULT_QUESTIONS


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "no list of questions"),
        ([], "no list of questions"),
        (["a", " "], "question 1: has no text"),
        (["a", {"question": "a"}], "questions 0 and 1 are the same"),
        ([{"question": "a", "count": -2}], "count is -2"),
        ([{"question": "a", "count": "7"}], "count is '7'"),
        ([3], "question 0: is a number"),
    ],
)
def test_faults_are_named(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_questions(written(tmp_path, value))
