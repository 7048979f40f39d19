"""How a dataset of the procedural drive is made: what all clips of one folder have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.scenes.folder_note import FolderNote
from crossdraft.scenes.simulate import SimulatorSettings

NOTE = ".synth.json"
_FORMAT = "crossdraft-synth/1"

#: Images per second of the video.
FPS = 20
#: Higher than the simulator's own, which makes more events and files to match; shapes are still
#: plain. What it comes to is in docs/drive.md.
THRESHOLD = 0.3
_SIZES, _MAX_EVENTS_FPS = (32, 256), 1000


@dataclass(frozen=True)
class SynthSettings:
    """Settings of a dataset.

    Attributes:
        seed: of the world, and of the one event camera that all drives have.
        size: width and height of video and event camera in pixels, even.
        events_fps: how often a second the event camera is shown the light; a multiple of 20.
        crf: quality of the video, as in `write_mp4`.
        simulator: the event camera.

    Raises:
        InputError: a value out of range.
    """

    seed: int = 0
    size: int = 112
    events_fps: int = 80
    crf: int = 18
    simulator: SimulatorSettings = field(default_factory=lambda: with_threshold(THRESHOLD))

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 53:
            raise InputError(f"{self.seed}", where="seed", expected="0 or more, below 2^53")
        least, most = _SIZES
        if not least <= self.size <= most or self.size % 2:
            raise InputError(
                f"{self.size}", where="size", expected=f"an even number from {least} to {most}"
            )
        if not FPS <= self.events_fps <= _MAX_EVENTS_FPS or self.events_fps % FPS:
            raise InputError(
                f"{self.events_fps}",
                where="events-fps",
                expected=f"a multiple of {FPS}, at most {_MAX_EVENTS_FPS}",
            )
        if not 0 <= self.crf <= 51:
            raise InputError(f"{self.crf}", where="crf", expected="0 (best) to 51")

    @property
    def sensor(self) -> tuple[int, int]:
        """Width and height of both cameras."""
        return self.size, self.size

    @property
    def note(self) -> FolderNote:
        """What the folder of such clips says about itself."""
        return FolderNote(NOTE, {"format": _FORMAT, **self.to_json()}, "made")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "source": "procedural drive",
            "seed": self.seed,
            "size": self.size,
            "video": {"fps": FPS, "crf": self.crf},
            "events_fps": self.events_fps,
            "simulator": self.simulator.to_json(),
        }


def with_threshold(threshold: float) -> SimulatorSettings:
    """The event camera with another threshold, its spread over the pixels in proportion.

    Raises:
        InputError: a threshold out of range.
    """
    default = SimulatorSettings()
    spread = round(threshold * default.threshold_sigma / default.threshold_on, 6)
    return SimulatorSettings(threshold, threshold, spread)
