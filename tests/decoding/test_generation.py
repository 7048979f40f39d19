"""Plain decoding through the loop, and what is recorded of how an answer came."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import torch

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.decoding.generation import Generation, Pass
from crossdraft.decoding.speculator import Speculator
from crossdraft.vlm.target import Target
from tests.vlm.models import Words, scene_of, tiny

QUESTION = "what is ahead"


def target(**options: Any) -> tuple[Target, Any]:
    model = tiny("video-llava")
    return Target(model, Words(), **options), scene_of(model, random.Random(5))


def plainly(model: Target, scene: Any, count: int, **options: Any) -> Generation:
    return Speculator(model, "none").ask(scene, QUESTION, max_new_tokens=count, **options)


def test_it_is_the_answer_of_generate_and_says_what_it_took() -> None:
    model, scene = target()
    said: list[int] = []
    answer = plainly(model, scene, 10, on_tokens=said.extend)
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
    assert 0 < before <= answer.arrival_ms[0]
    assert list(answer.arrival_ms) == sorted(answer.arrival_ms)
    assert len(answer.arrival_ms) == len(answer.passes) == 10
    assert answer.tau == 1
    assert sum(span.name == "decode" for span in answer.spans.spans) == 9
    assert json.loads(json.dumps(answer.to_json()))["tokens"] == said


def test_it_ends_behind_an_end_token() -> None:
    model, scene = target()
    tokens = plainly(model, scene, 10).tokens
    model.eos_ids = frozenset({tokens[3]})
    answer = plainly(model, scene, 10)
    assert answer.tokens == tokens[: tokens.index(tokens[3]) + 1]
    assert answer.end == "eos"


def test_what_it_refuses() -> None:
    model, scene = target()
    with pytest.raises(InputError, match="from 1"):
        plainly(model, scene, 0)
    with pytest.raises(InputError, match="ids in place of a question"):
        Speculator(model, "none").ask(scene, (1, 2, 3))
    with pytest.raises(InputError, match="without a tokenizer"):
        plainly(model, scene, 5, stop=["."])


def test_every_token_is_told_to_be_somebodys() -> None:
    """Two sources, an accepted path, and an answer that ends inside the last one."""
    first = DraftTree.from_parents([5, 6, 7], [-1, -1, 1], source="one")
    second = DraftTree.chain([8, 9, 2], source="other")
    passes = (Pass(first, (1, 2), 3), Pass(DraftTree.empty(), (), 1), Pass(second, (0, 1), 2))
    answer = Generation(
        (6, 7, 1, 3, 8, 9), "eos", None, "", 4, (1.0,) * 6, passes, "greedy", False, Spans()
    )
    assert answer.proposed_by == ("one", "one", None, None, "other", "other")
    assert answer.by_source() == {
        "one": {"drafted": 3, "accepted": 2},
        "other": {"drafted": 3, "accepted": 2},
    }
    assert (answer.accepted, answer.drafted, answer.tau) == ((2, 0, 2), (3, 0, 3), 2.0)
