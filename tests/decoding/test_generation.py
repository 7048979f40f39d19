"""One model's plain answer, and what is recorded of how it came."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch

from crossdraft.base.errors import InputError
from crossdraft.decoding.generation import answer_plainly
from crossdraft.vlm.target import Target
from tests.vlm.models import Words, scene_of, tiny

QUESTION = "what is ahead"


def target(**options: Any) -> tuple[Target, Any]:
    model = tiny("video-llava")
    return Target(model, Words(), **options), scene_of(model, random.Random(5))


def test_it_is_the_answer_of_generate_and_says_what_it_took() -> None:
    model, scene = target()
    said: list[int] = []
    answer = answer_plainly(model, scene, QUESTION, 10, said.append)
    ids = scene.outputs(Words.ids(QUESTION))
    whole: Any = model.model
    with torch.no_grad():
        expected = whole.generate(**ids, max_new_tokens=10, do_sample=False)
    assert list(answer.tokens) == said == expected[0, ids["input_ids"].shape[1] :].tolist()
    prompt = model.prompt(scene, QUESTION)
    assert (answer.end, answer.prompt_hash) == ("length", prompt.hash)
    assert answer.prompt_tokens == len(prompt.ids)
    # The scene is read, seen and prefilled before the first token is there.
    before = sum(answer.spans.total_ms(name) for name in ("read", "vision", "prefill"))
    assert before <= answer.arrival_ms[0]
    assert list(answer.arrival_ms) == sorted(answer.arrival_ms)
    assert len(answer.arrival_ms) == 10
    assert sum(span.name == "decode" for span in answer.spans.spans) == 9
    assert json.loads(json.dumps(answer.to_json()))["tokens"] == said


def test_it_ends_behind_an_end_token() -> None:
    model, scene = target()
    tokens = answer_plainly(model, scene, QUESTION, 10).tokens
    model.eos_ids = frozenset({tokens[3]})
    answer = answer_plainly(model, scene, QUESTION, 10)
    assert answer.tokens == tokens[: tokens.index(tokens[3]) + 1]
    assert answer.end == "eos"


def test_what_it_refuses() -> None:
    model, scene = target()
    with pytest.raises(InputError, match="from 1"):
        answer_plainly(model, scene, QUESTION, 0)
    with pytest.raises(InputError, match="ids in place of a question"):
        answer_plainly(model, scene, (1, 2, 3), 5)
