"""What the pair says that a model is shown and asked with, defaults filled in.

Worked out here once more, from the pair alone: a model that was loaded otherwise must not be
measured by what it was loaded with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from crossdraft.scenes.render import RenderSettings
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.model_spec import ModelSpec


def reads_events(prompts: Any) -> bool:
    """Whether a prompt builder shows events; all others show video."""
    return isinstance(prompts, EventGPTPrompts)


@dataclass(frozen=True)
class Wanted:
    """The pair's choices.

    Attributes:
        frames: that a prompt shows.
        template: of its text.
        render: how events become frames; None for a model of video.
    """

    frames: int
    template: str
    render: RenderSettings | None

    @classmethod
    def of(cls, spec: ModelSpec, *, events: bool) -> Wanted:
        """Of one model of a pair."""
        if not events:
            return cls(spec.frames or 8, "video-llava", None)
        render = RenderSettings(
            parts=spec.frames or 5,
            window=spec.window or "last:50ms",
            canvas=spec.canvas or "sensor",
            overlap=spec.overlap or "last",
            keep=spec.keep or "all",
        )
        frames = 1 if render.keep == "first" else render.parts
        return cls(frames, spec.template or "official", render)
