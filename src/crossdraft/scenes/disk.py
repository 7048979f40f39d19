"""How much room a dataset will take, before anything is written.

The figures are measured where that was possible; the size of lossy video is an assumption, since
it depends on what the camera saw.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from crossdraft.base.errors import InputError

#: `write_h5` on three real 50 ms windows of DSEC (interlaken_00_d, 220 to 290 thousand events):
#: 2.64 to 3.00 bytes per event; 2.66 on 2 s put together from them.
H5_BYTES_PER_EVENT = 3.1
#: x, y uint16, t int64, p uint8, uncompressed.
NPY_BYTES_PER_EVENT = 13
#: `write_frame` on the same windows: 0.6 to 2.1 bytes per event while a frame is sparse; at most
#: 0.43 bytes per pixel, however many events.
PNG_BYTES_PER_EVENT, PNG_BYTES_PER_PIXEL = 2.1, 0.43
#: Assumed: bits per pixel and frame of driving video from `write_mp4` at crf 18, which six steps
#: of crf halve at least. A made-up street that moves 6 pixels a frame takes 0.94 under noise of
#: 2.5 grey levels, most of it for the noise.
VIDEO_BITS_PER_PIXEL = 0.9
#: Manifest entry, record, and what a file system rounds up.
_CLIP_BYTES, _FILE_BYTES = 4096, 2048


def events_bytes(count: int, kind: str) -> int:
    """Bytes of an event file of so many events; kind is `h5` or `npy`."""
    rate = NPY_BYTES_PER_EVENT if kind == "npy" else H5_BYTES_PER_EVENT
    return int(count * rate) + _FILE_BYTES


def frames_bytes(count: int, frames: int, sensor: tuple[int, int]) -> int:
    """Bytes of the event frames that so many events are drawn into."""
    if not frames:
        return 0
    each = min(PNG_BYTES_PER_EVENT * count / frames, PNG_BYTES_PER_PIXEL * sensor[0] * sensor[1])
    return frames * (int(each) + _FILE_BYTES)


def video_bytes(frames: int, size: tuple[int, int], crf: int) -> int:
    """Bytes of lossy video.

    Args:
        size: width and height in pixels.
    """
    bits = VIDEO_BITS_PER_PIXEL * 2 ** ((18 - crf) / 6)
    return int(frames * size[0] * size[1] * bits / 8) + _FILE_BYTES


def clip_overhead() -> int:
    """Bytes of a clip's entries in manifest and records."""
    return _CLIP_BYTES


def free_bytes(folder: Path) -> int:
    """Room on the disk that a folder lies on, or will lie on."""
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def check_room(folder: Path, needed: int, less: str) -> None:
    """Refuse work that would fill the disk.

    Args:
        needed: bytes.
        less: how to need fewer, for the error.

    Raises:
        InputError: less room than needed.
    """
    free = free_bytes(folder)
    if free < needed:
        raise InputError(
            f"{format_bytes(needed)} are needed, {format_bytes(free)} are free",
            where=folder,
            expected="room for all clips",
            hint=f"name another disk with --out, {less}, or --force to try",
        )


def format_bytes(count: float) -> str:
    """1.5 GB and the like, in powers of 1000 as disks are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError
