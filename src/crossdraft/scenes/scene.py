"""One scene: the same stretch of time as an event camera and a video camera saw it.

A scene names files and reads nothing until it is asked to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from crossdraft.scenes.render import RenderSettings
    from crossdraft.scenes.video import VideoFrames


#: What nobody may overlook who uses events that were computed.
SIMULATED = (
    "simulated events: they were computed, no sensor saw them; what holds for them may not hold "
    "for an event camera"
)


def warnings_about(*scenes: Scene) -> list[str]:
    """What a reader of a result must know about the scenes that it was made from."""
    return list(dict.fromkeys(scene.about_events for scene in scenes if scene.simulated))


@dataclass(frozen=True)
class Scene:
    """Where one clip's parts are.

    Attributes:
        drive: the recording it was cut from; clips of one drive are never split apart.
        clip: its number within the drive.
        folder: what the file names below are relative to.
        events_file: event stream of the clip, or of a longer recording that `window_us` cuts.
        video_file: the clip's video.
        frame_sets: event frames drawn before, by name of the set.
        window_us: start and end on the recording's clock, the end left out; None: the whole file.
        sensor: width and height of the event camera in pixels; None: as the file says.
        event_count: events of the clip where the manifest knows.
        split: `train`, `test` or None.
        simulated: the events were computed, no sensor saw them.
        truth: what is known about the scene, such as labels of a procedural drive.
        sha256: digests of the files where the manifest knows.
    """

    drive: str
    clip: int
    folder: Path
    events_file: str | None = None
    video_file: str | None = None
    frame_sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    window_us: tuple[int, int] | None = None
    sensor: tuple[int, int] | None = None
    event_count: int | None = None
    split: str | None = None
    simulated: bool = False
    truth: Mapping[str, Any] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`<drive>/<clip>`, unique in a dataset."""
        return f"{self.drive}/{self.clip:06d}"

    @property
    def about_events(self) -> str:
        """What a reader of a result must know about simulated events."""
        return SIMULATED

    @property
    def events_path(self) -> Path | None:
        """Where the events are, if the scene has any."""
        return self.folder / self.events_file if self.events_file else None

    @property
    def video_path(self) -> Path | None:
        """Where the video is, if the scene has one."""
        return self.folder / self.video_file if self.video_file else None

    def parts(self) -> Iterator[tuple[str, Path]]:
        """Every file that the scene names, with what it is."""
        if path := self.events_path:
            yield "events", path
        if path := self.video_path:
            yield "video", path
        for name, files in self.frame_sets.items():
            yield from ((name, self.folder / file) for file in files)

    def missing(self) -> list[str]:
        """Parts that are named and not there, such as `video mp4/a/000001.mp4`."""
        return [
            f"{part} {path.relative_to(self.folder).as_posix()}"
            for part, path in self.parts()
            if not path.is_file()
        ]

    def events(self) -> EventStream:
        """Read the clip's events.

        Raises:
            InputError: the scene has none, or the file is missing or damaged.
        """
        from crossdraft.scenes.readers import read_events

        if self.events_path is None:
            raise self._lacks("event stream", "EVENTS.h5,{}")
        return read_events(self.events_path, sensor=self.sensor, window_us=self.window_us)

    def event_frames(self, settings: RenderSettings) -> list[npt.NDArray[np.uint8]]:
        """Draw event frames, uint8 [height, width, 3] each.

        Raises:
            InputError: as `events`.
        """
        from crossdraft.scenes.render import render_frames

        return render_frames(self.events(), settings, span_us=self.window_us)

    def drawn_frames(self, name: str = "event_image") -> list[npt.NDArray[np.uint8]]:
        """Read the event frames that were drawn before under the name of their set.

        Raises:
            InputError: the scene has no such set, or a frame is missing or damaged.
        """
        from crossdraft.scenes.frame_files import read_frame

        if name not in self.frame_sets:
            sets = ", ".join(self.frame_sets)
            raise InputError(
                f"the scene has no event frames {name!r}",
                where=self._place,
                expected=f"one of {sets}" if sets else "a scene with event frames, drawn before",
                hint="draw them: crossdraft scenes render",
            )
        return [read_frame(self.folder / file) for file in self.frame_sets[name]]

    def video_frames(self, count: int) -> VideoFrames:
        """Exactly `count` frames of the video, uniform in time.

        Raises:
            InputError: the scene has no video, or the file is missing or damaged.
        """
        from crossdraft.scenes.video import read_uniform

        if self.video_path is None:
            raise self._lacks("video", "{},VIDEO.mp4")
        return read_uniform(self.video_path, count)

    @property
    def _place(self) -> Path:
        """What a user calls the scene: its only recording, or its id in the dataset."""
        files = [path for path in (self.events_path, self.video_path) if path is not None]
        # A window of a longer recording is not what the file's name alone would mean.
        alone = len(files) == 1 and self.window_us is None
        return files[0] if alone else self.folder / self.id

    def _lacks(self, what: str, both: str) -> InputError:
        """The refusal of a scene without one of its recordings.

        Args:
            both: how both are named on the command line, {} for the one that is there.
        """
        has_file = self._place in (self.events_path, self.video_path)
        added = f"add it: --scene {both.format(self._place)}"
        return InputError(
            f"the scene has no {what}",
            where=self._place,
            expected=f"a scene with {'an' if what[0] in 'aeiou' else 'a'} {what}",
            hint=added if has_file else "choose another clip of the dataset",
        )
