"""What would be cut: every clip of every sequence and duration, counted without reading events.

All sequences are checked before anything is written, so that a damaged file is known before hours
of work and not after them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.scenes import disk
from crossdraft.scenes.cut_clip import Clip
from crossdraft.scenes.cut_settings import CutSettings, clip_files, dataset_folder
from crossdraft.scenes.cut_windows import Window, check_rate, frames_of, plan_windows
from crossdraft.scenes.dsec import Recording, find_recordings
from crossdraft.scenes.event_file import EventFile

#: Counts below this are checked by reading: the index is good to a millisecond, not to an event.
_FEW_EVENTS = 1000


@dataclass(frozen=True)
class Skipped:
    """A window that cannot be cut, and why."""

    drive: str
    number: int
    reason: str


@dataclass(frozen=True)
class DatasetPlan:
    """Clips of one duration, in the order of sequence and number."""

    folder: Path
    duration_us: int
    settings: CutSettings
    clips: tuple[Clip, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True)
class CutPlan:
    """All that is to be there in the end.

    Attributes:
        out: folder that the datasets lie in.
        sequences: those that were looked at.
        absent: official sequences that are not there.
    """

    out: Path
    datasets: tuple[DatasetPlan, ...]
    sequences: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def clips(self) -> list[Clip]:
        return [clip for dataset in self.datasets for clip in dataset.clips]


def plan_cut(
    root: Path,
    out: Path,
    settings: CutSettings,
    durations_us: Sequence[int],
    *,
    sequences: Sequence[str] | None = None,
    max_clips: int | None = None,
    progress: ProgressSink = silent,
) -> CutPlan:
    """Plan the clips of all durations.

    Args:
        root: folder of DSEC.
        out: folder that the datasets will lie in; nothing is written here.
        sequences: names; None: all of the split.
        max_clips: at most so many clips per sequence and duration, the first ones.

    Raises:
        InputError: nothing to cut, or a sequence whose files are missing or damaged; all such
            sequences are named.
    """
    durations_us = list(dict.fromkeys(durations_us))
    for duration_us in durations_us:
        frames_of(duration_us)
    if not durations_us:
        raise InputError("no duration", where="--durations", expected="such as 500ms,1s")
    if max_clips is not None and max_clips < 1:
        raise InputError(f"{max_clips}", where="--max-clips", expected="one or more")
    found = find_recordings(root, settings.split, settings.side, sequences)
    clips: dict[int, list[Clip]] = {duration_us: [] for duration_us in durations_us}
    skipped: dict[int, list[Skipped]] = {duration_us: [] for duration_us in durations_us}
    faults: list[InputError] = []
    for recording in track(found.recordings, "look", len(found.recordings), progress):
        try:
            with _Look(recording, settings) as look:
                for duration_us in durations_us:
                    folder = out / dataset_folder(settings, duration_us)
                    usable, unusable = look.cut(folder, duration_us, max_clips)
                    clips[duration_us] += usable
                    skipped[duration_us] += unusable
        except InputError as error:
            faults.append(error)
    _refuse(faults)
    datasets = tuple(
        DatasetPlan(
            out / dataset_folder(settings, duration_us), duration_us, settings,
            tuple(clips[duration_us]), tuple(skipped[duration_us]),
        )
        for duration_us in durations_us
    )  # fmt: skip
    if not any(dataset.clips for dataset in datasets):
        reasons = [f"{s.drive}: {s.reason}" for dataset in datasets for s in dataset.skipped]
        raise InputError(
            "no clip can be cut" + (f"; {reasons[0]}" if reasons else ""),
            where=root,
            expected="sequences longer than a clip, with events and images",
        )
    names = tuple(recording.drive for recording in found.recordings)
    return CutPlan(out, datasets, names, found.absent)


def _refuse(faults: Sequence[InputError]) -> None:
    if len(faults) == 1:
        raise faults[0]
    if faults:
        raise InputError(
            f"{len(faults)} sequences cannot be cut:\n"
            + "\n".join(f"  {str(fault).splitlines()[0]}" for fault in faults),
            hint="mend or download them again, or name the others with --sequences",
        )


class _Look:
    """One sequence while it is planned: its event file open, its images counted."""

    def __init__(self, recording: Recording, settings: CutSettings) -> None:
        self.recording, self.settings = recording, settings
        self.times_us: npt.NDArray[np.int64] = recording.times_us()
        if wrong := check_rate(self.times_us):
            raise InputError(wrong, where=recording.timestamps_path)
        self.missing = (
            recording.missing_images(len(self.times_us)) if settings.video else frozenset[int]()
        )
        self.frame_bytes = self._frame_bytes() if settings.video else 0
        self.file = EventFile(recording.events_path)

    def __enter__(self) -> _Look:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def cut(
        self, folder: Path, duration_us: int, max_clips: int | None
    ) -> tuple[list[Clip], list[Skipped]]:
        """Clips of one duration, and windows that cannot be cut before the last of them."""
        skipped: list[Skipped] = []
        usable = list(islice(self._usable(folder, duration_us, skipped), max_clips))
        if max_clips is not None and len(usable) == max_clips:
            last = usable[-1].window.number
            skipped = [window for window in skipped if window.number < last]
        return usable, skipped

    def _usable(self, folder: Path, duration_us: int, skipped: list[Skipped]) -> Iterator[Clip]:
        drive = self.recording.drive
        windows = plan_windows(self.times_us, duration_us, self.settings.overlap, self.missing)
        for window in windows:
            fault, events = window.fault, 0
            if fault is None:
                events = self._count(window)
                fault = None if events else "no events"
            if fault is None:
                size = self._bytes(window, events)
                yield Clip(folder, self.recording, window, self.settings, events, size)
            else:
                skipped.append(Skipped(drive, window.number, fault))

    def _count(self, window: Window) -> int:
        count = self.file.count(window.start_us, window.end_us)
        if count < _FEW_EVENTS:
            return len(self.file.window(window.start_us, window.end_us))
        return count

    def _bytes(self, window: Window, events: int) -> int:
        """What a clip will take."""
        settings = self.settings
        files = clip_files(
            settings, self.recording.drive, window.number, window.end_us - window.start_us
        )
        total = disk.clip_overhead() + window.frames * self.frame_bytes
        if files.events:
            total += disk.events_bytes(events, "npy" if settings.layout == "seed" else "h5")
        for _, names in files.frames.values():
            total += disk.frames_bytes(events, len(names), self.file.sensor)
        return total

    def _frame_bytes(self) -> int:
        """Bytes of video per image; lossless video takes about what the PNG takes."""
        first = next(i for i in range(len(self.times_us)) if i not in self.missing)
        path = self.recording.image_path(first)
        try:
            with Image.open(path) as image:
                own = image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            own = (1440, 1080)  # its own clip will say what is wrong with it
        size = self.settings.video_size or own
        if self.settings.lossless:
            return path.stat().st_size * size[0] * size[1] // (own[0] * own[1])
        return disk.video_bytes(1, size, self.settings.crf)
