"""A small folder in the layout of DSEC: Blosc event files, PNG images, image times."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
from PIL import Image

from crossdraft.base.lock import LOCK
from crossdraft.scenes.events import EventStream

#: Image size of the made-up cameras.
IMAGE_SIZE = (96, 64)
#: Event camera of DSEC, which its files do not name.
SENSOR = (640, 480)
#: When a sequence starts on the common clock: large, as in DSEC, so that 32 bits do not hold it.
START_US = 51_648_500_652


@dataclass(frozen=True)
class Sequence:
    """What a made-up sequence holds.

    Attributes:
        times_us: image times, int64 [images].
        events: on the clock of the images.
    """

    folder: Path
    times_us: npt.NDArray[np.int64]
    events: EventStream


def image_times(count: int, seed: int = 0, jitter_us: int = 300) -> npt.NDArray[np.int64]:
    """Image times at 20 Hz with the jitter of a real camera, int64 [count]."""
    jitter = np.random.default_rng(seed).integers(-jitter_us, jitter_us + 1, count)
    return START_US + np.arange(count, dtype=np.int64) * 50_000 + jitter


def make_sequence(
    root: Path,
    name: str,
    *,
    images: int = 30,
    rate_hz: int = 20_000,
    seed: int = 0,
    times_us: npt.NDArray[np.int64] | None = None,
    silent_us: tuple[int, int] | None = None,
    sides: tuple[str, ...] = ("left",),
    sensor: tuple[int, int] = SENSOR,
) -> Sequence:
    """Write one sequence to `<root>/<name>`.

    Args:
        images: number of images.
        rate_hz: events per second.
        times_us: image times instead of jittered 20 Hz.
        silent_us: no events from here to there, counted from the first image.
        sensor: of the event camera; the files name it unless it is DSEC's. Small ones are quick.
    """
    times = image_times(images, seed) if times_us is None else times_us
    events = _events(times, rate_hz, seed, silent_us, sensor)
    folder = root / name
    for side in sides:
        write_events(folder / "events" / side / "events.h5", events, int(times[0]) - 631)
        pictures = folder / "images" / side / "rectified"
        pictures.mkdir(parents=True)
        for number in range(len(times)):
            Image.fromarray(picture(number, seed)).save(
                pictures / f"{number:06d}.png", compress_level=1
            )
    text = "".join(f"{time}\n" for time in times)
    (folder / "images" / "timestamps.txt").write_text(text)
    return Sequence(folder, times, events)


def picture(number: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Image of a number: a ramp that moves, and a few pixels of noise; uint8 [64, 96, 3]."""
    width, height = IMAGE_SIZE
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([2 * columns + 3 * number, 3 * rows, rows + columns + 5 * number], axis=2)
    noise = np.random.default_rng((seed, number)).integers(0, 32, (8, 8, 3))
    image[:8, :8] += noise
    return (image % 256).astype(np.uint8)


def write_events(path: Path, events: EventStream, offset_us: int) -> None:
    """Write `events.h5` as DSEC does: Blosc-zstd, uint32 times from an offset, `ms_to_idx`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    t = (events.t - offset_us).astype(np.uint32)
    codec = hdf5plugin.Blosc(cname="zstd", clevel=1)
    with h5py.File(path, "w") as file:
        for name, column in (("p", events.p), ("t", t), ("x", events.x), ("y", events.y)):
            file.create_dataset(
                f"events/{name}", data=column, chunks=(min(4096, len(column)),), **codec
            )
        if events.sensor != SENSOR:
            file.attrs["width"], file.attrs["height"] = events.sensor
        file["t_offset"] = np.int64(offset_us)
        last_ms = int(t[-1]) // 1000
        file["ms_to_idx"] = np.searchsorted(t, np.arange(last_ms + 1) * 1000).astype(np.uint64)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's bytes; the lock names a process and does not count."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LOCK
    }


def _events(
    times_us: npt.NDArray[np.int64],
    rate_hz: int,
    seed: int,
    silent_us: tuple[int, int] | None,
    sensor: tuple[int, int],
) -> EventStream:
    """Events from shortly before the first image to shortly after the last."""
    rng = np.random.default_rng((seed, 1))
    start, end = int(times_us[0]) - 631, int(times_us[-1]) + 700
    count = (end - start) * rate_hz // 1_000_000
    t = np.sort(rng.integers(start, end, count))
    if silent_us is not None:
        since = t - times_us[0]
        t = t[(since < silent_us[0]) | (since >= silent_us[1])]
    # A bright edge that crosses the sensor, as a street would.
    x = ((t - start) // 2500 + rng.integers(0, 60, len(t))) % sensor[0]
    y, p = rng.integers(0, sensor[1], len(t)), rng.integers(0, 2, len(t))
    return EventStream.checked(x, y, t, p, sensor=sensor)
