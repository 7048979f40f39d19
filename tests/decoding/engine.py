"""Tools for tests of the engine: a scripted target, plain answers worked out apart from the loop,
drafters of every temper, and one that takes down what it is told.

Nothing here uses the rules or the loop, save `answer`, which calls it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossdraft.base.clock import Spans
from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding.generation import Generation, ignore
from crossdraft.decoding.loop import Drafting, OnTokens, decode
from crossdraft.decoding.rules import Greedy, Rule
from crossdraft.decoding.stopping import StopAt
from crossdraft.decoding.stream import AnswerStream
from crossdraft.decoding.width import Fixed, Width
from crossdraft.drafters.base import Budget, Context, Drafter
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer, Session, States, Step

EMPTY = DraftTree.empty()
GREEDY = Greedy()
QUESTION = "what is ahead"
#: Ids of the scripted target, and the first that must not be drafted.
VOCAB, DRAFTABLE = 8, 6
PROMPT = Prompt((1, 2, 3), cut=1)

Floats = NDArray[np.float64]
#: What follows a prompt and these tokens, as logits [vocab].
Logits = Callable[[Sequence[int]], Floats]


@dataclass(frozen=True)
class Language:
    """Says what follows by a checksum of everything before, so that a token that is kept wrongly
    changes all that comes later."""

    seed: int = 0
    vocab: int = VOCAB

    STATES = 499

    def state(self, tokens: Sequence[int]) -> int:
        """The checksum."""
        state = self.seed % self.STATES
        for token in tokens:
            state = (31 * state + token + 7) % self.STATES
        return state

    def logits(self, tokens: Sequence[int]) -> Floats:
        """[vocab] behind these tokens."""
        row: Floats = _table(self.vocab)[self.state(tokens)]
        return row

    def behind(self, prompt: Prompt = PROMPT) -> Logits:
        """The same behind a prompt."""
        return lambda answer: self.logits((*prompt.ids, *answer))


_TABLES: dict[int, Floats] = {}


def _table(vocab: int) -> Floats:
    if vocab not in _TABLES:
        shape = (Language.STATES, vocab)
        _TABLES[vocab] = np.random.default_rng(5).normal(scale=1.5, size=shape)
    return _TABLES[vocab]


class Scripted(Session):
    """A session of a `Language`, strict about the order of calls.

    Args:
        size: tokens it holds, None without limit.
        draftable: ids from here on are refused in trees.

    Attributes:
        calls: (kind, nodes) of every pass.
    """

    def __init__(
        self,
        language: Language,
        size: int | None = None,
        spans: Spans | None = None,
        draftable: int = DRAFTABLE,
    ) -> None:
        self.language, self.size, self.draftable = language, size, draftable
        self._spans = spans or Spans()
        self.calls: list[tuple[str, int]] = []
        self._tokens: tuple[int, ...] = PROMPT.prefix
        self._tree: DraftTree | None = None
        self._was_asked = False

    @property
    def spans(self) -> Spans:
        return self._spans

    @property
    def tokens(self) -> tuple[int, ...]:
        return self._tokens

    @property
    def room(self) -> int | None:
        if self.size is None:
            return None
        return self.size - len(self._tokens) - len(self._tree or ())

    def fork(self, spans: Spans | None = None) -> Scripted:
        return Scripted(self.language, self.size, spans or self._spans, self.draftable)

    def ask(self, question: str | Prompt, tail: DraftTree = EMPTY) -> Step:
        if self._was_asked or not isinstance(question, Prompt):
            raise RuntimeError("asked twice, or text")
        self._was_asked = True
        return self._pass("ask", question.question, tail)

    def extend(self, token: int, tree: DraftTree = EMPTY) -> Step:
        if not self._was_asked or self._tree:
            raise RuntimeError("not asked, or a tree waits")
        return self._pass("extend", (token,), tree)

    def keep(self, path: Sequence[int]) -> None:
        if self._tree is None:
            raise RuntimeError("nothing to keep of")
        above = ROOT
        for node in path:
            if self._tree.parents[node] != above:
                raise ValueError(f"{path} is no path")
            above = node
        self._tokens += tuple(self._tree.tokens[list(path)].tolist())
        self._tree = None

    def read(self, tokens: Sequence[int]) -> Step:
        raise NotImplementedError

    def rollback(self, count: int) -> None:
        raise NotImplementedError

    def answer_many(
        self,
        questions: Sequence[str | Prompt],
        max_new_tokens: int = 50,
        *,
        states: bool = False,
        top: int = 0,
    ) -> list[Answer]:
        raise NotImplementedError

    def read_many(
        self,
        questions: Sequence[str | Prompt],
        answers: Sequence[Sequence[int]],
        *,
        top: int = 0,
    ) -> list[States]:
        raise NotImplementedError

    def _pass(self, kind: str, tokens: Sequence[int], tree: DraftTree) -> Step:
        if not ((tree.tokens >= 0) & (tree.tokens < self.draftable)).all():
            raise ValueError(f"ids {tree.tokens} are never drafted")
        self._tree = None
        if self.room is not None and self.room < len(tokens) + len(tree):
            raise InputError(f"{len(tokens) + len(tree)} tokens", expected=f"{self.room}")
        self.calls.append((kind, len(tree)))
        self._tokens += tuple(tokens)
        self._tree = tree
        branches = [branch(tree, node) for node in range(ROOT, len(tree))]
        rows = [(*self._tokens, *tokens) for tokens in branches]
        logits = np.stack([self.language.logits(row) for row in rows])
        states = [[float(self.language.state(row))] for row in rows]
        return Step(torch.from_numpy(logits), torch.tensor(states, dtype=torch.float64))


def may_draft(tokens: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """[n] ids of the scripted target -> [n] whether each may be drafted."""
    return (tokens >= 0) & (tokens < DRAFTABLE)


def branch(tree: DraftTree, node: int) -> tuple[int, ...]:
    """Tokens from the root's child down to `node`."""
    return tuple(int(tree.tokens[i]) for i in tree.path(node))


