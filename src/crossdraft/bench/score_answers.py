"""What a model says about scenes, and its states while it says so.

Each scene's picture is read once, all its questions are answered side by side.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.bench.score_source import Asked, AskedScenes
from crossdraft.decoding.models import tokenizer_of
from crossdraft.evaluation.attributes import Values
from crossdraft.evaluation.bootstrap import Floats
from crossdraft.scenes.drive.words import named_in
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.target import Target
from crossdraft.vlm.text_stream import TextStream


@dataclass(frozen=True)
class Said:
    """A model's greedy answer to one question about one scene.

    Attributes:
        text: without the end token.
        tokens: ids, the end token included where the answer ended with one.
        end: why it ended.
    """

    text: str
    tokens: tuple[int, ...]
    end: Literal["eos", "length"]

    @cached_property
    def values(self) -> Values:
        """What it names."""
        return named_in(self.text)


@dataclass(frozen=True, eq=False)
class SceneSaid:
    """Everything that a model said about one scene.

    Attributes:
        answers: by question.
        prompt_state: [hidden] final-norm state at the last position of the prompt, the mean over
            the questions.
        answer_state: [hidden] mean of the states that emit an answer's tokens, then the mean over
            the questions.
    """

    answers: Mapping[str, Said]
    prompt_state: Floats
    answer_state: Floats


def answers_of(
    model: Target,
    role: Role,
    asked: Sequence[Asked],
    max_new_tokens: int,
    sink: ProgressSink = silent,
) -> list[SceneSaid]:
    """Ask a model every question about every scene.

    Raises:
        InputError: a scene cannot be read, a prompt is too long, or the model has no tokenizer.
    """
    if (tokenizer := tokenizer_of(model)) is None:
        raise InputError(
            f"the {role} has no tokenizer", expected="one, to read what the answers name"
        )
    text = TextStream(tokenizer).whole
    said = []
    for one in track(asked, f"{role}: scenes", len(asked), sink):
        questions = list(one.truths)
        answers = model.open(one.scene).answer_many(questions, max_new_tokens, states=True)
        states = [_floats(answer.hidden) for answer in answers]
        said.append(
            SceneSaid(
                {
                    question: Said(text(answer.tokens), answer.tokens, answer.end)
                    for question, answer in zip(questions, answers, strict=True)
                },
                np.stack([rows[0] for rows in states]).mean(0),
                np.stack([rows.mean(0) for rows in states]).mean(0),
            )
        )
    return said


def answer_lines(asked: AskedScenes, said: Mapping[Role, Sequence[SceneSaid]]) -> Iterator[str]:
    """Every answer as a line of JSON: drive, clip, question, and each model's text, ids, end."""
    for place, one in enumerate(asked.asked):
        for question in one.truths:
            line: dict[str, Any] = {
                "drive": one.scene.drive, "clip": one.scene.clip, "question": question
            }  # fmt: skip
            for role, scenes in said.items():
                answer = scenes[place].answers[question]
                line[role] = {"text": answer.text, "tokens": answer.tokens, "end": answer.end}
            yield json.dumps(line, ensure_ascii=False)


def _floats(states: torch.Tensor | None) -> Floats:
    assert states is not None
    found: Floats = states.detach().to("cpu", torch.float64).numpy()
    return found
