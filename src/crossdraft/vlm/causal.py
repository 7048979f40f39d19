"""The session on any transformers causal decoder.

A session is a cache and the ids in it. Each pass writes its rows behind the committed ones; `keep`
moves the accepted rows together and forgets the others, so the cache never holds more than the
accepted tokens and one tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from operator import index
from typing import TYPE_CHECKING, Any

import torch

from crossdraft.base.clock import Spans
from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.vlm.attention import Block
from crossdraft.vlm.batch import Asked, answer_greedily, read_answers
from crossdraft.vlm.cache import SessionCache
from crossdraft.vlm.picture import Picture
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer, Session, States, Step

if TYPE_CHECKING:
    from crossdraft.vlm.target import Target

_NONE = DraftTree.empty()


@dataclass(frozen=True)
class _State:
    """Where a session stands. Replaced as a whole, so that an interrupt finds one or the next.

    Attributes:
        tokens: committed ids behind the picture.
        prompt: how many of them are the question's; None until it is asked.
        tree: of the last pass, while it waits for `keep`.
    """

    tokens: tuple[int, ...] = ()
    prompt: int | None = None
    tree: DraftTree | None = None


class CausalSession(Session):
    """See `Session`. Made by `Target.open`.

    Args:
        target: the model.
        picture: what it has read of the scene.
        scene: handed to the prompt builder with every question; None where prompts come whole.
    """

    def __init__(self, target: Target, picture: Picture, scene: Any, spans: Spans) -> None:
        self._target, self._picture, self._scene, self._spans = target, picture, scene, spans
        self._cache: SessionCache = picture.cache.fork()
        self._state = _State()

    @property
    def spans(self) -> Spans:
        """See `Session.spans`."""
        return self._spans

    @property
    def tokens(self) -> tuple[int, ...]:
        """See `Session.tokens`."""
        return self._picture.prefix + self._state.tokens

    @property
    def room(self) -> int | None:
        """See `Session.room`."""
        prefix = len(self._picture.prefix)
        longest = self._target.decoder.longest(prefix)
        limits = (self._cache.capacity, longest)
        left = [limit - self.cache_length for limit in limits if limit is not None]
        return min(left, default=None)

    @property
    def cache_length(self) -> int:
        """Rows in use: committed tokens, and the nodes of a tree that waits for `keep`."""
        return self._committed + len(self._state.tree or ())

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values that belong to this session, beside the picture's."""
        return self._cache.nbytes

    @property
    def _committed(self) -> int:
        return len(self._picture.prefix) + len(self._state.tokens)

    def fork(self, spans: Spans | None = None) -> CausalSession:
        """See `Session.fork`. Copies nothing: a fork takes memory when it is asked."""
        return CausalSession(self._target, self._picture, self._scene, spans or self._spans)

    def ask(self, question: str | Prompt, tail: DraftTree = _NONE) -> Step:
        """See `Session.ask`."""
        if self._state.prompt is not None:
            raise RuntimeError("a question was asked here before; ask it of a fork")
        prompt = self._target.follow(question, self._scene, self._picture)
        return self._pass(prompt.question, tail, "prefill", len(prompt.question), 1)

    def extend(self, token: int, tree: DraftTree = _NONE) -> Step:
        """See `Session.extend`."""
        prompt = self._asked()
        stage = "verify" if len(tree) else "decode"
        return self._pass(self._known([token]), tree, stage, prompt, 1)

    def read(self, tokens: Sequence[int]) -> Step:
        """See `Session.read`."""
        prompt = self._asked()
        if not len(tokens):
            raise ValueError("no tokens to read")
        return self._pass(self._known(tokens), _NONE, "decode", prompt, len(tokens))

    def keep(self, path: Sequence[int]) -> None:
        """See `Session.keep`."""
        tree, path = self._state.tree, [index(node) for node in path]
        if tree is None:
            raise RuntimeError("there is no pass to keep of")
        above = ROOT
        for node in path:
            if not 0 <= node < len(tree) or tree.parents[node] != above:
                raise ValueError(f"{path} is no path of the last tree from its root down")
            above = node
        start = self._committed
        # Rows that an interrupt finds half moved are no tree any more.
        self._state = replace(self._state, tree=None)
        with torch.no_grad():
            self._cache.keep(start, [start + node for node in path])
        kept = (*self._state.tokens, *tree.tokens[path].tolist())
        self._state = replace(self._state, tokens=kept)

    def rollback(self, count: int) -> None:
        """See `Session.rollback`."""
        if self._state.prompt is None:
            raise RuntimeError("no question was asked yet")
        said = len(self._state.tokens)
        if not 0 <= index(count) <= said - self._state.prompt:
            raise ValueError(
                f"{count} tokens to forget; {said - self._state.prompt} since the question"
            )
        left = self._state.tokens[: said - count]
        self._state = replace(self._state, tokens=left, tree=None)
        self._cache.truncate(self._committed)

    def answer_many(
        self,
        questions: Sequence[str | Prompt],
        max_new_tokens: int = 50,
        *,
        states: bool = False,
        top: int = 0,
    ) -> list[Answer]:
        """See `Session.answer_many`."""
        asked = [self._asks(questions)]
        return answer_greedily(self._target, asked, max_new_tokens, states, top)

    def read_many(
        self,
        questions: Sequence[str | Prompt],
        answers: Sequence[Sequence[int]],
        *,
        top: int = 0,
    ) -> list[States]:
        """See `Session.read_many`."""
        if len(questions) != len(answers):
            raise ValueError(f"{len(answers)} answers to {len(questions)} questions")
        read = [self._known(answer) for answer in answers]
        return read_answers(self._target, self._asks(questions), read, top)

    def _asks(self, questions: Sequence[str | Prompt]) -> Asked:
        prompts = [self._target.follow(one, self._scene, self._picture) for one in questions]
        return Asked(self._picture, prompts, self._spans)

    def _asked(self) -> int:
        """Length of the prompt behind the picture, where a token may follow now."""
        if self._state.prompt is None:
            raise RuntimeError("no question was asked yet")
        if self._state.tree:
            raise RuntimeError("the last tree waits for keep")
        return self._state.prompt

    def _known(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The ids, all of which can be embedded."""
        ids = tuple(index(token) for token in tokens)
        for token in ids:
            if not 0 <= token < self._target.decoder.vocabulary:
                raise ValueError(f"token {token} of {self._target.decoder.vocabulary} ids")
        return ids

    def _pass(
        self, tokens: Sequence[int], tree: DraftTree, stage: str, prompt: int, rows: int
    ) -> Step:
        """Run tokens and a tree behind what is committed; commit the tokens.

        Args:
            rows: of the tokens that are wanted, the last ones.
        """
        if not (allowed := self._target.may_draft(tree.tokens)).all():
            never = tree.tokens[~allowed].tolist()
            raise ValueError(f"ids {never} are never drafted; prune them with tree.pruned")
        # What an interrupted pass may have left does not count.
        self._cache.truncate(self._committed)
        block = Block.of(tokens, tree)
        with self._stage(stage), torch.no_grad():
            found = self._target.run(block, self._picture, self._cache, last=rows + len(tree))
            logits = self._target.decoder.logits(found.hidden)
        self._state = _State((*self._state.tokens, *tokens), prompt, tree)
        return Step(logits, found.hidden, found.layers)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        decoder = self._target.decoder
        with self._spans.measure(name, str(decoder.device)):
            yield
            decoder.synchronise()


def answer_scenes(
    sessions: Sequence[CausalSession],
    questions: Sequence[Sequence[str | Prompt]],
    max_new_tokens: int = 50,
    *,
    states: bool = False,
    top: int = 0,
) -> list[list[Answer]]:
    """`Session.answer_many` for several scenes of one target at once, as one batch.

    A small model's step takes hardly longer for four scenes than for one. Each lane of the batch
    holds a picture; the sum of their keys and values must fit into memory a second time.

    Args:
        sessions: one for each scene; the stages stand whole in the spans of each.
        questions: those of each scene.

    Raises:
        InputError: as `answer_many`.
        ValueError: sessions of several targets, or more or fewer lists than sessions.
    """
    targets = {id(session._target): session._target for session in sessions}
    if len(targets) > 1 or len(sessions) != len(questions):
        raise ValueError(
            f"{len(sessions)} sessions of {len(targets)} targets, questions for {len(questions)}"
        )
    asked = [session._asks(its) for session, its in zip(sessions, questions, strict=True)]
    found: list[Answer] = []
    for target in targets.values():
        found = answer_greedily(target, asked, max_new_tokens, states, top)
    rest = iter(found)
    return [[next(rest) for _ in one.prompts] for one in asked]
