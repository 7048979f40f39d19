"""How a level of the ladder drafts, and what it would have drafted everywhere in a batch.

Row t of a network's input is what is known at token t; its output stands for the target's state
t + shift. While nothing is accepted the event model's states over its own answer stand in the rows,
as far as they have arrived (window); behind that its states over the target's answer (following),
each at the price of a forward of the event model.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.base.tree import DraftTree, Verification
from crossdraft.drafters.base import Budget, Context, Rows
from crossdraft.drafters.best_first import best_first_tree
from crossdraft.drafters.ladder.inputs import Inputs
from crossdraft.drafters.ladder.kept_rows import KeptRows, seen_by
from crossdraft.drafters.ladder.learning import LearningLevel
from crossdraft.drafters.states import Alignment
from crossdraft.drafters.trainable import NO_PROPOSAL, TokenBatch

#: Ranked tokens and their log probabilities, best first.
Ranked = list[tuple[int, float]]


class LadderDrafter(LearningLevel):
    """A level of the ladder."""

    def __init__(self, config: Any | None = None) -> None:
        super().__init__(config)
        self._context: Context | None = None
        self._kept: KeptRows | None = None

    def rollouts(self, batch: TokenBatch, gamma: int) -> Tensor:
        count, length = batch.target.shape
        chains = torch.full((count, length, gamma), NO_PROPOSAL, device=batch.target.device)
        following: Alignment = "forced" if self.follows else "own"
        self._lay(chains, self._best(batch, following))
        # Before the first token there is only what the event model says itself, in place.
        chains[:, :1] = NO_PROPOSAL
        if self.shift == 0:
            window = self._best(batch, "own")[:, None, :gamma]
            chains[:, :1, : window.shape[-1]] = window
        return chains

    def _best(self, batch: TokenBatch, alignment: Alignment) -> Tensor:
        """[batch, n] the token that each output proposes; `NO_PROPOSAL` where it has no input."""
        said = self.predicted(batch, alignment)
        best = self._logits(said, batch.head).argmax(-1)
        lengths = batch.target_lengths
        if self.reads_event and alignment == "own":
            lengths = batch.draft_lengths
        here = torch.arange(best.shape[1], device=best.device) < lengths[:, None]
        return torch.where(here, best, NO_PROPOSAL)

    def _lay(self, chains: Tensor, best: Tensor) -> None:
        """Chains behind every start p: output p + d - shift proposes p + d."""
        _, length, gamma = chains.shape
        wanted = length + gamma
        padded = functional.pad(
            best[:, :wanted], (0, max(0, wanted - best.shape[1])), value=NO_PROPOSAL
        )
        begun = functional.pad(padded, (self.shift, 0), value=NO_PROPOSAL)
        chains.copy_(begun.unfold(1, gamma, 1)[:, :length])

    def begin(self, context: Context) -> None:
        if self._made and context.head is not None:
            self.refuse_width("target's", context.head.hidden, self.widths.hidden)
        self._context = context
        self._kept = KeptRows(self.network) if self._made else None

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        return None

    @torch.no_grad()
    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        if self._context is None or self._kept is None:
            return DraftTree.empty()
        levels: list[Ranked] = []
        best: tuple[int, ...] = ()
        free = self._same_for_all_paths(prefix)

        def expand(path: tuple[int, ...]) -> Ranked:
            nonlocal best
            # Elsewhere only the best of each level is followed: it costs the event model a forward.
            if not free and path != best[: len(path)]:
                return []
            if len(path) == len(levels):
                levels.append(self._ranked(prefix, best, budget.branch))
                best = (*best, *(token for token, _ in levels[-1][:1]))
            return levels[len(path)]

        return best_first_tree(expand, budget, self.name)

    def _same_for_all_paths(self, prefix: Sequence[int]) -> bool:
        """Whether candidates depend on how many drafts stand before them, not on which."""
        return not self.reads_event or not self._following(prefix)

    def _ranked(self, prefix: Sequence[int], path: tuple[int, ...], count: int) -> Ranked:
        """Candidates of the token behind prefix and path."""
        row = len(prefix) + len(path) - self.shift
        if row < 0 or (self.shift and not prefix) or row >= self.max_length:
            return []
        assert self._kept is not None and self._context is not None
        if not self._extend(self._kept, row, prefix, path):
            return []
        asked = self._kept.said(row)
        return ranked(self._logits(asked, self._context.head)[0], count)

    def _extend(
        self, kept: KeptRows, row: int, prefix: Sequence[int], path: tuple[int, ...]
    ) -> bool:
        """Have the network go through the rows up to `row` that it has not; whether they are there.

        States of the event model's own answer are there at once, so all of them go through.
        """
        following = self._following(prefix)
        event = self._event(row, prefix, path) if self.reads_event else None
        if self.reads_event and (event is None or len(event) <= row):
            return False
        end = row + 1
        if event is not None and not following and not self.reads_target and not self._reads_tokens:
            end = min(len(event), self.max_length)
        made_of = self._made_of(end, prefix, path)
        first = kept.keep(made_of)
        if first >= end:
            return True
        inputs = self._rows(first, end, event, prefix, path)
        if inputs is None:
            return False
        everywhere = self.sees_later and not following
        mask = None if everywhere else seen_by(first, end, self.device)
        kept.add(made_of[first:], self._run(replace(
            inputs, mask=mask, before=kept.before,
            places=torch.arange(first, end, device=self.device),
        )))  # fmt: skip
        return True

    #: Whether rows hold the target's tokens.
    _reads_tokens = False

    def _made_of(self, end: int, prefix: Sequence[int], path: tuple[int, ...]) -> list[Hashable]:
        """What each of the rows before `end` adds to what it is made of."""
        if self._following(prefix) and self.reads_event:
            answer = (*prefix, *path)
            return [None, *answer[: end - 1]]
        # An own state stays; where all see all, one more changes every row.
        return [("own", end if self.sees_later else 0)] * end

    def _rows(
        self, first: int, end: int, event: Tensor | None, prefix: Sequence[int],
        path: tuple[int, ...],
    ) -> Inputs | None:  # fmt: skip
        """The rows from `first` to before `end`; None where something in them is not there."""
        return Inputs(self._shown(event, first, end))

    def _shown(self, event: Tensor | None, first: int, end: int) -> Tensor | None:
        """[1, end - first, draft_hidden] of all states of the event model."""
        if event is None:
            return None
        self.refuse_width("event model's", event.shape[-1], self.widths.draft_hidden)
        return event[first:end][None].to(self.device)

    def _following(self, prefix: Sequence[int]) -> bool:
        """Whether the event model reads the target's words; else its own are what there is."""
        assert self._context is not None
        # The follower may be there for another drafter of the same answer.
        return bool(prefix) and self.follows and self._context.follower is not None

    def _event(self, row: int, prefix: Sequence[int], path: tuple[int, ...]) -> Tensor | None:
        """[n, draft_hidden] states of the event model, up to `row` where it follows."""
        assert self._context is not None
        if self._following(prefix):
            assert self._context.follower is not None
            return self._context.follower.follow((*prefix, *path)[:row])
        return self._context.stream.snapshot().states


class AlignedDrafter(LadderDrafter):
    """L1 to L4: output t stands for the target's state t."""

    shift = 0


def ranked(logits: Tensor, count: int) -> Ranked:
    """The first candidates of one row of logits."""
    best = logits.float().log_softmax(-1).topk(min(max(1, count), logits.shape[-1]))
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
