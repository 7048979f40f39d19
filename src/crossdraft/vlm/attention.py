"""Who sees whom: masks and positions of a pass over a chain, a tree, or several answers at once.

A new row sees every row in use, its own ancestors and itself. Its place in the sequence is that of
plain decoding: the number of tokens before it on its own branch, wherever it lies in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossdraft.base.tree import DraftTree


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of one pass: a chain of tokens, then a tree behind the last of them.

    Attributes:
        tokens: [q] ids.
        depth: [q] place on the own branch, 0 for the first token of the pass.
        visible: [q, q] whether row i sees row j of the same pass; None where i sees all j <= i.
    """

    tokens: NDArray[np.int64]
    depth: NDArray[np.int64]
    visible: NDArray[np.bool_] | None

    @classmethod
    def of(cls, tokens: Sequence[int], tree: DraftTree) -> Block:
        """At least one token, then the tree, which may be empty."""
        chain, nodes = len(tokens), len(tree)
        row = np.concatenate([np.asarray(tokens, np.int64), tree.tokens.astype(np.int64)])
        depth = np.concatenate([np.arange(chain), chain - 1 + tree.depth.astype(np.int64)])
        if tree.is_chain:
            return cls(row, depth, None)
        visible = np.tri(chain + nodes, dtype=np.bool_)
        visible[chain:, chain:] = False
        for node, parent in enumerate(tree.parents.tolist()):
            if parent >= 0:
                visible[chain + node] |= visible[chain + parent]
            visible[chain + node, chain + node] = True
        return cls(row, depth, visible)

    def padded(self, width: int) -> Block:
        """As many rows as `width`; the added ones see the first row only and nobody sees them."""
        count = len(self.tokens)
        if count == width:
            return self
        visible = np.zeros((width, width), np.bool_)
        visible[:count, :count] = (
            np.tri(count, dtype=np.bool_) if self.visible is None else self.visible
        )
        visible[count:, 0] = True
        extra = np.zeros(width - count, np.int64)
        return Block(
            np.concatenate([self.tokens, extra]), np.concatenate([self.depth, extra]), visible
        )

    def mask(self, length: int, columns: int) -> NDArray[np.bool_]:
        """[q, columns] what the rows see of a cache with `length` rows in use before the pass."""
        count = len(self.tokens)
        mask = np.zeros((count, columns), np.bool_)
        mask[:, :length] = True
        mask[:, length : length + count] = (
            np.tri(count, dtype=np.bool_) if self.visible is None else self.visible
        )
        return mask


def windowed(
    mask: NDArray[np.bool_], rows: NDArray[np.int64], columns: NDArray[np.int64], window: int
) -> NDArray[np.bool_]:
    """The part of a mask that lies within a sliding window.

    Args:
        mask: [q, k] or [lanes, q, k].
        rows: [q] or [lanes, q] places of the rows in their sequences.
        columns: [k] or [lanes, k] places of the columns.
        window: a row sees itself and the window - 1 places before it.
    """
    near: NDArray[np.bool_] = rows[..., :, None] - columns[..., None, :] < window
    return mask & near


def as_attention_mask(
    mask: NDArray[np.bool_], *, additive: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """[lanes, 1, q, k] of [q, k] or [lanes, q, k], as transformers passes it through: bool for
    SDPA, added to the scores for the eager implementation."""
    tensor = torch.from_numpy(mask.reshape(-1, 1, *mask.shape[-2:])).to(device)
    if not additive:
        return tensor
    seen = torch.zeros((), dtype=dtype, device=device)
    return torch.where(tensor, seen, torch.finfo(dtype).min)
