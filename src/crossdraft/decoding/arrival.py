"""How much of the event model's answer has arrived when a target forward starts.

Both models start when the sensor data is there. The drafter's first token ends its prefill, the
others follow one by one; the target's first forward is its prefill, on whose tail drafts ride.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossdraft.drafters.base import Snapshot
from crossdraft.pairs.record import Pair

if TYPE_CHECKING:
    from torch import Tensor

#: More tokens than any answer has.
_ALL = 1 << 30


@dataclass(frozen=True)
class StageTimes:
    """When tokens of both models come, in milliseconds after the sensor data is there.

    Attributes:
        draft_first_ms: the drafter's first token.
        draft_token_ms: each further token of the drafter.
        target_prefill_start_ms: start of the target's last prefill pass.
        target_prefill_end_ms: its end; the second forward starts here.
        target_token_ms: one decoding step of the target with a single token.
        source: where the times were measured.
    """

    draft_first_ms: float
    draft_token_ms: float
    target_prefill_start_ms: float
    target_prefill_end_ms: float
    target_token_ms: float
    source: str

    def forward_start_ms(self, decode_cost: float, *, prefill: bool) -> float:
        """Start of a target forward; `decode_cost` is the decoding done before it, in units of
        one single-token step."""
        if prefill:
            return self.target_prefill_start_ms
        return self.target_prefill_end_ms + decode_cost * self.target_token_ms

    def arrived(self, at_ms: float) -> int:
        """Drafter tokens that exist at a time (its answer may be shorter)."""
        if at_ms < self.draft_first_ms:
            return 0
        waited_ms = at_ms - self.draft_first_ms
        # Tokens that take no time, or next to none, are all there.
        if waited_ms >= self.draft_token_ms * _ALL:
            return _ALL
        return 1 + int(waited_ms / self.draft_token_ms)


#: Averages of the seed study's five-stage runs on 1 s clips (1,100 clips, RTX 4090, 4-bit NF4
#: weights): drafter 1.8 + 3.6 + 8.1 + 83.2 ms to its first token, then about 10 ms a token;
#: target 79.3 + 62.3 ms before its prefill of 315.5 ms, then 14.5 ms a token.
PUBLISHED_1S = StageTimes(
    draft_first_ms=96.7,
    draft_token_ms=10.0,
    target_prefill_start_ms=141.6,
    target_prefill_end_ms=457.1,
    target_token_ms=14.5,
    source="published averages of the seed study's 1 s clips (RTX 4090, 4-bit), not this file's",
)


def stage_times(pair: Pair) -> StageTimes | None:
    """The pair's own measured times, None where its file has none."""
    if pair.draft_stages_ms is None or pair.target_stages_ms is None:
        return None
    draft, target = pair.draft_stages_ms, pair.target_stages_ms
    return StageTimes(
        draft_first_ms=sum(draft[:4]),
        # Decoding covers every token but the first, which the prefill emits.
        draft_token_ms=draft[4] / max(1, len(pair.draft_tokens) - 1),
        target_prefill_start_ms=sum(target[:3]),
        target_prefill_end_ms=sum(target[:4]),
        target_token_ms=target[4] / max(1, len(pair.target_tokens) - 1),
        source="measured stages of each clip",
    )


@dataclass(frozen=True)
class Arrival:
    """The rule that says how much of the drafter's answer may be read.

    Attributes:
        times: clock to follow, None to read without one.
        limit: a fixed number of tokens, None for no limit.
    """

    times: StageTimes | None = None
    limit: int | None = None

    def visible(self, total: int, decode_cost: float, *, prefill: bool) -> int:
        """Tokens of a `total`-token answer that may be read by the forward that starts now."""
        visible = total if self.limit is None else min(total, self.limit)
        if self.times is not None:
            start = self.times.forward_start_ms(decode_cost, prefill=prefill)
            visible = min(visible, self.times.arrived(start))
        return visible


def clocked(pair: Pair) -> Arrival:
    """What had arrived by the pair's own stage times, else by the published averages."""
    return Arrival(times=stage_times(pair) or PUBLISHED_1S)


class RecordedStream:
    """A recorded drafter answer behind the live `Stream` interface."""

    def __init__(self, tokens: Sequence[int], states: Tensor | None = None) -> None:
        """
        Args:
            states: [len(tokens), hidden] behind each token, where a drafter needs them.
        """
        self._tokens, self._states = tuple(tokens), states
        self.visible = len(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def snapshot(self) -> Snapshot:
        shown = self._tokens[: self.visible]
        states = None if self._states is None else self._states[: self.visible]
        return Snapshot(shown, len(shown) == len(self._tokens), states)
