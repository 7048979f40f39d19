"""The acceptance count of replay for chains proposed from every start position at once.

Training validates with it: a drafter that says in one batched pass what it would propose anywhere
is counted exactly as replay counts it (a test holds the two together).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def accepted_from(proposals: NDArray[Any], target: NDArray[Any], lengths: NDArray[Any]) -> Ints:
    """Accepted drafts of a verification at every position.

    Args:
        proposals: [batch, length, gamma] the chain proposed at each position, negative for none.
        target: [batch, length] target tokens.
        lengths: [batch] tokens of each answer.

    Returns:
        [batch, length] tokens of the chain that the target confirms one after the other.
    """
    batch, length, gamma = proposals.shape
    ahead = np.full((batch, length + gamma), -2, dtype=np.int64)  # equals no proposal
    inside = np.arange(length) < lengths[:, None]
    ahead[:, :length] = np.where(inside, target, -2)
    windows = np.lib.stride_tricks.sliding_window_view(ahead, gamma, axis=1)[:, :length]
    confirmed: Ints = np.cumprod(proposals == windows, axis=-1).sum(-1)
    return confirmed


def chain_forwards(proposals: NDArray[Any], target: NDArray[Any], lengths: NDArray[Any]) -> Ints:
    """[batch] target forwards that decode each answer, arguments as `accepted_from`."""
    accepted = accepted_from(proposals, target, lengths)
    forwards = np.zeros(len(lengths), dtype=np.int64)
    position = np.zeros(len(lengths), dtype=np.int64)
    rows = np.arange(len(lengths))
    while (running := position < lengths).any():
        forwards += running
        position[running] += accepted[rows[running], position[running]] + 1
    return forwards
