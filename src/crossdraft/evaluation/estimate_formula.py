"""Forwards by formula: how many an answer takes if each draft is accepted with one probability.

Speculative decoding's own model (Leviathan et al., 2023), as in base/acceptance.py, for answers
that end.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

#: What the table shows: the seed study's raw words and its adapter, then what would be wanted.
ALPHAS = (0.0158, 0.2666, 0.5, 0.7, 0.9)
GAMMAS = (3, 5, 7, 10)


@lru_cache(maxsize=256)
def accepted_odds(alpha: float, gamma: int) -> NDArray[np.float64]:
    """[gamma + 1] probabilities that exactly 0, 1, …, gamma drafts of a chain are accepted."""
    odds = np.power(float(alpha), np.arange(gamma + 1))
    odds[:-1] *= 1 - alpha
    odds.setflags(write=False)
    return odds


@lru_cache(maxsize=256)
def expected_forwards(alpha: float, gamma: int, tokens: int) -> NDArray[np.float64]:
    """[tokens + 1] forwards it takes on average until 0, 1, …, `tokens` tokens are emitted.

    Every forward has `gamma` drafts. Exact for answers that end: drafts beyond the end give
    nothing, so this is more than tokens / E(alpha, gamma).
    """
    odds = accepted_odds(alpha, gamma)
    forwards = np.zeros(tokens + 1)
    for left in range(1, tokens + 1):
        # With i drafts accepted, left - i - 1 tokens stay to be said; below zero nothing stays.
        reach = min(left, gamma + 1)
        forwards[left] = 1 + odds[:reach] @ forwards[left - reach : left][::-1]
    forwards.setflags(write=False)
    return forwards
