"""The free window: how far the event model gets while the target is still busy with its prefill.

Counted from the moment the sensor data is there, or, as studies often do, from both prefills
alone, which leaves out that loading and preprocessing differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from crossdraft.decoding.arrival import StageTimes
from crossdraft.evaluation.stage_file import mean_std


def window(
    clocks: Sequence[StageTimes] | None,
    from_prefill: Sequence[StageTimes] | None,
    lengths: Sequence[int],
    adapter_ms: float,
) -> dict[str, Any]:
    """Both windows as plain JSON.

    Args:
        clocks: times from the sensor data on, one per clip; None where they are not known.
        from_prefill: times from both prefills' start on; None where they are not known.
        lengths: tokens of the drafter's answers: it writes no more.
        adapter_ms: time an adapter needs before drafts can be used.

    Returns:
        Per window `ms` (from the drafter's first token on; negative where the target is ready
        first) and `tokens` that the drafter has written when it closes.
    """
    found: dict[str, Any] = {"from_sensor_data": None, "from_prefill": None}
    if clocks is not None:
        found["from_sensor_data"] = {
            "until_prefill_ends": _until(
                clocks, [c.target_prefill_end_ms for c in clocks], lengths, adapter_ms
            ),
            "until_last_pass_starts": _until(
                clocks, [c.target_prefill_start_ms for c in clocks], lengths, adapter_ms
            ),
        }
    if from_prefill is not None:
        found["from_prefill"] = {
            "until_prefill_ends": _until(
                from_prefill, [c.target_prefill_end_ms for c in from_prefill], lengths, adapter_ms
            )
        }
    return found


def _until(
    clocks: Sequence[StageTimes],
    closes_ms: Sequence[float],
    lengths: Sequence[int],
    adapter_ms: float,
) -> dict[str, Any]:
    usable_ms = [close - adapter_ms for close in closes_ms]
    tokens = [
        min(length, clock.arrived(at))
        for clock, at, length in zip(clocks, usable_ms, lengths, strict=True)
    ]
    open_ms = [at - clock.draft_first_ms for clock, at in zip(clocks, usable_ms, strict=True)]
    return {"ms": mean_std(np.array(open_ms)), "tokens": mean_std(np.array(tokens, float))}