# --- what plain decoding says ---------------------------------------------------------------


@dataclass(frozen=True)
class Ends:
    """Where an answer ends: `most` tokens, an end token, a string in its text, no room."""

    most: int
    eos: Collection[int] = ()
    strings: tuple[str, ...] = ()
    #: Tokens that an answer can have before nothing more can be read.
    room: int | None = None

    def stopping(self) -> StopAt:
        """The same for the loop, which learns of the room from its session."""
        return StopAt(frozenset(self.eos), self.most, self.strings, spell)


def spell(tokens: Sequence[int]) -> str:
    """What made-up tokens read as: a letter each."""
    return "".join(chr(ord("a") + token % 26) for token in tokens)


def plain(
    logits: Logits, ends: Ends, choose: Callable[[Floats, int], int]
) -> tuple[tuple[int, ...], str]:
    """An answer token by token, and why it ended.

    Args:
        choose: logits [vocab] and a place -> the token there.
    """
    answer: list[int] = []
    while True:
        answer.append(choose(logits(tuple(answer)), len(answer)))
        if answer[-1] in ends.eos:
            return tuple(answer), "eos"
        if any(string in spell(answer) for string in ends.strings):
            return tuple(answer), "stop"
        if len(answer) in (ends.most, ends.room):
            return tuple(answer), "length"


def largest(logits: Floats, _: int) -> int:
    """Greedy choice."""
    return int(logits.argmax())


@dataclass(frozen=True)
class Draws:
    """Sampled choices: by the seed and the place alone, from the warped distribution."""

    seed: int
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __call__(self, logits: Floats, place: int) -> int:
        chances = self.chances(logits)
        stream = np.random.Philox(key=self.seed, counter=[0, 0, 0, place])
        height = np.random.Generator(stream).random() * chances.sum()
        return int(np.flatnonzero(chances.cumsum() > height)[0])

    def chances(self, logits: Floats) -> Floats:
        """[vocab] the warped distribution, ties aside."""
        scores = logits / self.temperature
        if self.top_k:
            scores = np.where(scores < np.sort(scores)[-self.top_k :][0], -np.inf, scores)
        chances: Floats = np.exp(scores - scores.max())
        chances /= chances.sum()
        if self.top_p < 1:
            order = np.argsort(-chances)
            before = chances[order].cumsum() - chances[order]
            chances[order[before >= self.top_p]] = 0
            chances /= chances.sum()
        return chances


# --- drafters -------------------------------------------------------------------------------


class Made(Drafter):
    """Trees made up around an answer that it knows.

    Args:
        answer: what the target will say; behind its end it goes on with anything.
        seed: with the prefix decides the tree.
        skill: how often the right token is among the children of a node where all was right so
            far; 0 is never.
        spread: most other children of a node.
        words: what other children are taken from; may hold ids that must not be drafted.
        excess: how many times its budget it takes, in nodes and in depth.
    """

    name = "made"

    def __init__(
        self,
        answer: Sequence[int] = (),
        seed: int = 0,
        *,
        skill: float = 1.0,
        spread: int = 0,
        words: Sequence[int] = tuple(range(DRAFTABLE)),
        excess: int = 1,
    ) -> None:
        self.answer, self.seed, self.skill, self.spread = tuple(answer), seed, skill, spread
        self.words, self.excess = tuple(words), excess

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rng = random.Random(f"{self.seed} {list(prefix)}")
        tokens: list[int] = []
        parents: list[int] = []
        depth, right = {ROOT: 0}, {ROOT: True}
        open_ = [ROOT]
        while open_:
            here = open_.pop(rng.randrange(len(open_)))
            if depth[here] == self.excess * budget.depth:
                continue
            wanted = self._wanted(len(prefix) + depth[here]) if right[here] else None
            for token in self._children(rng, wanted, budget.branch * self.excess):
                if len(tokens) == self.excess * budget.nodes:
                    break
                node = len(tokens)
                tokens.append(token)
                parents.append(here)
                depth[node] = depth[here] + 1
                right[node] = right[here] and token == wanted
                open_.append(node)
        return DraftTree.from_parents(tokens, parents, source=self.name)

    def _wanted(self, place: int) -> int | None:
        return self.answer[place] if place < len(self.answer) else None

    def _children(self, rng: random.Random, wanted: int | None, branch: int) -> list[int]:
        children = []
        if wanted is not None and rng.random() < self.skill:
            children.append(wanted)
        # Behind the end of the answer something stands too.
        others = rng.randint(0, self.spread) if wanted is not None else max(1, self.spread)
        children += [w for w in rng.sample(self.words, min(others, len(self.words))) if w != wanted]
        children = children[:branch]
        rng.shuffle(children)
        return children


