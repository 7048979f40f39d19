"""Cut one clip: its events, its event frames, its video, and last of all its record.

The record says that a clip is whole (`records.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.scenes.cut_settings import ClipFiles, CutSettings, clip_files
from crossdraft.scenes.cut_windows import FPS, Window
from crossdraft.scenes.dsec import Recording
from crossdraft.scenes.event_file import EventFile
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.frame_files import read_frame, write_frame
from crossdraft.scenes.manifest import to_record
from crossdraft.scenes.records import write_recorded
from crossdraft.scenes.render import render_frames
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.seed_writer import seed_extra
from crossdraft.scenes.video_write import write_mp4
from crossdraft.scenes.writers import write_h5, write_npy


@dataclass(frozen=True)
class Clip:
    """One clip to cut.

    Attributes:
        folder: its dataset.
        events: how many it holds, known to about a millisecond.
        size_bytes: what it is estimated to take on the disk.
    """

    folder: Path
    recording: Recording
    window: Window
    settings: CutSettings
    events: int
    size_bytes: int

    @property
    def drive(self) -> str:
        return self.recording.drive

    @property
    def id(self) -> str:
        """`<drive>/<clip>`."""
        return f"{self.drive}/{self.window.number:06d}"

    def files(self) -> ClipFiles:
        """Its files, relative to the dataset."""
        window = self.window
        return clip_files(self.settings, self.drive, window.number, window.end_us - window.start_us)


def cut_clip(clip: Clip) -> None:
    """Write a clip's files, then its record. A clip that fails leaves none of them.

    Raises:
        InputError: events or an image are missing or damaged, or the window holds no events.
    """
    files = clip.files()
    write_recorded(clip.folder, clip.id, files.all(), lambda: _write_files(clip, files))


def _write_files(clip: Clip, files: ClipFiles) -> dict[str, Any]:
    """Write the files; returns the clip's manifest entry."""
    settings = clip.settings
    stream = _events(clip) if settings.events or settings.render else None
    if stream is not None:
        _write_events(clip, files, stream)
        _write_frames(clip, files, stream)
    counted = None if stream is None else (len(stream), stream.sensor)
    del stream  # a long clip's events take hundreds of megabytes
    if files.video:
        write_mp4(
            clip.folder / files.video,
            _images(clip),
            fps=FPS,
            crf=settings.crf,
            lossless=settings.lossless,
        )
    return _record(clip, files, counted)


_open: EventFile | None = None


def _events(clip: Clip) -> EventStream:
    """The clip's events; a recording stays open for the clips that follow."""
    global _open
    path = clip.recording.events_path
    if _open is None or _open.path != path:
        close_recording()
        _open = EventFile(path)
    stream = _open.window(clip.window.start_us, clip.window.end_us)
    if not len(stream):
        raise InputError("no events in this clip's time", where=path)
    return stream


def close_recording() -> None:
    """Close the recording that this process has open."""
    global _open
    if _open is not None:
        _open.close()
        _open = None


def _write_events(clip: Clip, files: ClipFiles, stream: EventStream) -> None:
    if files.events is None:
        return
    path = clip.folder / files.events
    if clip.settings.layout == "seed":
        write_npy(stream, path, seed_extra(clip.window, len(stream)))
    else:
        write_h5(stream, path)


def _write_frames(clip: Clip, files: ClipFiles, stream: EventStream) -> None:
    span_us = (clip.window.start_us, clip.window.end_us)
    for settings, names in files.frames.values():
        frames = render_frames(stream, settings, span_us=span_us)
        for frame, name in zip(frames, names, strict=True):
            write_frame(frame, clip.folder / name)


def _images(clip: Clip) -> Iterator[Any]:
    """The clip's images one at a time: eighty of them would take 370 MB."""
    size, window = clip.settings.video_size, clip.window
    for number in range(window.first_frame, window.first_frame + window.frames):
        image = read_frame(clip.recording.image_path(number))
        if size is None or image.shape[1::-1] == size:
            yield image
        else:
            yield Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)


def _record(
    clip: Clip, files: ClipFiles, counted: tuple[int, tuple[int, int]] | None
) -> dict[str, Any]:
    """The clip's manifest entry."""
    named = [file for file in (files.events, files.video) if file]
    window = clip.window
    scene = Scene(
        drive=clip.drive,
        clip=window.number,
        folder=clip.folder,
        events_file=files.events,
        video_file=files.video,
        window_us=(window.start_us, window.end_us),
        sensor=counted[1] if counted else None,
        event_count=counted[0] if counted else None,
        split=clip.settings.split,
        sha256={file: sha256_of(clip.folder / file) for file in named},
    )
    return to_record(
        scene,
        first_frame=window.first_frame,
        last_frame=window.first_frame + window.frames - 1,
        **({"event_frames": {n: list(f) for n, (_, f) in files.frames.items()}} if files.frames
           else {}),
    )  # fmt: skip
