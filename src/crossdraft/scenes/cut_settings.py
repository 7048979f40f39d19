"""What a cut dataset is made of, and where the parts of a clip go.

Own layout: `<split>_<duration>/` with `events/<drive>/<clip>.h5`, `video/<drive>/<clip>.mp4`,
`event_image/<drive>/<clip>_<i>.png` and `scenes.json`. The seed study's layout is in
`seed_writer.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.scenes.cut_windows import FPS, step_of
from crossdraft.scenes.dsec import SIDES
from crossdraft.scenes.dsec_sequences import SPLITS
from crossdraft.scenes.frame_names import frame_name
from crossdraft.scenes.render import RenderSettings
from crossdraft.scenes.seed_layout import EVENTS_FOLDER, VIDEO_FOLDER
from crossdraft.scenes.seed_writer import seed_folder
from crossdraft.scenes.units import format_duration

LAYOUTS = ("crossdraft", "seed")


@dataclass(frozen=True)
class CutSettings:
    """How clips are cut; one folder holds clips of one kind.

    Attributes:
        split: `train` or `test`.
        side: camera pair, `left` or `right`.
        overlap: share of a clip that the next one repeats, in [0, 1).
        layout: `crossdraft` or `seed`.
        events, video: whether event streams and videos are written.
        render: how event frames are drawn; None: no event frames.
        crf, lossless: quality of the video, as in `write_mp4`.
        video_size: width and height that images are resized to; None: as they are.

    Raises:
        InputError: a value that is none of these, or nothing to write.
    """

    split: str
    side: str = "left"
    overlap: float = 0.5
    layout: str = "crossdraft"
    events: bool = True
    video: bool = True
    render: RenderSettings | None = RenderSettings()  # noqa: RUF009 (frozen)
    crf: int = 18
    lossless: bool = False
    video_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, known in (("split", SPLITS), ("side", SIDES), ("layout", LAYOUTS)):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{getattr(self, name)!r}", where=name, expected=f"one of {', '.join(known)}"
                )
        step_of(1, self.overlap)
        if not 0 <= self.crf <= 51:
            raise InputError(f"{self.crf}", where="crf", expected="0 (best) to 51")
        if not (self.events or self.video or self.render):
            raise InputError(
                "nothing to write",
                expected="events, video or event frames",
                hint="leave out one of --no-events, --no-video and --no-frames",
            )
        width, height = self.video_size or (2, 2)
        odd = not self.lossless and (width % 2 or height % 2)
        if min(width, height) < 2 or max(width, height) > 8192 or odd:
            raise InputError(
                f"{width}x{height}", where="video size", expected="even numbers from 2 to 8192"
            )

    def to_json(self, duration_us: int | None = None) -> dict[str, Any]:
        """The settings as plain JSON; with a duration, what makes two datasets different."""
        return {
            "source": "DSEC",
            "split": self.split,
            **({} if duration_us is None else {"duration_us": duration_us}),
            "overlap": self.overlap,
            "side": self.side,
            "layout": self.layout,
            "events": self.events,
            "event_frames": self.render.to_json() if self.render else None,
            "video": self._video_json(),
        }

    def _video_json(self) -> dict[str, Any] | None:
        if not self.video:
            return None
        quality = {"lossless": True} if self.lossless else {"crf": self.crf}
        size = list(self.video_size) if self.video_size else None
        return {"fps": FPS, **quality, "size": size}


def dataset_folder(settings: CutSettings, duration_us: int) -> str:
    """Where the clips of one duration go, below the output folder."""
    if settings.layout == "seed":
        return seed_folder(settings.split, duration_us)
    return f"{settings.split}_{format_duration(duration_us)}"


@dataclass(frozen=True)
class ClipFiles:
    """Files of one clip, relative to its dataset.

    Attributes:
        frames: settings and files of every set of event frames, by the set's name.
    """

    events: str | None
    video: str | None
    frames: Mapping[str, tuple[RenderSettings, tuple[str, ...]]]

    def all(self) -> list[str]:
        """Every file."""
        drawn = [file for _, files in self.frames.values() for file in files]
        return [*filter(None, (self.events, self.video)), *drawn]


def clip_files(settings: CutSettings, drive: str, number: int, duration_us: int) -> ClipFiles:
    """The files that a clip consists of."""
    seed = settings.layout == "seed"
    stem = f"{drive}/{number:06d}"
    events = f"{EVENTS_FOLDER}/{stem}.npy" if seed else f"events/{stem}.h5"
    video = f"{VIDEO_FOLDER if seed else 'video'}/{stem}.mp4"
    sets = {}
    if settings.render:
        sets["event_image"] = settings.render
        if seed:
            sets["event_image_1f"] = replace(
                settings.render, parts=1, hz=None, keep="all", window="all"
            )
    return ClipFiles(
        events=events if settings.events else None,
        video=video if settings.video else None,
        frames={
            name: (
                drawn,
                tuple(f"{name}/{frame_name(stem, i)}" for i in range(drawn.frames(duration_us))),
            )
            for name, drawn in sets.items()
        },
    )
