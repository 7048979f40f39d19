"""The event model's own answer as its drafters read it: in words of the target, as far as it came.

The two models may have different tokenizers. What has arrived is then spelled out and tokenised as
the target would, up to the last word that no later token can change. One thread may append while
another one reads; reading never waits for the event model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock

import torch
from torch import Tensor

from crossdraft.drafters.base import DRAFT_STATES, FORCED_STATES, Snapshot
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge


class AnswerStream:
    """An answer to which tokens are appended while drafters read it.

    Args:
        bridge: to the target's tokens; None where both models have one vocabulary.
        look: is called before the answer is read, to append what has come since from elsewhere.
        needs: of the drafter that reads it. States are kept where it needs `DRAFT_STATES`.

    Attributes:
        keeps_states: whether the state behind each token has to come with it.
        followed: whether the event model will be asked to follow the target's words.
    """

    def __init__(
        self,
        bridge: TokenizerBridge | None = None,
        look: Callable[[], None] | None = None,
        needs: frozenset[str] = frozenset(),
    ) -> None:
        self._bridge, self.look = bridge, look
        self.keeps_states, self.followed = DRAFT_STATES in needs, FORCED_STATES in needs
        self._own: list[int] = []
        self._states: list[Tensor] = []
        self._arrival_ms: list[float] = []
        self._closed = False
        self._lock = Lock()
        self._snapshot: Snapshot | None = None if self.keeps_states else Snapshot((), closed=False)

    @property
    def own(self) -> tuple[int, ...]:
        """What has arrived, as the event model said it."""
        return tuple(self._own)

    @property
    def one_vocabulary(self) -> bool:
        """Whether the event model's ids are the target's."""
        return self._bridge is None or self._bridge.identical

    @property
    def arrival_ms(self) -> tuple[float, ...]:
        """[len(own)] when each arrived, on the clock of whoever appended."""
        return tuple(self._arrival_ms)

    @property
    def closed(self) -> bool:
        """Whether no more will come."""
        return self._closed

    def append(
        self, tokens: Sequence[int], arrival_ms: float = 0.0, states: Tensor | None = None
    ) -> None:
        """More tokens of the event model have arrived.

        Args:
            states: [len(tokens), hidden] that emitted them, where states are kept.

        Raises:
            RuntimeError: the answer was closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("a token behind the end of the event model's answer")
            self._own += map(int, tokens)
            if self.keeps_states and states is not None:
                # On the host: they may come from another CUDA stream, or another process.
                self._states.append(states.detach().to("cpu", torch.float32))
            self._arrival_ms += [arrival_ms] * len(tokens)
            self._snapshot = None

    def close(self) -> None:
        """No more will come."""
        with self._lock:
            self._closed = True
            self._snapshot = None

    def snapshot(self) -> Snapshot:
        """What has arrived. Translated when it is first looked at, then kept."""
        if self.look is not None:
            self.look()
        with self._lock:
            if self._snapshot is None:
                own = tuple(self._own)
                if self._bridge is not None:
                    own = self._bridge.translate(own, closed=self._closed).ids
                self._snapshot = Snapshot(own, self._closed, self._thoughts())
            return self._snapshot

    def _thoughts(self) -> Tensor | None:
        """[n, hidden] of what has arrived; of a width of 0 before anything has."""
        if not self.keeps_states:
            return None
        if len(self._states) > 1:
            self._states = [torch.cat(self._states)]
        return self._states[0] if self._states else torch.empty(0, 0)
