"""The clips of one length: what they took on average, and those that could not be measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossdraft.bench.stages_clip import Staged, StagedClip
from crossdraft.evaluation.estimate_window import window
from crossdraft.evaluation.stage_file import mean_std, stage_table
from crossdraft.pairs.record import Pair
from crossdraft.scenes.units import format_duration
from crossdraft.vlm.model_spec import Role

#: What tables of stages call the two models.
NAMES: dict[Role, str] = {"drafter": "eventgpt", "target": "videollava"}


@dataclass(frozen=True)
class Failure:
    """A clip that could not be measured.

    Attributes:
        number: its place among the clips of its length.
        role: whose answer failed.
    """

    scene: str
    number: int
    role: Role
    error: str


@dataclass(frozen=True)
class Group:
    """All clips of one length.

    Attributes:
        length_us: 0 where no video could be read.
        clips: that were measured.
        failures: the others.
    """

    length_us: int
    clips: tuple[StagedClip, ...] = ()
    failures: tuple[Failure, ...] = ()

    @property
    def name(self) -> str:
        """Such as `500ms`."""
        return format_duration(self.length_us) if self.length_us else "unknown"


def summary(group: Group) -> dict[str, Any]:
    """Means and deviations of one length; None for everything where no clip was measured."""
    clips = group.clips
    facts: dict[str, Any] = {
        "duration": group.name, "duration_us": group.length_us, "clips": len(clips),
        "failed": len(group.failures),
    }  # fmt: skip
    if not clips:
        return {**facts, "stages": None, "window": None}
    answers = [len(clip.drafter.tokens) for clip in clips]
    return {
        **facts,
        "stages": stage_table([_pair(clip) for clip in clips]),
        "render_ms": _each(clips, lambda one: one.render_ms),
        "prefill_complete_ms": _each(clips, lambda one: one.first_ms),
        "prompt_tokens": _each(clips, lambda one: one.prompt_tokens),
        "peak_memory_bytes": _each(clips, lambda one: one.memory.peak if one.memory else None),
        "window": window([clip.times for clip in clips], None, answers, 0.0),
    }


def _each(
    clips: Sequence[StagedClip], value: Callable[[Staged], float | None]
) -> dict[str, dict[str, float | None] | None]:
    """Mean and deviation for each model; None where there is nothing to average."""
    found = {}
    for role, name in NAMES.items():
        values = [value(getattr(clip, role)) for clip in clips]
        known = np.array([one for one in values if one is not None], float)
        found[name] = mean_std(known) if len(known) else None
    return found


def _pair(clip: StagedClip) -> Pair:
    scene, drafter, target = clip.scene, clip.drafter, clip.target
    return Pair(
        clip=scene.id,
        index=clip.number,
        question="",
        question_index=0,
        draft_tokens=drafter.tokens,
        target_tokens=target.tokens,
        draft_stages_ms=drafter.stages_ms,
        target_stages_ms=target.stages_ms,
        simulated=scene.simulated,
    )
