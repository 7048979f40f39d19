"""Answers that a dataset brings along: what can truly be said about its scenes, by voice.

`answers.jsonl` beside the manifest, one line per scene and question. The camera voice says what a
video camera sees, the event voice what an event camera sees. Each answer marks the words that name
an attribute, so that answers of models can be scored against them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text, write_text

ANSWERS = "answers.jsonl"
Voice = Literal["camera", "event"]
VOICES: tuple[Voice, ...] = get_args(Voice)


@dataclass(frozen=True)
class Named:
    """Words of an answer that name an attribute: characters `start` to `end`, the end left out.

    Attributes:
        attribute: as in the scene's ground truth, such as `second colour`.
        value: as there, such as `red`; the words may differ (`snowy` for `snow`).
    """

    attribute: str
    value: str
    start: int
    end: int


@dataclass(frozen=True)
class Answer:
    """One answer and what it names, in the order of the words."""

    text: str
    names: tuple[Named, ...] = ()


@dataclass(frozen=True)
class SceneAnswers:
    """Both voices on one question about one scene."""

    drive: str
    clip: int
    question: str
    answers: dict[Voice, Answer]

    @property
    def scene_id(self) -> str:
        """`<drive>/<clip>`, as `Scene.id`."""
        return f"{self.drive}/{self.clip:06d}"


def write_answers(folder: Path, answers: Iterable[SceneAnswers]) -> None:
    """Write `answers.jsonl`, atomically.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    lines = (json.dumps(_to_json(entry), ensure_ascii=False) for entry in answers)
    write_text(folder / ANSWERS, "".join(f"{line}\n" for line in lines))


def read_answers(folder: Path) -> Iterator[SceneAnswers]:
    """Answers of a dataset folder, in the file's order.

    Raises:
        InputError: no such file, or a line that is damaged.
    """
    path = folder / ANSWERS
    if not path.is_file():
        raise InputError(
            "the dataset brings no answers",
            where=path,
            expected="one line per scene and question",
            hint="make a dataset that has them: crossdraft scenes synth",
        )
    # Only what JSON escapes ends a line; `splitlines` would also cut within a text.
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield _from_json(Item(parse_json(line, path, line=number), path, f"line {number}"))


def _to_json(entry: SceneAnswers) -> dict[str, Any]:
    said: dict[str, Any] = {
        voice: {
            "text": answer.text,
            "names": [[n.attribute, n.value, n.start, n.end] for n in answer.names],
        }
        for voice, answer in entry.answers.items()
    }
    return {"drive": entry.drive, "clip": entry.clip, "question": entry.question, **said}


def _from_json(item: Item) -> SceneAnswers:
    drive, question = item.text("drive"), item.text("question")
    if not drive or not question:
        raise item.error("names no drive or no question", "both as text")
    clip = item.whole("clip", -1)
    if clip < 0:
        raise item.error(f"clip is {item.value.get('clip')!r}", "a whole number from 0")
    voices = {voice: _answer(item.sub(voice)) for voice in VOICES if voice in item.value}
    if not voices:
        raise item.error("holds no answer", f"one under {' or '.join(VOICES)}")
    return SceneAnswers(drive, clip, question, voices)


def _answer(item: Item) -> Answer:
    text, listed = item.text("text"), item.value.get("names", [])
    if text is None or not isinstance(listed, list):
        raise item.error("is no answer", "`text`, and `names` as a list")
    if not text.strip():
        raise item.error("is an empty answer", "a text that says something")
    return Answer(text, tuple(_named(name, text, item) for name in listed))


def _named(name: object, text: str, item: Item) -> Named:
    match name:
        case [str(attribute), str(value), start, end] if type(start) is type(end) is int:
            if 0 <= start < end <= len(text):
                return Named(attribute, value, start, end)
    raise item.error(f"names {name!r:.60}", "[attribute, value, start, end] within the text")
