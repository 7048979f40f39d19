"""Writing video: H.264 in mp4, the same bytes for the same frames.

One encoder thread, no time stamps, and none of x264's code that reads memory it never wrote, so
that a clip that is cut again is the same file.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc, Interpolation
from av.video.stream import VideoStream
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path

Pixels = npt.NDArray[np.uint8]

#: AVCOL_SPC_SMPTE170M, the matrix of BT.601. Readers that ignore tags assume it, so the colours
#: come back right in all of them.
_BT601 = 6
#: `mbtree` is off because its AVX-512 code counts in what lies behind its buffers: the same frames
#: gave other bytes whenever the memory had been used before. Without it fine grain is kept at
#: the same crf, so files of noisy recordings are larger.
#: `veryfast` takes as many bits as `fast` at the same crf in about half the time, and loses little.
_OPTIONS = {"preset": "veryfast", "threads": "1", "mbtree": "0"}
#: The same rounding with every instruction set.
_EXACT = Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


def write_mp4(
    path: Path,
    frames: Iterable[Pixels | Image.Image],
    *,
    fps: int | Fraction = 20,
    crf: int = 18,
    lossless: bool = False,
) -> None:
    """Write frames as mp4, atomically; equal frames give equal bytes.

    Colours are BT.601, limited range, sRGB transfer, tagged as such, with chroma at half the
    resolution (yuv420p). Every second begins with a keyframe. `lossless` keeps RGB as it is (x264
    in RGB with quantiser 0): several times the size, no error, and not every player shows it.

    Args:
        path: file to write, in an existing folder.
        frames: uint8 [height, width, 3] RGB, or images; taken one at a time.
        fps: frames per second, more than 0.
        crf: x264's quality, 0 (best) to 51; ignored with `lossless`.

    Raises:
        InputError: no frames; a frame of another size or kind than the first; an odd width or
            height without `lossless`; a rate or quality out of range; a path that cannot be
            written.
    """
    if not 0 < fps <= 1000:
        raise InputError(f"{fps} frames per second", expected="more than 0, at most 1000")
    if not 0 <= crf <= 51:
        raise InputError(f"a crf of {crf}", expected="0 (best) to 51")
    with atomic_path(path) as temporary:
        try:
            with av.open(
                f"file:{temporary}", "w", format="mp4", options={"fflags": "+bitexact"}
            ) as container:
                _encode(container, path, frames, Fraction(fps), crf, lossless)
        except av.FFmpegError as error:
            raise InputError(
                f"cannot be written as mp4 ({error.strerror})",
                where=path,
                hint="is there room on the disk?",
            ) from error


def _encode(
    container: OutputContainer,
    path: Path,
    frames: Iterable[Pixels | Image.Image],
    fps: Fraction,
    crf: int,
    lossless: bool,
) -> None:
    stream: VideoStream | None = None
    for number, given in enumerate(frames):
        pixels = _pixels(given, number, path)
        height, width = pixels.shape[:2]
        if stream is None:
            stream = _stream(container, path, (width, height), fps, crf, lossless)
        if (width, height) != (stream.width, stream.height):
            raise InputError(
                f"frame {number:,} has {width}x{height} pixels",
                where=path,
                expected=f"{stream.width}x{stream.height}, like the first",
            )
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        if not lossless:
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU601", dst_color_range="MPEG",
                interpolation=_EXACT, threads=1,
            )  # fmt: skip
        frame.pts, frame.time_base = number, 1 / fps
        container.mux(stream.encode(frame))
    if stream is None:
        raise InputError("no frames to write", where=path, expected="one frame or more")
    container.mux(stream.encode(None))


def _stream(
    container: OutputContainer,
    path: Path,
    size: tuple[int, int],
    fps: Fraction,
    crf: int,
    lossless: bool,
) -> VideoStream:
    width, height = size
    if not lossless and (width % 2 or height % 2):
        raise InputError(
            f"frames of {width}x{height} pixels",
            where=path,
            expected=f"even sizes, such as {width + width % 2}x{height + height % 2}",
            hint="pad or crop the frames, or write lossless",
        )
    quality = {"qp": "0"} if lossless else {"crf": str(crf)}
    options = _OPTIONS | quality | {"g": str(max(1, round(fps)))}
    codec = "libx264rgb" if lossless else "libx264"
    stream: Any = container.add_stream(codec, rate=fps, options=options)
    stream.width, stream.height = width, height
    stream.pix_fmt = "rgb24" if lossless else "yuv420p"
    if not lossless:
        stream.codec_context.colorspace = _BT601
        stream.codec_context.color_range = ColorRange.MPEG
        stream.codec_context.color_primaries = ColorPrimaries.BT709
        stream.codec_context.color_trc = ColorTrc.IEC61966_2_1
    return stream  # type: ignore[no-any-return]


def _pixels(given: Pixels | Image.Image, number: int, path: Path) -> Pixels:
    """One frame as contiguous RGB."""
    if isinstance(given, Image.Image):
        given = np.asarray(given.convert("RGB"))
    if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
        raise InputError(
            f"frame {number:,} is an array of {given.dtype} {list(given.shape)}",
            where=path,
            expected="RGB, uint8 [height, width, 3]",
        )
    return np.ascontiguousarray(given)
