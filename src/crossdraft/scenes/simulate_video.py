"""Events computed from a video, as a dataset of one scene: events, the video, the manifest.

Frames pass one at a time; the events stay in memory until the video ends, so all of them together
are as many as a step may make at most.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path, sha256_of
from crossdraft.base.new_folder import new_folder
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.manifest import to_record, write_manifest
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.simulate import (
    MOST_EVENTS,
    EventSimulator,
    SimulatorSettings,
    TooManyEventsError,
    luminance,
)
from crossdraft.scenes.simulate_source import Pixels, Source
from crossdraft.scenes.units import format_duration
from crossdraft.scenes.video import write_mp4
from crossdraft.scenes.writers import write_h5


@dataclass(frozen=True)
class Simulated:
    """What came out.

    Attributes:
        folder: the dataset.
        scene: `<drive>/<clip>`.
        brighter: how many of the events are.
        frames: frames whose light the simulator saw.
        longest_step_us: most time between two of them; events in between are interpolated.
    """

    folder: str
    scene: str
    events: int
    brighter: int
    width: int
    height: int
    frames: int
    duration_us: int
    longest_step_us: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; the events are no sensor's, and it says so."""
        rate = self.events / self.duration_us * 1e6
        rates = {
            "events_per_second": rate,
            "events_per_pixel_second": rate / (self.width * self.height),
        }
        return {"simulated": True, **asdict(self), **rates}


def simulate_video(
    source: Source,
    out: Path,
    settings: SimulatorSettings,
    *,
    seed: int = 0,
    drive: str | None = None,
    progress: ProgressSink = silent,
) -> Simulated:
    """Simulate the events of a video and write both as a dataset.

    The video is copied where it is taken as it is, else written anew: at the simulated size, at
    its average rate, each frame the one on screen at that time.

    Args:
        out: folder to make, in an existing one; it may exist if it is empty.
        seed: as for `EventSimulator`.
        drive: name of the drive; the video's own without it.

    Raises:
        InputError: the video is damaged; the folder cannot be made, as `new_folder`; no such drive;
            no event at all, or more than `MOST_EVENTS`.
    """
    name = _drive_name(source.path.stem if drive is None else drive)
    with new_folder(out) as folder:
        stream = _events(source, settings, seed, progress)
        suffix = source.path.suffix if source.as_it_is else ".mp4"
        events, video = f"events/{name}/000000.h5", f"video/{name}/000000{suffix}"
        for file in (events, video):
            (folder / file).parent.mkdir(parents=True)
        write_h5(stream, folder / events)
        _write_video(source, folder / video)
        scene = Scene(
            drive=name,
            clip=0,
            folder=folder,
            events_file=events,
            video_file=video,
            window_us=(0, source.end_us),
            sensor=stream.sensor,
            event_count=len(stream),
            simulated=True,
            sha256={file: sha256_of(folder / file) for file in (events, video)},
        )
        write_manifest(folder, [to_record(scene)], _made_with(source, stream, settings, seed))
    return Simulated(
        folder=str(out),
        scene=scene.id,
        events=len(stream),
        brighter=int(stream.p.sum(dtype=np.int64)),
        width=stream.width,
        height=stream.height,
        frames=len(source.times_us),
        duration_us=source.end_us,
        longest_step_us=int(np.diff(source.times_us).max()),
    )


def _made_with(
    source: Source, stream: EventStream, settings: SimulatorSettings, seed: int
) -> dict[str, Any]:
    return {
        "source": "events simulated from a video",
        "video": source.path.name.encode("utf-8", "replace").decode(),
        "video_sha256": sha256_of(source.path),
        "size": list(stream.sensor),
        "duration_us": source.end_us,
        "simulator": {**settings.to_json(), "seed": seed},
    }


def _events(
    source: Source, settings: SimulatorSettings, seed: int, progress: ProgressSink
) -> EventStream:
    simulator: EventSimulator | None = None
    parts: list[EventStream] = []
    count = 0
    frames = track(source.frames(), "simulating", len(source.times_us), progress)
    for rgb, time_us in frames:
        light = luminance(rgb)
        if source.size is not None and light.shape[::-1] != source.size:
            # Linear light and weights that are nowhere negative: no light is made or lost.
            light = np.asarray(
                Image.fromarray(light).resize(source.size, Image.Resampling.BILINEAR)
            )
        if simulator is None:
            simulator = EventSimulator((light.shape[1], light.shape[0]), settings, seed)
        try:
            parts.append(simulator.push(light, time_us, MOST_EVENTS - count))
        except TooManyEventsError as error:
            raise _too_many(source, len(parts)) from error
        count += len(parts[-1])
    stream = EventStream.joined(parts).between(0, source.end_us)
    if not len(stream):
        raise InputError(
            "no pixel changes by a threshold, so there is not one event",
            where=source.path,
            expected="a video in which something moves",
            hint="lower --threshold-on and --threshold-off",
        )
    return stream


def _too_many(source: Source, frame: int) -> InputError:
    """What to say of a video that is too much with the frame of this number."""
    # Up to the frame before, all fits; the first of them gives no events.
    fits_us = int(source.times_us[frame - 1])
    less = f"take less (--duration {format_duration(fits_us)}), " if frame > 1 else "take "
    return InputError(
        f"more than {MOST_EVENTS:,} events in the first {source.times_us[frame] / 1e6:.4g} s",
        where=source.path,
        expected="as many as fit into memory",
        hint=f"{less}smaller pictures (--size), or raise the thresholds "
        "(--threshold-on, --threshold-off)",
    )


def _write_video(source: Source, target: Path) -> None:
    if source.as_it_is:
        with atomic_path(target) as temporary:
            shutil.copyfile(source.path, temporary)
        return
    shown = max(1, round(source.info.frames * source.end_us / source.info.duration_us))
    fps = min(_plain_rate(Fraction(shown * 1_000_000, source.end_us)), Fraction(1000))
    write_mp4(target, _at_rate(source, fps), fps=fps)


def _plain_rate(fps: Fraction) -> Fraction:
    """The rate that was meant where times are whole microseconds, such as 30000/1001."""
    if fps < 1:  # seconds per frame, then: as a rate, it could come out as none at all
        return 1 / (1 / fps).limit_denominator(1001)
    return fps.limit_denominator(1001)


def _at_rate(source: Source, fps: Fraction) -> Iterator[Pixels | Image.Image]:
    """What is on screen at 0, 1 / fps, 2 / fps, …: of a constant rate, every frame once."""
    number = 0
    pictures = (rgb for rgb, _ in source.frames())
    for rgb, until_us in zip(pictures, [*source.times_us[1:].tolist(), source.end_us], strict=True):
        # Times are rounded down to microseconds: a tick may seem to be just before its frame.
        while number * 1_000_000 / fps + 2 < min(until_us, source.end_us):
            yield rgb if source.size is None else _resized(rgb, source.size)
            number += 1


def _resized(rgb: Pixels, size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC)


def _drive_name(name: str) -> str:
    plain = name == PurePosixPath(name).name and name not in ("", "..") and "\0" not in name
    if not plain or name.encode("utf-8", "replace").decode() != name:
        raise InputError(
            f"{name!r}",
            where="--drive",
            expected="a plain folder name",
            hint="name the drive, such as --drive street",
        )
    return name
