"""Compiled steps: one graph per width, whatever the session, its length or its buffer."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.vlm.models import llama

PROMPT = Prompt((*range(3, 15), 5, 6), 12)
TREE = DraftTree.from_parents([4, 5, 6], [-1, -1, 0])


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Counts graphs, and runs them without a compiler's minutes."""
    torch._dynamo.reset()
    counted = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counted))
    yield counted
    torch._dynamo.reset()


def test_one_graph_per_width_serves_every_length_and_fork(counter: Any) -> None:
    model = llama()
    target = Target(model, cache="preallocated", room=80, compiled=True)
    plain = Target(model).open(PROMPT)
    session = target.open(PROMPT)
    held = []
    for turn in range(3):
        # Two forks at once, so that the second takes buffers of its own.
        pair = session.fork(), plain.fork()
        held.append(pair if turn == 0 else None)
        for one in pair:
            one.ask(PROMPT)
        for place in range(6):
            tree = TREE if place % 2 else DraftTree.empty()
            found, expected = (one.extend(7 + place, tree) for one in pair)
            torch.testing.assert_close(found.logits, expected.logits, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(found.hidden, expected.hidden, rtol=1e-9, atol=1e-9)
            for one in pair:
                one.keep([0, 2] if len(tree) else [])
    # The question of two tokens, a plain step, and the tree of three with its root.
    assert counter.frame_count == 3


def test_a_tree_between_two_widths_is_padded(counter: Any) -> None:
    model = llama()
    target = Target(model, cache="preallocated", room=80, compiled=True, layers=(1,))
    session, plain = target.open(PROMPT), Target(model, layers=(1,)).open(PROMPT)
    tree = DraftTree.from_parents([4, 5, 6, 7, 8], [-1, -1, 0, 2, 1])
    steps = []
    for one in (session, plain):
        one.ask(PROMPT)
        steps.append(one.extend(9, tree))
        one.keep([1, 4])
        steps.append(one.extend(3))
    for found, expected in zip(steps[:2], steps[2:], strict=True):
        assert found.logits.shape == expected.logits.shape
        torch.testing.assert_close(found.logits, expected.logits, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(found.layers[1], expected.layers[1], rtol=1e-9, atol=1e-9)
    assert session.cache_length == plain.cache_length


def test_compiling_asks_for_the_preallocated_cache() -> None:
    with pytest.raises(InputError, match="preallocated"):
        Target(llama(), compiled=True)
