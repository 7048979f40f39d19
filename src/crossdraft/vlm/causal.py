"""The session on any transformers causal decoder.

A session is a cache and the ids in it. Each pass writes its rows behind the committed ones; `keep`
moves the accepted rows together and forgets the others, so the cache never holds more than the
accepted tokens and one tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from crossdraft.base.clock import Spans
from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.vlm.attention import Block
from crossdraft.vlm.batch import answer_greedily
from crossdraft.vlm.cache import SessionCache
from crossdraft.vlm.picture import Picture, synchronise
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.session import Answer, Session, Step

if TYPE_CHECKING:
    from crossdraft.vlm.target import Target

_NONE = DraftTree.empty()


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
        self._tokens = list(picture.prefix)
        #: Length of the prompt once a question is asked; what lies behind it can be rolled back.
        self._asked: int | None = None
        #: The tree of the last pass, while it waits for `keep`.
        self._tree: DraftTree | None = None

    @property
    def spans(self) -> Spans:
        """See `Session.spans`."""
        return self._spans

    @property
    def tokens(self) -> tuple[int, ...]:
        """See `Session.tokens`."""
        return tuple(self._tokens)

    @property
    def room(self) -> int | None:
        """See `Session.room`."""
        longest = self._target.decoder.max_positions
        limits = (self._cache.room, None if longest is None else longest - self._cache.length)
        return min((limit for limit in limits if limit is not None), default=None)

    @property
    def cache_length(self) -> int:
        """Rows in use: committed tokens, and the nodes of a tree that waits for `keep`."""
        return self._cache.length

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys and values that belong to this session, beside the picture's."""
        return self._cache.nbytes

    def fork(self) -> CausalSession:
        """See `Session.fork`. Copies nothing: a fork takes memory when it is asked."""
        return CausalSession(self._target, self._picture, self._scene, self._spans)

    def ask(self, question: str | Prompt, tail: DraftTree = _NONE) -> Step:
        """See `Session.ask`."""
        if self._asked is not None:
            raise RuntimeError("a question was asked here before; ask it of a fork")
        prompt = self._target.follow(question, self._scene, self._picture)
        step = self._pass(prompt.question, tail, "prefill")
        self._asked = len(self._tokens)
        return step

    def extend(self, token: int, tree: DraftTree = _NONE) -> Step:
        """See `Session.extend`."""
        if self._asked is None:
            raise RuntimeError("no question was asked yet")
        if self._tree:
            raise RuntimeError("the last tree waits for keep")
        if not 0 <= token < self._target.decoder.vocabulary:
            raise ValueError(f"token {token} of {self._target.decoder.vocabulary} ids")
        return self._pass((token,), tree, "decode")

    def keep(self, path: Sequence[int]) -> None:
        """See `Session.keep`."""
        if self._tree is None:
            raise RuntimeError("there is no pass to keep of")
        parents, above = self._tree.parents, ROOT
        for node in path:
            if not 0 <= node < len(parents) or parents[node] != above:
                raise ValueError(f"{list(path)} is no path of the last tree from its root down")
            above = node
        start = len(self._tokens)
        with torch.no_grad():
            self._cache.keep(start, [start + node for node in path])
        self._tokens += self._tree.tokens[list(path)].tolist()
        self._tree = None

    def rollback(self, count: int) -> None:
        """See `Session.rollback`."""
        if self._asked is None:
            raise RuntimeError("no question was asked yet")
        committed = len(self._tokens) - self._asked
        if not 0 <= count <= committed:
            raise ValueError(f"{count} tokens to forget; {committed} since the question")
        del self._tokens[len(self._tokens) - count :]
        self._tree = None
        self._cache.truncate(len(self._tokens))

    def answer_many(
        self,
        questions: Sequence[str | Prompt],
        max_new_tokens: int = 50,
        *,
        states: bool = False,
    ) -> list[Answer]:
        """See `Session.answer_many`."""
        prompts = [self._target.follow(one, self._scene, self._picture) for one in questions]
        return answer_greedily(
            self._target, self._picture, prompts, max_new_tokens, states, self._spans
        )

    def _pass(self, tokens: Sequence[int], tree: DraftTree, stage: str) -> Step:
        """Run tokens and a tree behind what is committed; commit the tokens."""
        if not (allowed := self._target.may_draft(tree.tokens)).all():
            never = tree.tokens[~allowed].tolist()
            raise ValueError(f"ids {never} are never drafted; prune them with tree.pruned")
        # What an interrupted pass may have left does not count.
        self._cache.truncate(len(self._tokens))
        block = Block.of(tokens, tree)
        with self._stage(stage), torch.no_grad():
            rows = self._target.run(block, self._picture, self._cache, last=1 + len(tree))
            logits = self._target.decoder.logits(rows.hidden)
        self._tokens += tokens
        self._tree = tree
        return Step(logits, rows.hidden, rows.layers)

    @contextmanager
    def _stage(self, name: str) -> Iterator[None]:
        device = self._target.decoder.device
        with self._spans.measure(name, str(device)):
            yield
            synchronise(device)
