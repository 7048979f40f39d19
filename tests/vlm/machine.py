"""Any interleaving of calls on several sessions of one model, as a Hypothesis state machine."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from crossdraft.base.tree import DraftTree
from tests.vlm.models import DRAFTABLE, VOCAB, MadeScene, scene_of
from tests.vlm.oracle import greedy
from tests.vlm.shadow import Asked, Setting, Shadow, trees, walk

#: Questions of unequal lengths; the last fills the small preallocated cache by itself.
QUESTIONS = ((9,), (11, 12, 13), (20, 21, 22, 23, 24, 25, 26), tuple(range(30, 66)))
WHO = st.integers(0, 3)
TOKENS = st.integers(3, DRAFTABLE - 1)
TURNS = st.lists(st.integers(0, 2), max_size=6)
ALIVE = 4


def run_machine(model: Any, scenes: Sequence[MadeScene], *, examples: int, steps: int = 30) -> None:
    """Drive sessions of these scenes, with every kind of cache side by side."""
    asked = [Asked(scene) for scene in scenes]
    growing = Setting.of(model, "growing", layers=(0, 1, 2))
    preallocated = Setting.of(model, "preallocated", room=40)
    padded = Setting.of(model, "padded", layers=(1,))

    def machine() -> SessionMachine:
        return SessionMachine([growing, preallocated, padded], asked)

    run_state_machine_as_test(
        machine,  # type: ignore[arg-type]
        settings=settings(max_examples=examples, stateful_step_count=steps),
    )


class SessionMachine(RuleBasedStateMachine):
    """Sessions, forks and their calls in any order; `who` picks one of those alive."""

    def __init__(self, ways: Sequence[Setting], asked: Sequence[Asked]) -> None:
        super().__init__()
        self.ways, self.asked = ways, asked
        self.alive: list[Shadow] = []

    def pick(self, who: int) -> Shadow:
        """One of the sessions alive."""
        return self.alive[who % len(self.alive)]

    @initialize(way=st.integers(0, 2), scene=st.integers(0, 1))
    def start(self, way: int, scene: int) -> None:
        """One session to begin with."""
        self.open(way, scene)

    @precondition(lambda self: len(self.alive) < ALIVE)
    @rule(way=st.integers(0, 2), scene=st.integers(0, 1))
    def open(self, way: int, scene: int) -> None:
        """Open one of the scenes with one of the caches."""
        self.alive.append(Shadow.open(self.ways[way], self.asked[scene % len(self.asked)]))

    @precondition(lambda self: len(self.alive) < ALIVE)
    @rule(who=WHO)
    def fork(self, who: int) -> None:
        """Fork a session, wherever it stands."""
        self.alive.append(self.pick(who).fork())

    @precondition(lambda self: len(self.alive) > 1)
    @rule(who=WHO)
    def drop(self, who: int) -> None:
        """Forget a session, whoever was forked from it."""
        del self.alive[who % len(self.alive)]

    @rule(who=WHO, question=st.sampled_from(QUESTIONS), tail=trees())
    def ask(self, who: int, question: tuple[int, ...], tail: DraftTree) -> None:
        """Ask; refused where a question was asked before."""
        self.pick(who).ask(question, tail)

    @rule(who=WHO, turns=st.lists(st.tuples(TOKENS, trees(), TURNS), min_size=1, max_size=4))
    def advance(self, who: int, turns: list[tuple[int, DraftTree, list[int]]]) -> None:
        """Some turns of a proper loop: keep what was walked of the last tree, then a pass."""
        shadow = self.pick(who)
        for token, tree, steps in turns:
            if shadow.question is None:
                shadow.ask(QUESTIONS[token % 3], tree)
                continue
            if shadow.last is not None:
                shadow.keep(walk(shadow.last, steps))
            shadow.extend(token, tree)

    @rule(who=WHO, back=st.integers(0, 7), turn=st.tuples(TOKENS, trees()))
    def say_it_otherwise(self, who: int, back: int, turn: tuple[int, DraftTree]) -> None:
        """Roll back as far as may be, or nearly, and go on from there."""
        shadow = self.pick(who)
        shadow.rollback(min(back, len(shadow.answer)))
        shadow.extend(*turn)

    @rule(who=WHO, token=st.integers(-1, VOCAB + 1), tree=trees())
    def extend(self, who: int, token: int, tree: DraftTree) -> None:
        """Extend; refused before a question, while a tree waits, and past the vocabulary."""
        if not DRAFTABLE <= token < VOCAB:
            self.pick(who).extend(token, tree)

    @rule(who=WHO, tokens=st.lists(TOKENS | st.integers(-1, VOCAB), max_size=5))
    def read(self, who: int, tokens: list[int]) -> None:
        """Read a block; refused before a question, while a tree waits, and past the vocabulary."""
        if not any(DRAFTABLE <= token < VOCAB for token in tokens):
            self.pick(who).read(tokens)

    @rule(who=WHO, path=st.lists(st.integers(-1, 6), max_size=3))
    def keep(self, who: int, path: list[int]) -> None:
        """Keep what may be a path."""
        self.pick(who).keep(path)

    @rule(who=WHO, count=st.integers(-1, 5))
    def rollback(self, who: int, count: int) -> None:
        """Roll back, perhaps too far."""
        self.pick(who).rollback(count)

    @rule(who=WHO, token=st.sampled_from((-1, DRAFTABLE, VOCAB - 1, VOCAB, VOCAB + 7)))
    def draft_what_must_not_be(self, who: int, token: int) -> None:
        """A tree with an id that is no word, and a tail with it."""
        shadow = self.pick(who)
        tree = DraftTree.from_parents([5, token], [-1, -1])
        if shadow.question is None:
            shadow.ask(QUESTIONS[0], tree)
        else:
            shadow.extend(6, tree)

    @rule(who=WHO, question=st.sampled_from(QUESTIONS[:3]))
    def answer_aside(self, who: int, question: tuple[int, ...]) -> None:
        """Plain answers of a session that is busy with another question."""
        shadow = self.pick(who)
        (answer,) = shadow.session.answer_many([shadow.asked.scene.prompt(question)], 3)
        scene = shadow.asked.scene
        assert answer.tokens == greedy(scene.model, scene.outputs(question), 3)
        shadow.check()

    def teardown(self) -> None:
        """Every session still stands where it should."""
        for shadow in self.alive:
            shadow.check()


def two_scenes(model: Any, kinds: Sequence[str], seed: int = 0) -> list[MadeScene]:
    """Two scenes of these kinds for a machine."""
    rng = random.Random(seed)
    return [
        scene_of(model, rng, kind, before=None if kind != "text" else 10 * i)
        for i, kind in enumerate(kinds)
    ]
