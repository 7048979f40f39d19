"""What tests of live states share: a drafter that turns any states into tokens, recorded pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding.models import prompt_of
from crossdraft.drafters.base import (
    DRAFT_STATES,
    FORCED_STATES,
    HEAD,
    TARGET_STATES,
    Budget,
    Context,
    Drafter,
    Rows,
)
from crossdraft.pairs.record import Head, Pair
from crossdraft.pairs.store.rows import Top
from crossdraft.vlm.live_head import head_of
from crossdraft.vlm.target import Target
from tests.bench.tiny_pair import QUESTION


class Reader(Drafter):
    """Drafts what the head says about whatever states it needs, wrong as that may be.

    Attributes:
        own: states of the event model's own answer, as it last saw them.
        followed: by the words that were read, states over them.
        rows: of the target, of the last answer.
    """

    name = "reader"

    def __init__(self, *needs: str) -> None:
        self.needs = frozenset({HEAD, *needs})
        self.own: Tensor | None = None
        self.followed: dict[tuple[int, ...], Tensor | None] = {}
        self.rows: list[Tensor] = []

    def begin(self, context: Context) -> None:
        self._context, self.rows, self.own, self.followed = context, [], None, {}

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        assert (rows is not None) == (TARGET_STATES in self.needs)
        if rows is not None:
            self.rows.append(rows.hidden)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        states = self._states(tuple(prefix))
        head = self._context.head
        if states is None or head is None or not states.numel():
            return DraftTree.empty()
        known = pad(states.double(), (0, max(0, head.hidden - states.shape[1])))[:, : head.hidden]
        best = head.logits(known)[:, : head.draftable].topk(min(2, budget.branch)).indices.tolist()
        tokens: list[int] = []
        parents: list[int] = []
        above = -1
        for row in best[: budget.depth]:
            here = len(tokens)
            fit = row[: max(0, budget.nodes - here)]
            tokens += fit
            parents += [above] * len(fit)
            above = here
        return DraftTree.from_parents(tokens, parents, source=self.name)

    def _states(self, prefix: tuple[int, ...]) -> Tensor | None:
        if DRAFT_STATES in self.needs:
            self.own = self._context.stream.snapshot().states
        if FORCED_STATES in self.needs and prefix and self._context.follower is not None:
            # A wrong draft behind it, which has to be forgotten again.
            self._context.follower.follow((*prefix, 3, 4))
            self.followed[prefix] = self._context.follower.follow(prefix)
            return None if self.followed[prefix] is None else self.followed[prefix][-1:]  # type: ignore[index]
        if TARGET_STATES in self.needs and self.rows:
            return self.rows[-1][-1:]
        return None if self.own is None else self.own[len(prefix) :]


@dataclass(frozen=True, eq=False)
class Recorded:
    """Thoughts as extraction would store them."""

    own: Tensor
    forced: Tensor
    target: Tensor
    head: Head
    question_ids: tuple[int, ...] = ()
    kinds = frozenset({"own", "forced", "target"})

    def states(self, kind: str) -> Tensor:
        found: Tensor = getattr(self, kind)
        return found

    def top(self) -> Top:
        raise NotImplementedError


def recorded(target: Target, event: Target, scene: Any, most: int) -> Pair:
    """Both models' answers and states, by the calls that extraction makes."""
    said = target.open(scene).answer_many([QUESTION], most, states=True)[0]
    session = event.open(scene)
    own = session.answer_many([QUESTION], most, states=True)[0]
    forced = session.read_many([QUESTION], [said.tokens])[0]
    assert said.hidden is not None and own.hidden is not None
    thoughts = Recorded(
        own.hidden.float(),
        forced.hidden.float(),
        said.hidden.float(),
        head_of(target),
        prompt_of(target, scene, QUESTION).question,
    )
    return Pair("clip", 0, QUESTION, 0, own.tokens, said.tokens, thoughts=thoughts)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference."""
    return float((found.double() - wanted.double()).abs().max())


def cat(rows: Sequence[Tensor]) -> Tensor:
    """All rows."""
    return torch.cat(list(rows))
