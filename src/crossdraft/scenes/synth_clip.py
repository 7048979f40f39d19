"""Make one clip of the procedural drive: its events, its video, and last of all its record.

Both cameras look at the same moments; the event camera looks several times between two images.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.drive.traffic import Split
from crossdraft.scenes.drive.world import CLIP_S
from crossdraft.scenes.drive.world import Clip as World
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.manifest import to_record
from crossdraft.scenes.records import write_recorded
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.simulate import EventSimulator
from crossdraft.scenes.synth_settings import FPS, SynthSettings
from crossdraft.scenes.video_write import write_mp4
from crossdraft.scenes.writers import write_h5

CLIP_US = round(CLIP_S * 1e6)


@dataclass(frozen=True)
class SynthClip:
    """One clip to make.

    Attributes:
        folder: its dataset.
        world: what is in it.
    """

    folder: Path
    world: World
    split: Split
    settings: SynthSettings

    @property
    def id(self) -> str:
        """`<drive>/<clip>`."""
        return f"{self.world.drive}/{self.world.number:06d}"

    @property
    def events_file(self) -> str:
        return f"events/{self.id}.h5"

    @property
    def video_file(self) -> str:
        return f"video/{self.id}.mp4"

    @property
    def files(self) -> tuple[str, str]:
        """Its files, relative to the dataset."""
        return self.events_file, self.video_file

    @property
    def window_us(self) -> tuple[int, int]:
        """Its time on the drive's clock, the end left out."""
        start_us = self.world.number * CLIP_US
        return start_us, start_us + CLIP_US


def make_clip(clip: SynthClip) -> None:
    """Write a clip's files, then its record. A clip that fails leaves none of them.

    Raises:
        InputError: nothing in the clip made an event, or a file cannot be written.
    """
    write_recorded(clip.folder, clip.id, clip.files, lambda: _write_files(clip))


def film(clip: SynthClip) -> tuple[list[npt.NDArray[np.uint8]], EventStream]:
    """What both cameras see of a clip.

    The event camera starts anew with every clip, so that clips can be made in any order: its
    first look is the reference of every pixel.

    Returns:
        The video's images, uint8 [height, width, 3] each, and the events of the clip's window.
    """
    settings, (start_us, end_us) = clip.settings, clip.window_us
    camera = Camera(clip.world, settings.sensor)
    events = EventSimulator(settings.sensor, settings.simulator, settings.seed)
    images, parts = [], []
    for look in range(settings.events_fps + 1):
        picture = camera.look(look * CLIP_S / settings.events_fps)
        time_us = start_us + look * CLIP_US // settings.events_fps
        parts.append(events.push(picture.intensity, time_us))
        if look % (settings.events_fps // FPS) == 0 and time_us < end_us:
            images.append(picture.rgb)
    # What happens at the very end belongs to the next clip.
    return images, EventStream.joined(parts).between(start_us, end_us)


def _write_files(clip: SynthClip) -> dict[str, Any]:
    """Write events and video; returns the clip's manifest entry."""
    images, events = film(clip)
    if not len(events):
        raise InputError(
            "no events in this clip",
            where=clip.id,
            expected="something that moves",
            hint="lower the threshold",
        )
    write_h5(events, clip.folder / clip.events_file)
    write_mp4(clip.folder / clip.video_file, images, fps=FPS, crf=clip.settings.crf)
    scene = Scene(
        drive=clip.world.drive,
        clip=clip.world.number,
        folder=clip.folder,
        events_file=clip.events_file,
        video_file=clip.video_file,
        window_us=clip.window_us,
        sensor=events.sensor,
        event_count=len(events),
        split=clip.split,
        simulated=True,
        truth=clip.world.to_truth(),
        sha256={file: sha256_of(clip.folder / file) for file in clip.files},
    )
    return to_record(scene)
