"""Best-first trees: the nodes with the highest path probability, whatever gives the probabilities.

With a chain budget this is greedy drafting; with a wide one it is the tree that a sequence model
expects to have most tokens accepted from (each node adds its path probability).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from crossdraft.base.tree import ROOT, DraftTree
from crossdraft.drafters.base import Budget

#: path below the root -> [(token, log probability)], best first, distinct tokens.
Expand = Callable[[tuple[int, ...]], Sequence[tuple[int, float]]]


def best_first_tree(expand: Expand, budget: Budget, source: str) -> DraftTree:
    """Grow a tree by always adding the most probable node that can be reached.

    Ties go to the node that was reachable first, so the tree does not depend on hash order.
    """
    tokens: list[int] = []
    parents: list[int] = []
    logq: list[float] = []
    paths: dict[int, tuple[int, ...]] = {ROOT: ()}
    frontier: list[tuple[float, int, int, int]] = []
    reached = 0

    def reach(node: int) -> None:
        nonlocal reached
        path = paths[node]
        if len(path) >= budget.depth:
            return
        base = logq[node] if node != ROOT else 0.0
        for token, log_probability in expand(path)[: budget.branch]:
            heapq.heappush(frontier, (-(base + log_probability), reached, node, token))
            reached += 1

    if budget.nodes > 0:
        reach(ROOT)
    while frontier and len(tokens) < budget.nodes:
        cost, _, parent, token = heapq.heappop(frontier)
        node = len(tokens)
        tokens.append(token)
        parents.append(parent)
        logq.append(-cost)
        paths[node] = (*paths[parent], token)
        if len(tokens) < budget.nodes:
            reach(node)
    return DraftTree.from_parents(tokens, parents, logq, source)
