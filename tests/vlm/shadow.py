"""A session and its double: every call is made on the session and worked out by an oracle.

A `Shadow` knows what the contract says of a call before it is made: the rows, the tokens, the rows
in the cache, or the error, after which nothing may have changed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.vlm.session import Step
from crossdraft.vlm.target import Target
from tests.vlm.models import DRAFTABLE, VOCAB, MadeScene
from tests.vlm.oracle import Oracle, assert_rows


@dataclass(eq=False)
class Setting:
    """One way to drive one model: its target, and what was asked of it."""

    target: Target
    room: int | None = None
    layers: tuple[int, ...] = ()
    draftable: int = DRAFTABLE

    @classmethod
    def of(cls, model: Any, cache: str, *, room: int = 40, layers: tuple[int, ...] = ()) -> Setting:
        """A target with ids from `DRAFTABLE` on banned from drafts.

        Args:
            cache: `growing`, `preallocated`, or `padded`: preallocated and with passes padded as
                for a compiler, but without one; its room is never met.
        """
        options: dict[str, Any] = {"layers": layers, "draftable": DRAFTABLE}
        if cache == "padded":
            options |= {"cache": "preallocated", "room": 400, "compiled": True}
        else:
            options |= {"cache": cache} | ({"room": room} if cache == "preallocated" else {})
        with mock.patch.object(torch, "compile", lambda function, **_: function):
            target = Target(model, **options)
        return cls(target, room if cache == "preallocated" else None, layers)


class Asked:
    """A scene and the oracles of the questions put to it, made when they are first asked."""

    def __init__(self, scene: MadeScene) -> None:
        self.scene = scene
        self._oracles: dict[tuple[int, ...], Oracle] = {}

    def oracle(self, question: Sequence[int]) -> Oracle:
        """The oracle of this question about the scene."""
        key = tuple(question)
        if key not in self._oracles:
            self._oracles[key] = Oracle(self.scene.model, self.scene.outputs(key))
        return self._oracles[key]


@dataclass(eq=False)
class Shadow:
    """A session beside what it should be.

    Attributes:
        prompt: ids of the prompt asked, None before.
        answer: ids committed behind the prompt.
        last: the tree of the last pass while `keep` may still be called.
    """

    setting: Setting
    asked: Asked
    session: Any
    question: tuple[int, ...] | None = None
    answer: list[int] = field(default_factory=list)
    last: DraftTree | None = None
    steps: list[tuple[Step, list[Tensor]]] = field(default_factory=list)

    @classmethod
    def open(cls, setting: Setting, asked: Asked) -> Shadow:
        """Open the scene; the prompt that brings the picture asks something of its own."""
        shadow = cls(setting, asked, setting.target.open(asked.scene.prompt((5,))))
        shadow.check()
        return shadow

    def fork(self) -> Shadow:
        """A double of `session.fork()`."""
        child = Shadow(self.setting, self.asked, self.session.fork())
        child.check()
        self.check()
        return child

    @property
    def tokens(self) -> tuple[int, ...]:
        """What `session.tokens` should be."""
        return (*self.asked.scene.ids, *(self.question or ()), *self.answer)

    @property
    def waiting(self) -> int:
        """Nodes that wait for `keep`."""
        return 0 if self.last is None else len(self.last)

    def check(self) -> None:
        """Everything that a session says of itself."""
        assert self.session.tokens == self.tokens
        assert self.session.cache_length == len(self.tokens) + self.waiting
        for step, copies in self.steps[-4:]:
            for tensor, copy in zip(_tensors(step), copies, strict=True):
                assert torch.equal(tensor, copy), "a later call changed the rows of a step"

    def ask(self, question: Sequence[int], tail: DraftTree) -> None:
        """Ask, or see the call refused."""
        question = tuple(question)
        wrong: list[type[Exception]] = self._wrong_drafts(tail)
        if self.question is not None:
            wrong.append(RuntimeError)
        if not self._fits(len(question) + len(tail)):
            wrong.append(InputError)
        prompt = self.asked.scene.prompt(question)
        step = self._call(lambda: self.session.ask(prompt, tail), wrong)
        if step is not None:
            self.question, self.last = question, tail
            self._compare(step, tail)

    def extend(self, token: int, tree: DraftTree) -> None:
        """Extend, or see the call refused."""
        wrong: list[type[Exception]] = self._wrong_drafts(tree)
        if self.question is None or self.waiting:
            wrong.append(RuntimeError)
        if not 0 <= token < VOCAB:
            wrong += [ValueError, InputError]
        if not self._fits(1 + len(tree)):
            wrong.append(InputError)
        step = self._call(lambda: self.session.extend(token, tree), wrong)
        if step is not None:
            self.answer.append(token)
            self.last = tree
            self._compare(step, tree)

    def read(self, tokens: Sequence[int]) -> None:
        """Read, or see the call refused."""
        wrong: list[type[Exception]] = []
        if self.question is None or self.waiting:
            wrong.append(RuntimeError)
        if not tokens or not all(0 <= token < VOCAB for token in tokens):
            wrong.append(ValueError)
        if not self._fits(len(tokens)):
            wrong.append(InputError)
        step = self._call(lambda: self.session.read(tokens), wrong)
        if step is not None:
            assert self.question is not None
            oracle = self.asked.oracle(self.question)
            answers = [(*self.answer, *tokens[: i + 1]) for i in range(len(tokens))]
            rows = [oracle.row(answer) for answer in reversed(answers)][::-1]
            assert_rows(step, rows, self.setting.layers)
            self.answer += tokens
            self.last = DraftTree.empty()
            self.steps.append((step, [tensor.clone() for tensor in _tensors(step)]))
            self.check()

    def keep(self, path: Sequence[int]) -> None:
        """Keep, or see the call refused."""
        wrong: list[type[Exception]] = []
        if self.last is None:
            wrong.append(RuntimeError)
        elif not is_path(self.last, path):
            wrong.append(ValueError)
        self._call(lambda: self.session.keep(path), wrong)
        if not wrong and self.last is not None:
            self.answer += [int(self.last.tokens[node]) for node in path]
            self.last = None
        self.check()

    def rollback(self, count: int) -> None:
        """Roll back, or see the call refused."""
        wrong: list[type[Exception]] = []
        if self.question is None:
            wrong.append(RuntimeError)
        elif not 0 <= count <= len(self.answer):
            wrong.append(ValueError)
        self._call(lambda: self.session.rollback(count), wrong)
        if not wrong:
            del self.answer[len(self.answer) - count :]
            self.last = None
        self.check()

    def _call(self, call: Callable[[], Step | None], wrong: Sequence[type[Exception]]) -> Any:
        if not wrong:
            return call()
        with pytest.raises(tuple(wrong)):
            call()
        self.check()
        return None

    def _compare(self, step: Step, tree: DraftTree) -> None:
        assert self.question is not None
        oracle = self.asked.oracle(self.question)
        # Children stand behind their parents: the longest branches come first.
        branches = {node: branch(tree, node) for node in reversed(range(len(tree)))}
        rows = {node: oracle.row((*self.answer, *tokens)) for node, tokens in branches.items()}
        root = oracle.row(self.answer)
        assert_rows(step, [root, *(rows[i] for i in range(len(tree)))], self.setting.layers)
        self.steps.append((step, [tensor.clone() for tensor in _tensors(step)]))
        self.check()

    def _fits(self, new: int) -> bool:
        if self.setting.room is None:
            return True
        used = len(self.tokens) - len(self.asked.scene.ids)
        return used + new <= self.setting.room

    def _wrong_drafts(self, tree: DraftTree) -> list[type[Exception]]:
        good = all(0 <= token < self.setting.draftable for token in tree.tokens.tolist())
        return [] if good else [ValueError]


def is_path(tree: DraftTree, path: Sequence[int]) -> bool:
    """Whether these nodes hang below one another, the first below the root."""
    above = ROOT
    for node in path:
        if not 0 <= node < len(tree) or tree.parents[node] != above:
            return False
        above = node
    return True


def branch(tree: DraftTree, node: int) -> tuple[int, ...]:
    """Tokens from the root's child down to `node`."""
    return tuple(int(tree.tokens[i]) for i in tree.path(node))


