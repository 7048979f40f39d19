"""A five-stage measurement in the layout of the seed study's benchmark files, times in seconds.

Only what was measured stands in it. The study's `parallel` and `acceptance` hold predicted wall
clocks and matches by position: they are left out, as is what a CPU has no number for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from crossdraft.bench.stages_clip import Memory, Staged, StagedClip
from crossdraft.bench.stages_group import NAMES, Failure
from crossdraft.evaluation.stage_file import mean_std
from crossdraft.vlm.model_spec import Role

if TYPE_CHECKING:
    from crossdraft.bench.stages import StagesConfig

_MB = 2**20
Facts = Mapping[Role, Mapping[str, Any]]


def seed_file(
    clips: Sequence[StagedClip], failures: Sequence[Failure], facts: Facts, config: StagesConfig
) -> dict[str, Any]:
    """The content of one file, as plain JSON. `sample_idx` is the clip's place in result.json's
    list of its length, failed clips counted.

    Args:
        clips: of one length, at least one.
        facts: of both models.
    """
    now = datetime.now()
    results = [_result(clip, facts) for clip in clips]
    formats = {facts[role]["dtype"] for role in NAMES}
    return {
        "timestamp": now.strftime("%Y%m%d_%H%M%S"),
        "datetime": now.strftime("%Y-%m-%d %H:%M:%S"),
        "dataset_name": "+".join(dict.fromkeys(clip.scene.folder.resolve().name for clip in clips)),
        "config": {
            "quantization": formats.pop() if len(formats) == 1 else None,
            "max_samples": -1 if config.clips is None else config.clips,
            "max_new_tokens": config.max_new_tokens,
            "device": facts["target"]["device"],
            # The study's own files charge it to nothing.
            "rendering": "measured",
            "use_token_adapter": False,
            "token_adapter_path": None,
        },
        "gpu_memory": _memory(facts),
        "statistics": _statistics(results),
        "results": results,
        "errors": [
            {
                "sample_idx": failure.number,
                "egpt_error": failure.error if failure.role == "drafter" else None,
                "vl_error": failure.error if failure.role == "target" else None,
            }
            for failure in failures
        ],
    }


def _result(clip: StagedClip, facts: Facts) -> dict[str, Any]:
    found: dict[str, Any] = {"sample_idx": clip.number}
    for role, name in NAMES.items():
        found[name] = _model(getattr(clip, role), facts[role])
    found["videollava"]["num_frames"] = facts["target"]["frames"]
    if clip.scene.simulated:
        # Nobody may overlook it, the layout has no word for it.
        found["simulated"] = True
    return found


def _model(answer: Staged, facts: Mapping[str, Any]) -> dict[str, Any]:
    count, decode_s = len(answer.tokens), answer.stages_ms[4] / 1e3
    return {
        "model": facts["model"],
        **{f"stage{n}_time": ms / 1e3 for n, ms in enumerate(answer.stages_ms, start=1)},
        "prefill_length": answer.prompt_tokens,
        "output_tokens": list(answer.tokens),
        "output_text": answer.text,
        "num_output_tokens": count,
        # As the study counted: all tokens over the time of those behind the first.
        "tokens_per_sec": count / decode_s if decode_s > 0 else None,
        "avg_token_time": answer.token_ms / 1e3 if count > 1 else None,
        "total_time": answer.total_ms / 1e3,
        "prefill_complete_time": answer.first_ms / 1e3,
        "gpu_memory_mb": None if answer.memory is None else _around(answer.memory),
    }


def _around(memory: Memory) -> dict[str, float]:
    return {
        "before": memory.before / _MB,
        "after": memory.after / _MB,
        "peak": memory.peak / _MB,
        "inference_delta": (memory.after - memory.before) / _MB,
    }


def _memory(facts: Facts) -> dict[str, float | None]:
    sizes = {name: facts[role]["memory_bytes"] for role, name in NAMES.items()}
    known = [size for size in sizes.values() if size is not None]
    return {
        **{
            f"{name}_model_mb": None if size is None else size / _MB for name, size in sizes.items()
        },
        "total_models_mb": sum(known) / _MB if len(known) == len(sizes) else None,
    }


def _statistics(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"n_samples": len(results)}
    for name in NAMES.values():
        answers = [result[name] for result in results]
        means: dict[str, Any] = {}
        for key in (f"stage{n}_time" for n in range(1, 6)):
            spread = mean_std(np.array([answer[key] for answer in answers]))
            means |= {f"{key}_avg": spread["mean"], f"{key}_std": spread["std"]}
        for key, source in (
            ("prefill_length", "prefill_length"), ("output_tokens", "num_output_tokens"),
            ("tokens_per_sec", "tokens_per_sec"), ("total_time", "total_time"),
            ("prefill_complete_time", "prefill_complete_time"),
        ):  # fmt: skip
            means[f"{key}_avg"] = _mean([answer[source] for answer in answers])
        peaks = [(answer["gpu_memory_mb"] or {}).get("peak") for answer in answers]
        found[name] = {**means, "gpu_peak_memory_avg": _mean(peaks)}
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
