"""Drafters as a benchmark enters them: fresh, primed with recorded answers, calibrated.

Every round begins with drafters that have seen no test answer. What they learn from training
answers is learned once, and copied.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossdraft.base.clock import Spans
from crossdraft.base.tree import Verification
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.event_words import silent
from crossdraft.decoding.loop import Drafting
from crossdraft.decoding.replay import replay
from crossdraft.decoding.width import USUAL, cutting
from crossdraft.drafters.base import (
    DRAFT_STATES,
    FORCED_STATES,
    HEAD,
    TARGET_STATES,
    Context,
    CostCurve,
    Drafter,
)
from crossdraft.drafters.calibration import Calibration
from crossdraft.drafters.ensemble import EnsembleDrafter
from crossdraft.drafters.find import find_drafter
from crossdraft.drafters.none import NoDrafter
from crossdraft.pairs.record import Pair
from crossdraft.pairs.split import hold_out

#: Share of the recorded drives that calibrations are learned on, and answers of them at most.
_HELD_OUT, _MOST = 0.1, 150
#: Needs that recorded words do not meet.
OF_STATES = frozenset({DRAFT_STATES, FORCED_STATES, TARGET_STATES, HEAD})


class Stable:
    """Makes drafters of one kind, each as if it were the first.

    Args:
        drafter: as `find_drafter` takes it; None: nobody drafts.
        learned: recorded answers of training drives; without any nothing is learned beforehand.
        curve: T(n)/T(1) of the target.

    Raises:
        InputError: no such drafter, or one that must be trained first.
    """

    def __init__(self, drafter: str | None, learned: Sequence[Pair], curve: CostCurve) -> None:
        self._text, self._learned, self._curve = drafter, tuple(learned), curve
        self._calibration: Calibration | None = None
        self._cutting()  # refused now, not behind the first round

    def fresh(self) -> Drafter:
        """A drafter that knows the recorded answers, and what its claims are worth."""
        drafter = self._cutting()
        if not self._learned or not isinstance(drafter, EnsembleDrafter):
            return drafter
        if self._calibration is None:
            self._calibration = self._calibrated()
        for part in drafter.parts:
            part.fit(self._learned)
        drafter.calibration = self._calibration
        return drafter

    def bare(self) -> Drafter:
        """A drafter that knows the recorded answers and proposes all that it is asked for."""
        drafter = NoDrafter() if self._text is None else find_drafter(self._text)
        drafter.fit(self._learned)
        return drafter

    def _cutting(self) -> Drafter:
        """A drafter that has seen nothing but what its checkpoint holds."""
        return NoDrafter() if self._text is None else cutting(find_drafter(self._text))

    def _calibrated(self) -> Calibration:
        """What claims were worth on held-out drives, after learning from the others; as before
        where the drafter reads hidden states and the answers are words alone."""
        held = hold_out(self._learned, _HELD_OUT, 0)
        drafter = self._cutting()
        assert isinstance(drafter, EnsembleDrafter)
        if OF_STATES & drafter.needs and any(pair.thoughts is None for pair in held.test):
            return drafter.calibration
        for part in drafter.parts:
            part.fit(held.train)
        with drafter.collect():
            for pair in held.test[:: -(-len(held.test) // _MOST)]:
                replay(drafter, pair, USUAL, Arrival(), self._curve)
                drafter.finish(pair.target_tokens)
        return drafter.calibrate()


def retell(
    drafting: Drafting, question: str, answer: Sequence[int], most: int, cost: CostCurve
) -> None:
    """Let a drafter live through an answer that was given before: not the answer alone teaches it,
    but how its own drafts fared, too. The event model's words are not told again.

    Args:
        most: tokens that the answer might have had.
    """
    drafter = drafting.drafter
    drafter.begin(Context(question, silent(), cost))
    number = end = 0
    while end < len(answer):
        proposed = drafting.propose(number, answer[:end], most - end - 1, None, Spans())
        path = proposed.tree.follow(answer[end:])
        end += len(path)
        token = answer[end] if end < len(answer) else None
        drafter.observe(proposed.heard(Verification(path, token)))
        number, end = number + 1, end + 1
    drafter.finish(tuple(answer))
