"""Acceptance as a formula: what drafts give if each is accepted with the same probability.

Speculative decoding's own model (Leviathan et al., 2023): a draft is accepted with probability
alpha, independently of all others, and everything behind the first rejection is lost.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.errors import InputError

#: What the table shows: the seed study's raw words and its adapter, then what would be wanted.
ALPHAS = (0.0158, 0.2666, 0.5, 0.7, 0.9)
GAMMAS = (3, 5, 7, 10)


def expected_tokens(alpha: float, gamma: int) -> float:
    """Tokens per target forward, the correction or bonus token included.

    E(alpha, gamma) = (1 - alpha^(gamma + 1)) / (1 - alpha) (Leviathan et al., 2023, eq. 1); its
    limit gamma + 1 at alpha = 1. A speed-up only where drafting is free and a forward over
    gamma + 1 tokens takes as long as one over a single token.

    Raises:
        InputError: alpha is no probability, or gamma is negative.
    """
    if not 0 <= alpha <= 1:
        raise InputError(f"alpha is {alpha}", expected="a probability, 0 to 1")
    if gamma < 0:
        raise InputError(f"gamma is {gamma}", expected="a number of drafts, 0 or more")
    if alpha == 0:
        return 1.0
    if alpha == 1:
        return gamma + 1.0
    # expm1 keeps the digits that 1 - alpha^(gamma + 1) loses where alpha is close to 1.
    return -math.expm1((gamma + 1) * math.log(alpha)) / (1 - alpha)


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
