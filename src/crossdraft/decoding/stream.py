"""The event model's own answer as its drafters read it: in words of the target, as far as it came.

The two models may have different tokenizers. What has arrived is then spelled out and tokenised as
the target would, up to the last word that no later token can change.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossdraft.drafters.base import Snapshot
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge


class AnswerStream:
    """An answer to which tokens are appended while drafters read it.

    Args:
        bridge: to the target's tokens; None where both models have one vocabulary.
    """

    def __init__(self, bridge: TokenizerBridge | None = None) -> None:
        self._bridge = bridge
        self._own: list[int] = []
        self._closed = False
        self._snapshot: Snapshot | None = Snapshot((), closed=False)

    @property
    def own(self) -> tuple[int, ...]:
        """What has arrived, as the event model said it."""
        return tuple(self._own)

    def append(self, tokens: Sequence[int]) -> None:
        """More tokens of the event model have arrived.

        Raises:
            RuntimeError: the answer was closed.
        """
        if self._closed:
            raise RuntimeError("a token behind the end of the event model's answer")
        self._own += map(int, tokens)
        self._snapshot = None

    def close(self) -> None:
        """No more will come."""
        self._closed = True
        self._snapshot = None

    def snapshot(self) -> Snapshot:
        """What has arrived. Translated when it is first looked at, then kept."""
        if self._snapshot is None:
            own = tuple(self._own)
            if self._bridge is not None:
                own = self._bridge.translate(own, closed=self._closed).ids
            self._snapshot = Snapshot(own, self._closed)
        return self._snapshot