def walk(tree: DraftTree, turns: Sequence[int]) -> tuple[int, ...]:
    """A path: at each node the `turn`-th of its children, counted round."""
    path: list[int] = []
    for turn in turns:
        above = path[-1] if path else ROOT
        children = [i for i in range(len(tree)) if tree.parents[i] == above]
        if not children:
            break
        path.append(children[turn % len(children)])
    return tuple(path)


def random_tree(rng: random.Random, nodes: int, top: int = DRAFTABLE) -> DraftTree:
    """A tree of at most so many nodes, bushy or narrow by chance."""
    narrow = rng.random()
    tokens: list[int] = []
    parents: list[int] = []
    for i in range(nodes):
        parent = i - 1 if rng.random() < narrow else rng.randrange(-1, i)
        token = rng.randrange(3, top)
        if (parent, token) not in zip(parents, tokens, strict=True) and parent < len(tokens):
            tokens.append(token)
            parents.append(parent)
    return DraftTree.from_parents(tokens, parents)


@st.composite
def trees(draw: st.DrawFn, most: int = 7) -> DraftTree:
    """Empty trees, chains and trees; few different tokens, so that branches look alike."""
    count = draw(st.integers(0, most))
    chain = draw(st.booleans())
    nodes: dict[tuple[int, int], None] = {}
    for i in range(count):
        parent = len(nodes) - 1 if chain else draw(st.integers(-1, len(nodes) - 1))
        token = draw(st.sampled_from((3, 4, 50, 7 + i)))
        nodes.setdefault((parent, token))
    return DraftTree.from_parents([token for _, token in nodes], [parent for parent, _ in nodes])


def _tensors(step: Step) -> list[Tensor]:
    return [step.logits, step.hidden, *(step.layers[i] for i in sorted(step.layers))]
