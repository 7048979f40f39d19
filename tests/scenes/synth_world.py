"""A world that is quickly drawn, for tests of what is done with its pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossdraft.scenes import synth_clip
from crossdraft.scenes.drive.picture import Picture
from crossdraft.scenes.drive.world import Clip
from crossdraft.scenes.making import Report
from crossdraft.scenes.synth import plan_synth, run_synth
from crossdraft.scenes.synth_settings import SynthSettings


class Waves:
    """A camera that sees waves move past, others in each clip."""

    def __init__(self, clip: Clip, size: tuple[int, int]) -> None:
        self.phase = clip.world_seed % 97 + clip.number
        self.size = size

    def look(self, time_s: float) -> Picture:
        width, height = self.size
        y, x = np.mgrid[:height, :width]
        light = 0.5 + 0.4 * np.sin(x / 3 + 9 * time_s + self.phase) * np.cos(y / 5)
        rgb = np.repeat((200 * light).astype(np.uint8)[..., None], 3, axis=2)
        return Picture(rgb, light.astype(np.float32))


def draw_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clips that are made in this process show waves."""
    monkeypatch.setattr(synth_clip, "Camera", Waves)


def make(
    out: Path,
    drives: int = 2,
    clips: int = 2,
    split: Any = "train",
    workers: int = 1,
    **settings: Any,
) -> Report:
    """Make a small dataset."""
    chosen = SynthSettings(**{"size": 32, "events_fps": 40, **settings})
    plan = plan_synth(out, chosen, drives=drives, clips_per_drive=clips, split=split)
    return run_synth(plan, workers=workers)