class Silent(Drafter):
    """Proposes nothing."""

    name = "silent"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return EMPTY


class Drawing(Drafter):
    """Draws its drafts, siblings without replacement, and says what from.

    Args:
        chances: answer so far -> [vocab] what it draws the next token from.
        seed: each begun answer draws anew.
        claims: what it says it drew from; the truth by default.
    """

    name = "drawing"

    def __init__(
        self,
        chances: Callable[[Sequence[int]], Floats],
        seed: int = 0,
        claims: Callable[[Floats], Floats] = lambda row: row,
    ) -> None:
        self.chances, self.seed, self.claims = chances, seed, claims
        self.begun = 0

    def begin(self, context: Context) -> None:
        self.begun += 1

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rng = np.random.default_rng([self.seed, self.begun, len(prefix)])
        tokens: list[int] = []
        parents: list[int] = []
        rows: list[Floats] = []
        level = [(ROOT, tuple(prefix))]
        for _ in range(budget.depth):
            below = []
            for parent, said in level:
                row = self.chances(said)
                for _ in range(min(budget.branch, budget.nodes - len(tokens), 2)):
                    token = int(rng.choice(len(row), p=row))
                    below.append((len(tokens), (*said, token)))
                    tokens.append(token)
                    parents.append(parent)
                    rows.append(self.claims(row))
                    row = np.where(np.arange(len(row)) == token, 0.0, row)
                    row = row / row.sum()
            level = below
        tree = DraftTree.from_parents(tokens, parents, source=self.name)
        return replace(tree, q_rows=np.array(rows)) if tokens else tree


class Noting(Drafter):
    """Passes everything on, and takes it down.

    Attributes:
        told: what it was called with, in order; arguments as they were then.
        trees: what it proposed.
    """

    def __init__(self, inner: Drafter, needs: Collection[str] | None = None) -> None:
        self.inner, self.name = inner, inner.name
        self.needs = inner.needs if needs is None else frozenset(needs)
        self.told: list[tuple[Any, ...]] = []
        self.trees: list[DraftTree] = []

    def begin(self, context: Context) -> None:
        self.told.append(("begin", context))
        self.inner.begin(context)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        self.told.append(("propose", tuple(prefix), budget))
        self.trees.append(self.inner.propose(prefix, budget))
        return self.trees[-1]

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        self.told.append(("observe", verification, rows))
        self.inner.observe(verification, rows)

    def finish(self, answer: Sequence[int]) -> None:
        self.told.append(("finish", tuple(answer)))
        self.inner.finish(answer)

    def calls(self, kind: str) -> list[tuple[Any, ...]]:
        """Arguments of every call of one kind."""
        return [call[1:] for call in self.told if call[0] == kind]


# --- the loop -------------------------------------------------------------------------------


def answer(
    session: Session,
    drafter: Drafter,
    stopping: StopAt,
    width: Width | Budget,
    *,
    prompt: Prompt = PROMPT,
    rule: Rule = GREEDY,
    words: Sequence[int] = (),
    allowed: Callable[[NDArray[np.integer[Any]]], NDArray[np.bool_]] = may_draft,
    on_tokens: OnTokens = ignore,
) -> Generation:
    """Decode with a drafter.

    Args:
        words: what the event model has said, all of it.
    """
    stream = AnswerStream()
    stream.append(words)
    stream.close()
    drafting = Drafting(drafter, Fixed(width) if isinstance(width, Budget) else width, allowed)
    context = Context(QUESTION, stream)
    return decode(session, prompt, context, drafting, stopping, rule, on_tokens)


def scores(logits: Floats) -> Tensor:
    """[vocab] as a step gives it: [1, vocab]."""
    return torch.from_numpy(logits)[None]
