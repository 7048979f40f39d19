"""Which token ids have rows of their own in a small network.

A drafter trained on a few hundred answers meets a few hundred of 32,000 ids. Training only their
rows is what makes it quick; ids without a row share one (inputs) or are never proposed (outputs).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdraft.drafters.trainable import IGNORE, PAD


def distinct(rows: Iterable[Iterable[int]]) -> list[int]:
    """Sorted distinct token ids of some answers."""
    return sorted({token for row in rows for token in row})


@dataclass(frozen=True)
class Vocabulary:
    """Which token ids have rows of their own.

    Attributes:
        size: the full vocabulary.
        inputs: token id of each embedding row: `PAD` first, then seen ids; one more row, the
            last, stands for every other id. None: row = id.
        outputs: token id of each head row. None: row = id.
    """

    size: int
    inputs: Tensor | None
    outputs: Tensor | None

    @classmethod
    def seen(cls, size: int, drafts: Sequence[int], targets: Sequence[int]) -> Vocabulary:
        """Rows for these ids only."""
        inputs = [PAD, *(token for token in drafts if token != PAD)]
        return cls(size, torch.tensor(inputs), torch.tensor(targets, dtype=torch.int64))

    @classmethod
    def of_rows(cls, size: int, rows: Mapping[str, Sequence[int] | None]) -> Vocabulary:
        """Back from `rows`."""
        inputs, outputs = rows["inputs"], rows["outputs"]
        return cls(
            size,
            None if inputs is None else torch.tensor(inputs, dtype=torch.int64),
            None if outputs is None else torch.tensor(outputs, dtype=torch.int64),
        )

    def rows(self) -> dict[str, list[int] | None]:
        """Both id lists as plain values."""
        return {
            "inputs": None if self.inputs is None else self.inputs.tolist(),
            "outputs": None if self.outputs is None else self.outputs.tolist(),
        }

    @property
    def input_rows(self) -> int:
        return self.size if self.inputs is None else len(self.inputs) + 1

    @property
    def output_rows(self) -> int:
        return self.size if self.outputs is None else len(self.outputs)

    def encode(self, tokens: Tensor) -> Tensor:
        """Embedding rows of token ids, of any shape."""
        if self.inputs is None:
            return torch.where((tokens >= 0) & (tokens < self.size), tokens, PAD)
        return _rows(self.inputs.to(tokens.device), tokens, unknown=len(self.inputs))

    def labels(self, tokens: Tensor) -> Tensor:
        """Head rows of target ids; `IGNORE` where a token has none."""
        if self.outputs is None:
            return torch.where((tokens >= 0) & (tokens < self.size), tokens, IGNORE)
        return _rows(self.outputs.to(tokens.device), tokens, unknown=IGNORE)

    def decode(self, rows: Tensor) -> Tensor:
        """Token ids of head rows, of any shape."""
        return rows if self.outputs is None else self.outputs.to(rows.device)[rows]

    def all_inputs(self, rows: Tensor) -> Tensor:
        """[size, ...] from [input_rows, ...]: the shared row for every id without its own."""
        if self.inputs is None:
            return rows
        full = rows[-1:].repeat(self.size, *(1 for _ in rows.shape[1:]))
        full[self.inputs] = rows[:-1]
        return full

    def own_inputs(self, full: Tensor) -> Tensor:
        """[input_rows, ...] from [size, ...]: the way back."""
        if self.inputs is None:
            return full
        known = torch.zeros(self.size, dtype=torch.bool)
        known[self.inputs] = True
        unknown = (~known).nonzero()[:1, 0]
        # A vocabulary without a single id to spare has no use for the shared row.
        shared = full[unknown] if len(unknown) else full[:1] * 0
        return torch.cat([full[self.inputs], shared])

    def all_outputs(self, rows: Tensor, fill: float) -> Tensor:
        """[size, ...] from [output_rows, ...]: `fill` where an id has no row."""
        if self.outputs is None:
            return rows
        full = rows.new_full((self.size, *rows.shape[1:]), fill)
        full[self.outputs] = rows
        return full

    def own_outputs(self, full: Tensor) -> Tensor:
        """[output_rows, ...] from [size, ...]: the way back."""
        return full if self.outputs is None else full[self.outputs]


def _rows(known: Tensor, tokens: Tensor, unknown: int) -> Tensor:
    """Place of each token in `known` (any order), `unknown` where it is absent."""
    ordered, order = known.sort()
    place = torch.searchsorted(ordered, tokens.contiguous()).clamp(max=len(known) - 1)
    return torch.where(ordered[place] == tokens, order[place], unknown)
