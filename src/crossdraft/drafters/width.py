"""How wide a verification should be: as wide as its tokens are worth their time.

Every further node gains its acceptance probability and costs what it adds to T(n). It is worth
that while it yields more tokens per unit of cost than decoding yields on average, the stopping
rule of renewal processes: followed forward by forward it maximises the ratio of the sums.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crossdraft.drafters.base import CostCurve

Floats = NDArray[np.float64]


def forward_costs(curve: CostCurve, nodes: int) -> Floats:
    """[nodes + 1] cost of a forward with 0, 1, ..., `nodes` drafts behind its own token."""
    return np.array([curve(1 + n) for n in range(nodes + 1)], dtype=np.float64)


def best_width(acceptance: Floats, costs: Floats, rate: float) -> int:
    """Number of leading nodes that maximises expected tokens minus `rate` times their cost.

    On a convex curve this is the first node whose gain over its cost falls below `rate`; taking
    the best of all widths also steps over plateaus of a curve with steps.

    Args:
        acceptance: [n] probability that each node is accepted, highest first.
        costs: [n + 1 or more] cost of a forward with that many drafts, in units of T(1).
        rate: tokens that one unit of T(1) yields on average.

    Returns:
        0 to n; the widest of equally good widths, so that a flat curve fills the tree.
    """
    tokens = np.concatenate(([1.0], 1.0 + np.cumsum(acceptance)))
    worth = tokens - rate * costs[: len(tokens)]
    return len(worth) - 1 - int(np.argmax(worth[::-1]))


class RunningRate:
    """Tokens per unit of cost so far, older forwards counting less.

    Starts as one plain decoding step, one token for one unit, so that the first forwards are wide
    and the average climbs from below to the best that the drafter reaches.
    """

    #: What one more forward leaves of the weight of those before it.
    DECAY = 0.998

    def __init__(self) -> None:
        self._tokens, self._cost = 1.0, 1.0

    @property
    def value(self) -> float:
        """Tokens per T(1); 1.0 is plain decoding."""
        return self._tokens / self._cost

    def add(self, tokens: int, cost: float) -> None:
        """Count one forward: tokens emitted, and its cost in units of T(1)."""
        self._tokens = self.DECAY * self._tokens + tokens
        self._cost = self.DECAY * self._cost + cost
