"""Draft trees: what every drafter proposes and every verifier walks.

Nodes stand in an order in which parents come before their children; -1 is the root, the last
committed token, which is not a node. A chain is the tree in which every node has one child.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
FloatArray = NDArray[np.float32]

ROOT = -1


@dataclass(frozen=True)
class DraftTree:
    """Proposed tokens as a tree.

    Attributes:
        tokens: [n] token ids.
        parents: [n] index of the parent node, -1 for children of the root.
        depth: [n] distance to the root, 1 for its children.
        logq: [n] log of the path probability that the drafter gives the node (0 where unknown).
        sources: [n] index into `source_names`.
        source_names: who proposed.
        q_rows: [n, vocab] proposal distribution at each node, or None where drafts are
            deterministic.
    """

    tokens: IntArray
    parents: IntArray
    depth: IntArray
    logq: FloatArray
    sources: IntArray
    source_names: tuple[str, ...]
    q_rows: Any | None = None

    @classmethod
    def empty(cls) -> DraftTree:
        """No proposal: verification becomes a plain decoding step."""
        return _EMPTY

    @classmethod
    def from_parents(
        cls,
        tokens: Sequence[int] | IntArray,
        parents: Sequence[int] | IntArray,
        logq: Sequence[float] | FloatArray | None = None,
        source: str = "",
    ) -> DraftTree:
        """Build and check a tree.

        Raises:
            ValueError: lengths differ, a parent does not precede its child, or two siblings
                carry the same token (the second could never be accepted).
        """
        token_row = np.asarray(tokens, dtype=np.int32)
        parent_row = np.asarray(parents, dtype=np.int32)
        n = len(token_row)
        logq_row = np.zeros(n, np.float32) if logq is None else np.asarray(logq, np.float32)
        if len(parent_row) != n or len(logq_row) != n:
            raise ValueError(f"{n} tokens, {len(parent_row)} parents, {len(logq_row)} logq")
        depth = np.empty(n, dtype=np.int32)
        seen: set[tuple[int, int]] = set()
        for i, (token, parent) in enumerate(
            zip(token_row.tolist(), parent_row.tolist(), strict=True)
        ):
            if not ROOT <= parent < i:
                raise ValueError(f"node {i} has parent {parent}; parents come before children")
            if (parent, token) in seen:
                raise ValueError(f"node {i} repeats token {token} under parent {parent}")
            seen.add((parent, token))
            depth[i] = 1 if parent == ROOT else depth[parent] + 1
        return cls(token_row, parent_row, depth, logq_row, np.zeros(n, np.int32), (source,))

    @classmethod
    def chain(
        cls,
        tokens: Sequence[int] | IntArray,
        logq: Sequence[float] | FloatArray | None = None,
        source: str = "",
    ) -> DraftTree:
        """One path: token i hangs below token i-1."""
        return cls.from_parents(tokens, range(-1, len(tokens) - 1), logq, source)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_chain(self) -> bool:
        """Whether every node hangs below the one before it; so of no nodes too."""
        return np.array_equal(self.parents, np.arange(-1, len(self) - 1))

    def child(self, node: int, token: int) -> int | None:
        """Index of the child of `node` that carries `token`, if there is one."""
        hits = np.flatnonzero((self.parents == node) & (self.tokens == token))
        return int(hits[0]) if len(hits) else None

    def pruned(self, allowed: NDArray[np.bool_]) -> DraftTree:
        """The tree without the nodes that are not allowed, and without what hangs below them.

        Args:
            allowed: [n].
        """
        stays = np.asarray(allowed, np.bool_)
        if stays.all():
            return self
        stays = stays.copy()
        for node, parent in enumerate(self.parents.tolist()):
            stays[node] &= parent == ROOT or stays[parent]
        # Row -1 is the root, which stays the root.
        renamed = np.append(np.cumsum(stays) - 1, ROOT).astype(np.int32)
        return DraftTree(
            self.tokens[stays],
            renamed[self.parents[stays]],
            self.depth[stays],
            self.logq[stays],
            self.sources[stays],
            self.source_names,
            None if self.q_rows is None else self.q_rows[stays],
        )

    def path(self, node: int) -> tuple[int, ...]:
        """Node indices from the root's child down to `node`; empty for the root."""
        nodes: list[int] = []
        while node != ROOT:
            nodes.append(node)
            node = int(self.parents[node])
        return tuple(reversed(nodes))

    def follow(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Longest path whose tokens are a prefix of `tokens`: greedy verification of a tree
        against the tokens that the target would emit."""
        nodes: list[int] = []
        here = ROOT
        # Children stand behind their parent, so one reading of the nodes finds the whole path.
        for node, (token, parent) in enumerate(
            zip(self.tokens.tolist(), self.parents.tolist(), strict=True)
        ):
            if len(nodes) == len(tokens):
                break
            if parent == here and token == tokens[len(nodes)]:
                nodes.append(node)
                here = node
        return tuple(nodes)


_EMPTY = DraftTree.from_parents([], [])


@dataclass(frozen=True)
class Verification:
    """What a verification rule decided about one tree.

    Attributes:
        path: accepted nodes, from the root's child downwards.
        token: the token the target emits after them (correction or bonus); None where the answer
            ended inside the accepted path.
    """

    path: tuple[int, ...]
    token: int | None
