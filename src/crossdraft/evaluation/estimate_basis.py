"""What an estimate stands on: its times in words and numbers, the free window, the assumptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crossdraft.decoding.arrival import PUBLISHED_1S, StageTimes
from crossdraft.evaluation.estimate_config import EstimateConfig
from crossdraft.evaluation.estimate_window import window
from crossdraft.evaluation.stage_file import StageFile

#: Tokens of an answer where nothing says otherwise: the seed study's limit.
ANSWER_TOKENS = 50
_PUBLISHED_IN_WORDS = (
    "published averages of the seed study's 1 s clips (RTX 4090, 4-bit weights, 1,100 clips)"
)
#: `PUBLISHED_1S` if both prefills started at time zero, the drafter's vision stage included.
_PUBLISHED_FROM_PREFILL = replace(
    PUBLISHED_1S, draft_first_ms=91.3, target_prefill_start_ms=0.0, target_prefill_end_ms=315.5
)


def times_json(source: StageFile | None, config: EstimateConfig) -> dict[str, Any]:
    """Average clock, where it comes from, and what the file says about its machine."""
    if source is None:
        given = config.draft_first_ms is not None
        words = config.times.source if given else _PUBLISHED_IN_WORDS
        return {**_clock_means([config.times]), "source": words, "file_says": None}
    header = dict(source.pairs.header)
    settings = header.get("config")
    said = {**(settings if isinstance(settings, dict) else {}), **header}
    wanted = ("dataset_name", "datetime", "quantization", "device", "max_new_tokens")
    file_says = {key: said[key] for key in wanted if isinstance(said.get(key), str | int | float)}
    name = Path(config.stage_file or "").name
    if not source.clocks:
        return {"source": f"three measured stages of each clip, {name}", "file_says": file_says}
    clocks = list(source.clocks.values())
    return {
        **_clock_means(clocks),
        "source": f"measured stages of each clip, {name} ({len(clocks)} answers)",
        "file_says": file_says,
    }


def _clock_means(clocks: Sequence[StageTimes]) -> dict[str, Any]:
    def mean(field: Callable[[StageTimes], float]) -> float:
        return float(np.mean([field(clock) for clock in clocks]))

    return {
        "draft_first_ms": mean(lambda c: c.draft_first_ms),
        "draft_token_ms": mean(lambda c: c.draft_token_ms),
        "target_prefill_start_ms": mean(lambda c: c.target_prefill_start_ms),
        "target_prefill_end_ms": mean(lambda c: c.target_prefill_end_ms),
        "target_token_ms": mean(lambda c: c.target_token_ms),
    }


def window_json(source: StageFile | None, config: EstimateConfig) -> dict[str, Any] | None:
    """The free window; None where the file cannot tell."""
    adapter_ms = config.adapter_latency_ms
    if source is not None:
        if not source.clocks:
            return None
        lengths = [len(p.draft_tokens) for p in source.pairs.pairs if p.key in source.clocks]
        keys = [p.key for p in source.pairs.pairs if p.key in source.clocks]
        clocks = [source.clocks[key] for key in keys]
        return window(clocks, [source.clocks_from_prefill[k] for k in keys], lengths, adapter_ms)
    lengths = [config.answer_tokens or ANSWER_TOKENS]
    if config.draft_first_ms is None:
        return window([PUBLISHED_1S], [_PUBLISHED_FROM_PREFILL], lengths, adapter_ms)
    if config.target_prefill_start_ms is None:
        # Without a start the times given are those of the prefills alone.
        return window(None, [config.times], lengths, adapter_ms)
    return window([config.times], None, lengths, adapter_ms)


def assumptions(config: EstimateConfig) -> list[str]:
    """What the prediction takes for granted, in sentences."""
    start = "both prefills start" if _prefills_alone(config) else "the sensor data is there"
    said = [
        f"time counts from the moment {start}; the target alone is the baseline",
        "the event model runs on a device of its own and slows the target down by nothing",
        f"drafting adds {config.adapter_latency_ms:g} ms to each decoding forward with drafts "
        "(--adapter-latency-ms); the rest of it is hidden or free, as a look-up is",
        "drafts that are ready when the target's last prefill pass starts ride on its tail and "
        "cost T(n)/T(1) - 1 steps; with none ready the prefill is as long as ever"
        if config.verify == "prefill"
        else "the prefill emits one token; drafts are verified in passes of their own behind it",
        f"T(n)/T(1) is measured: {config.cost_curve.name}"
        if config.cost_curve
        else "T(n)/T(1) is one constant for every n above one",
        "every decoding step of an answer takes its clip's average",
    ]
    if config.alpha:
        said.append(
            "each draft is accepted with probability alpha, independently, and every decoding "
            "forward has gamma drafts, however far the event model has got"
        )
    if config.replay is not None:
        said.append("a drafter reads of the event model what had arrived by the measured clock")
    return said


def _prefills_alone(config: EstimateConfig) -> bool:
    return config.draft_first_ms is not None and config.target_prefill_start_ms is None
