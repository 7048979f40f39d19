"""The questions that both models are asked about every scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text


@dataclass(frozen=True)
class Question:
    """One question, and how often it occurs where it was collected (None: unknown)."""

    text: str
    count: int | None = None


#: The ten most frequent questions about DSEC scenes in EventGPT's instruction set, as the seed
#: study counted them; the first is its default.
DEFAULT_QUESTIONS = (
    Question("What are the key elements in this scene?", 1675),
    Question("Can you elaborate on the elements of the scene provided?", 1292),
    Question("What is this scene about?", 1225),
    Question("What is the layout of the road in the scene?", 1005),
    Question(
        "What type of vehicles are present in the scene and how are they positioned?", 827
    ),
    Question("What do you think is going on in this scene?", 680),
    Question("What elements are present in the scene?", 654),
    Question("What do you see happening in this scene?", 593),
    Question("Describe the following scene.", 545),
    Question(
        "What types of vehicles are present in the scene and how are they positioned?", 543
    ),
)  # fmt: skip


def read_questions(path: Path) -> tuple[Question, ...]:
    """Questions of a JSON list, in the file's order: texts, or objects {question, count}.

    Raises:
        InputError: not such a list, an empty or repeated question, a count below zero.
    """
    listed = parse_json(read_text(path), path)
    if not isinstance(listed, list) or not listed:
        raise InputError(
            "holds no list of questions",
            where=path,
            expected='["What is ahead?", …] or [{"question": "What is ahead?", "count": 7}, …]',
        )
    questions = tuple(_question(entry, place, path) for place, entry in enumerate(listed))
    seen: dict[str, int] = {}
    for place, question in enumerate(questions):
        if (first := seen.setdefault(question.text, place)) != place:
            raise InputError(
                f"questions {first} and {place} are the same: {question.text!r}",
                where=path,
                expected="every question once",
            )
    return questions


def _question(entry: object, place: int, path: Path) -> Question:
    item = Item({"question": entry} if isinstance(entry, str) else entry, path, f"question {place}")
    text = item.text("question")
    if text is None or not text.strip():
        raise item.error("has no text", "the question itself under `question`")
    count = item.whole("count", -1)
    if count < 0 and item.value.get("count") is not None:
        raise item.error(f"count is {count}", "zero or more")
    return Question(text.strip(), None if count < 0 else count)
