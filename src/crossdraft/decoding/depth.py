"""How deep a proposal is worth making, where each further draft takes the drafter time.

A lookup finds sixteen tokens as quickly as one; a drafter that runs a model once per token does
not, and most of its deep drafts are never reached. The k-th draft is worth as long as it is
reached (alpha^k) times what a token takes without it, and costs what one more level of the
proposal took of late.
"""

from __future__ import annotations


class Depth:
    """Learns from passes what deep drafts cost and how often they are reached.

    The time of a proposal is taken for a + b * depth, fitted by least squares over all passes.
    Depths seldom differ, and a straight line through few of them is wild: b is held between the
    whole time per level and a quarter of that.
    """

    #: Where nothing has been seen yet.
    FIRST = 4
    #: What one more pass leaves of the weight of those before it, in the acceptance.
    DECAY = 0.95
    _LEAST_PART = 0.25

    def __init__(self) -> None:
        # A drafter of alpha 0.7, until it has shown its own.
        self._taken, self._tried = 1.4, 2.0
        self._passes = self._depth = self._depth2 = self._ms = self._depth_ms = 0.0

    def saw(self, depth: int, verified: int, accepted: int, draft_ms: float) -> None:
        """Learn of a pass.

        Args:
            depth: how deep a proposal was asked for.
            verified: depth of what was verified of it.
            accepted: drafts.
            draft_ms: time of the drafter.
        """
        if not depth:
            return
        self._passes += 1
        self._depth += depth
        self._depth2 += depth * depth
        self._ms += draft_ms
        self._depth_ms += depth * draft_ms
        # Behind the last draft that was verified nobody knows.
        self._taken = self.DECAY * self._taken + accepted
        self._tried = self.DECAY * self._tried + min(accepted + 1, max(verified, accepted))

    @property
    def known(self) -> bool:
        """Whether any proposal was seen."""
        return self._passes > 0

    @property
    def alpha(self) -> float:
        """Share of the drafts that were accepted, of those that could be."""
        return self._taken / self._tried

    @property
    def level_ms(self) -> float:
        """Time that one more level of a proposal takes; 0 before any was seen."""
        if not self._depth:
            return 0.0
        whole = self._ms / self._depth
        spread = self._passes * self._depth2 - self._depth**2
        if not spread > 0:
            return whole
        slope = (self._passes * self._depth_ms - self._depth * self._ms) / spread
        return min(whole, max(slope, self._LEAST_PART * whole))

    def worth(self, most: int, token_ms: float) -> int:
        """Levels of the next proposal, 1 to `most`.

        Args:
            token_ms: what a token takes now.
        """
        if not self.known:
            return min(self.FIRST, most)
        depth, reached = 1, self.alpha**2
        while depth < most and reached * token_ms >= self.level_ms:
            depth, reached = depth + 1, reached * self.alpha
        return depth
