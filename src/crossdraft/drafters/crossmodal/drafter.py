"""How `crossmodal` drafts: before the target has run off the question and what has arrived, then on
behind every pass with the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from crossdraft.base.clock import now_ms
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.drafters.base import Budget, Context, Rows, Snapshot
from crossdraft.drafters.crossmodal.config import CrossmodalConfig
from crossdraft.drafters.crossmodal.engine import Engine, TorchEngine
from crossdraft.drafters.crossmodal.learning import LearningCrossmodal
from crossdraft.drafters.crossmodal.network import NO_TOKEN
from crossdraft.drafters.level_tree import Grown

#: What a row of the answer was made of: its token, and whether its state was known.
_MadeOf = tuple[int, bool]


class Pace:
    """What going through a drafted node takes of late."""

    #: What one more proposal leaves of the weight of those before it.
    DECAY = 0.95

    def __init__(self) -> None:
        self._nodes = self._ms = 0.0

    def saw(self, nodes: int, took_ms: float) -> None:
        """Learn of a proposal."""
        self._nodes = self.DECAY * self._nodes + nodes
        self._ms = self.DECAY * self._ms + took_ms

    def least(self, budget: Budget) -> float:
        """Probability of a path from which on it pays to go through its last node: a draft behind
        it saves a token's time, and has to be verified."""
        if not budget.token_ms:
            return 0.0
        own_ms = self._ms / self._nodes if self._nodes else 0.0
        return (own_ms + budget.node_ms) / budget.token_ms


class CrossmodalDrafter(LearningCrossmodal):
    """Drafts with a `Crossmodal`."""

    #: Whether to use compiled kernels where they can be used.
    compiled = True
    stops = True

    def __init__(self, config: CrossmodalConfig | None = None) -> None:
        super().__init__(config)
        self._pace = Pace()
        self._took = (0, 0.0)

    def begin(self, context: Context) -> None:
        self._context = context
        self._states: list[Tensor] = []
        # Until rows are missing: behind them nobody knows whose state is whose.
        self._sees = True
        # Rows that the engine has gone through, and words that the last of them saw.
        self._rows: tuple[_MadeOf, ...] | None = None
        self._remembered = self._seen = 0
        self._took = (0, 0.0)
        # Trained, and given what tokens are read off with.
        self._reads_head = self._hidden > 0 and context.head is not None
        if context.head is not None and self._reads_head:
            self.refuse_width("target's", context.head.hidden, self._hidden)
            self._engine = self._engine_here(context)
            self._engine.begin(self._shown_question(context.question_ids))

    def observe(self, verification: Verification, rows: Rows | None = None) -> None:
        """Take over the true states of what was accepted: rows with predicted ones are never kept.

        Without rows the answer goes on in tokens alone.
        """
        self._pace.saw(*self._took)
        self._took = (0, 0.0)
        if rows is None:
            self._sees = False
        elif self._sees and self._reads_head:
            self._states += rows.hidden.detach().to(self.device, torch.float32).unbind()

    @torch.inference_mode()
    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        depth = min(budget.depth, self.max_length - len(prefix))
        if not self._reads_head or min(depth, budget.nodes, budget.branch) < 1:
            return DraftTree.empty()
        self._remember(self._context.stream.snapshot())
        self._go_through(tuple(prefix))
        began_ms, least = now_ms(), self._pace.least(budget)
        tree = _worth(self._engine.grow(replace(budget, depth=depth), least), least)
        self._took = tree.run, now_ms() - began_ms
        return DraftTree.from_parents(tree.rows.tolist(), tree.parents, tree.logq, self.name)

    def _engine_here(self, context: Context) -> Engine:
        """Who goes through rows; the same for all answers of the same network and head."""
        ends = self._ends_here(context.head)
        made_for = (self.network, ends, self.compiled)
        if getattr(self, "_made_for", None) != made_for:
            self._made_for = made_for
            self._kept_engine = self._new_engine()
        return self._kept_engine

    def _new_engine(self) -> Engine:
        network, ends, compiled = self._made_for
        if compiled:
            from crossdraft.drafters.crossmodal.compiled import CompiledEngine, fits

            if fits(network, ends):
                return CompiledEngine(network, ends)
        return TorchEngine(network, ends)

    def _remember(self, snapshot: Snapshot) -> None:
        """What has arrived of the event model's answer since it was last looked at."""
        states = snapshot.states
        if self.config.memory == "none" or states is None or not len(states):
            return
        self.refuse_width("event model's", states.shape[1], self._draft_hidden)
        count = min(len(states), self.max_length)
        if count > self._remembered:
            fresh = slice(self._remembered, count)
            # Of models with other tokenizers there is not one word to each state.
            paired = len(snapshot.tokens) == len(states)
            words = snapshot.tokens[fresh] if paired else (NO_TOKEN,) * (count - fresh.start)
            self._engine.remember(states[fresh], words)
            self._remembered = count

    def _go_through(self, prefix: tuple[int, ...]) -> None:
        """Have the engine go through the prefix; rows that nothing has changed stay."""
        rows = tuple((token, t < len(self._states)) for t, token in enumerate(prefix))
        kept = -1
        if self._rows is not None:
            kept = _common(self._rows, rows)
            if kept == len(rows):
                if self._rows == rows and self._seen == self._remembered:
                    return
                kept -= 1  # the last row is asked again: with the words that have come since
        first = max(0, kept)
        self._engine.extend(kept, prefix[first:], self._states[first : len(prefix)])
        self._rows, self._seen = rows, self._remembered


def _worth(tree: Grown, least: float) -> Grown:
    """Without nodes that are half as likely as those that it pays to go through: whoever verifies
    would cut them."""
    if not least:
        return tree
    kept = sum(value >= math.log(least / 2) for value in tree.logq)
    return Grown(tree.rows[:kept], tree.parents[:kept], tree.logq[:kept], tree.run)


def _common(one: Sequence[_MadeOf], other: Sequence[_MadeOf]) -> int:
    """Rows that both begin with."""
    same = 0
    for ours, theirs in zip(one, other, strict=False):
        if ours != theirs:
            break
        same += 1
    return same
