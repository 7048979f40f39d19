"""Trees grown level by level, each level in one pass of a network (EAGLE-2, Li et al. 2024).

The best nodes of a level are run together; of all candidates those stay that the network thinks
likeliest. With a chain budget this is greedy drafting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from crossdraft.base.tree import ROOT
from crossdraft.drafters.base import Budget

#: Nodes of one level that are expanded, and children of a node below the root: EAGLE-2's width.
WIDTH = 10


class Level(NamedTuple):
    """Nodes that the network is to go through, behind what it went through before.

    Attributes:
        rows: [n] head rows of their tokens.
        depth: of all of them, 1 for children of the root.
        parents: [n] places of their parents in the level before; 0 in the first one.
        ancestors: [n, nodes run so far, these included] which of them each sees: its own path and
            itself. None in a chain, where every one does.
    """

    rows: Tensor
    depth: int
    parents: Tensor
    ancestors: Tensor | None


class Grown(NamedTuple):
    """Nodes that stay, likeliest first, parents before children.

    Attributes:
        rows: [n] head rows.
        parents: of each, `ROOT` for children of the root.
        logq: log probability of each path.
        run: nodes that the network went through.
    """

    rows: Tensor
    parents: list[int]
    logq: list[float]
    run: int


def grown(
    logits: Tensor, budget: Budget, run: Callable[[Level], Tensor], least: float = 0.0
) -> Grown:
    """The tree with the likeliest paths.

    Of all candidates the best `budget.nodes` stay. A child never outranks its parent, so these are
    a tree.

    Args:
        logits: [proposable tokens] for children of the root.
        run: logits [n, proposable tokens] behind the nodes of a level.
        least: probability that a path must have for its last node to be gone through.
    """
    log_p, vocabulary = logits.log_softmax(-1)[None], len(logits)
    seen = torch.zeros(1, 0, dtype=torch.bool, device=log_p.device)
    pool, parents, path_logq = _Pool(budget.nodes), [ROOT], log_p.new_zeros(1)
    children, gone = min(budget.branch, budget.nodes, vocabulary), 0
    for depth in range(1, budget.depth + 1):
        best = log_p.topk(children, dim=-1)
        first = pool.add(best.indices, path_logq[:, None] + best.values, parents)
        nodes, path_logq = pool.worth_expanding(first, least)
        if depth == budget.depth or not len(nodes):
            break
        parents = [first + node for node in nodes.tolist()]
        of_level = nodes // children
        own = torch.eye(len(nodes), dtype=torch.bool, device=seen.device)
        seen = torch.cat((seen[of_level], own), dim=1)
        chain = budget.branch == 1
        rows = best.indices.flatten()[nodes]
        logits = run(Level(rows, depth, of_level, None if chain else seen))
        gone += len(nodes)
        log_p = logits.log_softmax(-1)
        children = min(budget.branch, budget.nodes, vocabulary, WIDTH)
    return Grown(*pool.best(), gone)


class _Pool:
    """Candidates of all levels so far, parents before children.

    Args:
        nodes: how many of them stay in the end.
    """

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._rows: list[Tensor] = []
        self._logq: list[Tensor] = []
        self._parents: list[int] = []

    def add(self, rows: Tensor, logq: Tensor, parents: Sequence[int]) -> int:
        """Add one level; number of its first candidate.

        Args:
            rows, logq: [parents, children] head rows and log probabilities of their paths.
            parents: numbers of the parents.
        """
        first = len(self._parents)
        self._rows.append(rows.flatten())
        self._logq.append(logq.flatten())
        self._parents += [parent for parent in parents for _ in range(rows.shape[1])]
        return first

    def worth_expanding(self, first: int, least: float) -> tuple[Tensor, Tensor]:
        """Up to `WIDTH` candidates of the last level, counted from `first`, and their logq."""
        chosen = self._logq[-1].topk(min(WIDTH, len(self._parents) - first))
        worth = chosen.values.exp() >= least
        if len(self._parents) >= self._nodes:
            # What is not among the best has no child among them, nor has the last of the best.
            worth &= chosen.values > torch.cat(self._logq).topk(self._nodes).values[-1]
        keep = int(worth.sum())
        return chosen.indices[:keep], chosen.values[:keep]

    def best(self) -> tuple[Tensor, list[int], list[float]]:
        """The nodes that stay; a child as likely as its parent comes after it (a stable sort)."""
        logq = torch.cat(self._logq)
        order = logq.sort(descending=True, stable=True).indices[: self._nodes]
        chosen = order.tolist()
        place = {ROOT: ROOT, **{old: new for new, old in enumerate(chosen)}}
        parents = [place[self._parents[old]] for old in chosen]
        return torch.cat(self._rows)[order], parents, logq[order].tolist()
