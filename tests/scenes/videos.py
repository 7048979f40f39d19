"""Small videos for tests: every frame carries its number in black and white blocks."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_BITS, _BLOCK = 8, 12


def numbered_frame(number: int, size: tuple[int, int] = (96, 64)) -> Pixels:
    """A frame whose top row of blocks spells `number` in binary, over a moving gradient."""
    width, height = size
    across = (np.arange(width)[None, :] * 2 + number * 5) % 200
    down = np.arange(height)[:, None] * 2
    frame = np.stack([across + 0 * down, 0 * across + down % 200, (across + down) // 2], axis=-1)
    frame = frame.astype(np.uint8)
    for bit in range(_BITS):
        value = 235 if number >> bit & 1 else 20
        frame[:_BLOCK, bit * _BLOCK : (bit + 1) * _BLOCK] = value
    return frame


def numbered_frames(n: int, size: tuple[int, int] = (96, 64)) -> list[Pixels]:
    return [numbered_frame(number, size) for number in range(n)]


FRAMES = numbered_frames(50)


def number_of(frame: Pixels) -> int:
    """The number that a decoded frame carries."""
    centres = frame[_BLOCK // 2, _BLOCK // 2 : _BITS * _BLOCK : _BLOCK].mean(axis=-1)
    return sum(1 << bit for bit, value in enumerate(centres) if value > 128)


def make_video(
    path: Path,
    frames: Sequence[Pixels],
    *,
    codec: str = "libx264",
    ticks: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, 20),
    rotation: int = 0,
    container: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Encode frames with any codec into the container that the name's suffix says.

    Args:
        ticks: presentation times in units of `time_base`; 0, 1, 2, … without it.
        rotation: degrees counter-clockwise that a player is to turn the picture by.
        container: options of the muxer.
        options: options of the encoder.
    """
    with av.open(str(path), "w", options=container or {}) as output:
        # As in `write_mp4`: the same bytes every time.
        fixed = {"threads": "1"} | ({"mbtree": "0"} if codec == "libx264" else {})
        stream: Any = output.add_stream(codec, rate=1 / time_base, options=fixed | options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")
            frame.pts = ticks[number] if ticks else number
            frame.time_base = time_base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def make_audio(path: Path, seconds: float = 0.2) -> Path:
    """Silence, as mp4 with AAC or, for `.wav`, as it is."""
    if path.suffix == ".wav":
        with wave.open(str(path), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(2 * int(8000 * seconds)))
        return path
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("aac", rate=8000)
        samples = np.zeros((1, int(8000 * seconds)), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def full_decode(path: Path) -> tuple[list[Pixels], list[int]]:
    """Every frame in the order shown, and its time in microseconds from the first.

    AVI notes no times; its frames come at the rate of 20 that all of them are written with.
    """
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    pictures: list[Any] = [frame.to_ndarray(format="rgb24") for frame in decoded]
    if path.suffix == ".avi":
        return pictures, [50_000 * number for number in range(len(decoded))]
    ticks = [frame.pts for frame in decoded]
    base = decoded[0].time_base
    assert base is not None
    times = [int((tick - ticks[0]) * base * 1_000_000) for tick in ticks]  # type: ignore[operator]
    return pictures, times
