"""What goes through the rows of one answer: with torch, on any device.

`compiled.py` does the same on a CPU in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.drafters.base import Budget
from crossdraft.drafters.crossmodal.ends import Ends
from crossdraft.drafters.crossmodal.network import Crossmodal
from crossdraft.drafters.level_tree import Grown, Level, grown
from crossdraft.drafters.translator_network import Decoded, KeyValue


class Engine(Protocol):
    """Rows of one answer after another: question, answer, drafts."""

    def begin(self, question: Sequence[int]) -> None:
        """A new answer; nothing is remembered and nothing gone through.

        Args:
            question: ids, one or more; `NO_TOKEN` where none is known.
        """
        ...

    def remember(self, states: Tensor, tokens: Sequence[int]) -> None:
        """More of the event model's answer has arrived.

        Args:
            states: [n, draft_hidden] float32.
            tokens: n ids; `NO_TOKEN` where none is known.
        """
        ...

    def extend(self, first: int, tokens: Sequence[int], states: Sequence[Tensor]) -> None:
        """Go through rows of the answer, those before `first` being as they are.

        Args:
            first: place in the answer; -1: the question has not been gone through, or not with
                what is remembered now.
            tokens: of the answer from there on.
            states: [hidden] of the first of them, as far as they are known.
        """
        ...

    def grow(self, budget: Budget, least: float) -> Grown:
        """The likeliest tree behind the last row; `rows` are ids.

        Args:
            least: as of `grown`.
        """
        ...


class TorchEngine:
    """An `Engine` on any device.

    Args:
        ends: what the target reads and says.
    """

    def __init__(self, network: Crossmodal, ends: Ends) -> None:
        self._network, self._ends = network, ends

    def begin(self, question: Sequence[int]) -> None:
        self._question = tuple(question)
        self._memory = self._network.remember(None)
        self._decoded: Decoded | None = None
        self._said: Tensor
        self._place = 0

    def remember(self, states: Tensor, tokens: Sequence[int]) -> None:
        first = self._memory[0][0].shape[2] - 1
        embedded = self._ends.embedded(self._ids(tokens))
        here = states.to(embedded.device, embedded.dtype)[None]
        pieces = self._network.remember(here, embedded, first=first, null=False)
        self._memory = tuple(map(_joined, self._memory, pieces))

    def extend(self, first: int, tokens: Sequence[int], states: Sequence[Tensor]) -> None:
        rows: list[Tensor] = []
        past = None
        if first < 0 or self._decoded is None:
            rows.append(self._network.question_rows(self._ends.embedded(self._ids(self._question))))
            first = 0
        else:
            past = self._decoded.first(len(self._question) + first)
        rows += self._answer_rows(first, tokens, states)
        stream = torch.cat(rows, dim=1)
        count, before = stream.shape[1], 0 if past is None else past.length
        mask = None
        if count > 1:
            mask = torch.ones(count, before + count, dtype=torch.bool, device=stream.device)
            mask = mask.tril(diagonal=before)
        said, self._decoded = self._network.extend(stream, past, self._memory, mask)
        self._said, self._place = said[0, -1], first + len(tokens)

    def _answer_rows(
        self, first: int, tokens: Sequence[int], states: Sequence[Tensor]
    ) -> list[Tensor]:
        if not tokens:
            return []
        network, known = self._network, len(states)
        embedded = self._ends.embedded(self._ids(tokens))
        places = torch.arange(first, first + len(tokens), device=embedded.device)
        rows = []
        if known:
            true = torch.stack(list(states)).to(embedded.device, embedded.dtype)[None]
            rows.append(network.answer_rows(true, embedded[:, :known], places[:known]))
        if known < len(tokens):
            rows.append(network.hidden_rows(embedded[:, known:], places[known:]))
        return rows

    def grow(self, budget: Budget, least: float) -> Grown:
        """Drafted rows read predicted states, and each sees its own ancestors' rows."""
        assert self._decoded is not None
        network, ends, past, said = self._network, self._ends, self._decoded, self._said[None]
        known = past.length

        def run(level: Level) -> Tensor:
            nonlocal past, said
            tokens = ends.embedded(ends.ids[level.rows][None])
            place = torch.full_like(level.rows, self._place + level.depth - 1)
            rows = network.answer_rows(said[level.parents][None], tokens, place)
            seen = level.ancestors
            mask = None if seen is None else functional.pad(seen, (known, 0), value=True)
            states, past = network.extend(rows, past, self._memory, mask)
            said = states[0]
            return ends.logits(said)

        tree = grown(ends.logits(self._said), budget, run, least)
        return tree._replace(rows=ends.ids[tree.rows])

    def _ids(self, tokens: Sequence[int]) -> Tensor:
        return torch.tensor([tokens], dtype=torch.int64, device=self._ends.ids.device)


def _joined(one: KeyValue, more: KeyValue) -> KeyValue:
    return torch.cat((one[0], more[0]), dim=2), torch.cat((one[1], more[1]), dim=2)
