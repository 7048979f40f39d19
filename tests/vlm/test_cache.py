"""What interrupts leave behind, and buffers under a caller's inference mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from crossdraft.base.tree import DraftTree
from crossdraft.vlm import cache as module
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from tests.vlm.models import llama

PROMPT = Prompt(tuple(range(3, 20)), 8)
TREE = DraftTree.from_parents([10, 11, 12, 13], [-1, -1, 0, 2])
CACHES: Any = ("growing", "preallocated")


def last_row(model: Any, tokens: tuple[int, ...]) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=torch.tensor([tokens]), use_cache=False).logits
    return logits[0, -1]


def interrupt_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Interrupt the n-th call of a method, behind what it does."""
    original, calls = getattr(owner, name), []

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(name)
        result = original(self, *args, **options)
        if len(calls) == call:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(owner, name, counted)


@pytest.mark.parametrize("call", [1, 2, 3, 4])
@pytest.mark.parametrize("cache", CACHES)
def test_a_keep_that_is_interrupted_drops_the_tree(
    monkeypatch: pytest.MonkeyPatch, cache: Any, call: int
) -> None:
    """Two layers of keys and values: four moves, any of which may be the last one done."""
    model = llama()
    session = Target(model, cache=cache).open(PROMPT).fork()
    session.ask(PROMPT, TREE)
    with monkeypatch.context() as patch:
        interrupt_at(patch, torch.Tensor, "index_select", call)
        with pytest.raises(KeyboardInterrupt):
            session.keep([0, 2, 3])
    with pytest.raises(RuntimeError, match="no pass to keep of"):
        session.keep([0, 2, 3])
    assert session.tokens == PROMPT.ids
    step = session.extend(10, TREE)
    torch.testing.assert_close(step.logits[0], last_row(model, (*PROMPT.ids, 10)))
    session.keep([1])
    step = session.extend(9)
    torch.testing.assert_close(step.logits[0], last_row(model, (*PROMPT.ids, 10, 11, 9)))


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("name", ["use", "update"])
@pytest.mark.parametrize("cache", CACHES)
def test_a_pass_that_is_interrupted_never_was(
    monkeypatch: pytest.MonkeyPatch, cache: Any, name: str, call: int
) -> None:
    model = llama()
    session = Target(model, cache=cache).open(PROMPT).fork()
    with monkeypatch.context() as patch:
        interrupt_at(patch, module._Rows, name, call)
        with pytest.raises(KeyboardInterrupt):
            session.ask(PROMPT)
    assert session.tokens == PROMPT.prefix
    step = session.ask(PROMPT)
    torch.testing.assert_close(step.logits[0], last_row(model, PROMPT.ids))


@pytest.mark.parametrize("cache", CACHES)
def test_a_callers_inference_mode_may_come_and_go(cache: Any) -> None:
    model = llama()
    with torch.inference_mode():
        session = Target(model, cache=cache).open(PROMPT)
        child = session.fork()
        child.ask(PROMPT, TREE)
    child.keep([0, 2])
    with torch.inference_mode():
        child.extend(5, TREE)
        child.keep([1])
    step = child.extend(6)
    expected = last_row(model, (*PROMPT.ids, 10, 12, 5, 11, 6))
    torch.testing.assert_close(step.logits[0], expected)
    assert session.fork().ask(PROMPT).logits.shape == (1, 120)


def test_a_step_does_not_keep_the_question_alive() -> None:
    step = Target(llama(), layers=(1,)).open(PROMPT).fork().ask(PROMPT)
    for rows in (step.hidden, step.layers[1]):
        assert rows.untyped_storage().nbytes() == rows.nbytes
