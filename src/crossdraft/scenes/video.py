"""Reading video: exactly the frames that are asked for, by the time they are shown.

A verifier sees a handful of frames of a clip. They are chosen by presentation time in whole
ticks, so they are the same for constant and variable frame rates, and only what they need is
decoded: from the keyframe before, without frames nobody refers to, not across gaps.
"""

from __future__ import annotations

import bisect
import contextlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from av import FFmpegError
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from crossdraft.base.errors import InputError
from crossdraft.scenes.video_index import FrameIndex, Keyframe, index_of, opened, strict
from crossdraft.scenes.video_write import write_mp4

__all__ = [
    "VideoFrames", "VideoInfo", "iterate", "probe", "read_at", "read_first", "read_uniform",
    "write_mp4",
]  # fmt: skip

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class VideoInfo:
    """What a video is, without decoding it.

    Attributes:
        width, height: pixels as stored; a file that asks to be turned (phones) is turned when
            it is read, and then width and height change places.
        frames: frames that are shown.
        start_us: when the first is shown, on the file's own clock.
        duration_us: from the first frame to the end of the last.
        times_us: when each frame is shown, int64 [frames], from the first, rounded down.
        codec: name of the codec, such as `h264`.
        fps: frames per second, on average.
    """

    width: int
    height: int
    frames: int
    start_us: int
    duration_us: int
    times_us: npt.NDArray[np.int64]
    codec: str
    fps: float


@dataclass(frozen=True, eq=False)
class VideoFrames:
    """Decoded frames.

    Attributes:
        frames: RGB, uint8 [n, height, width, 3], upright.
        times_us: when each is shown, int64 [n], from the video's first frame.
        indices: which frame of the video each is, int64 [n].
    """

    frames: Pixels
    times_us: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.indices)


def probe(path: Path) -> VideoInfo:
    """Size, times and rate of a video from its packets; nothing is decoded where they tell.

    Raises:
        InputError: missing, not a video, without a video track, empty, or cut. mp4 and Matroska
            say how long they are; AVI, FLV and transport streams that were cut between two packets
            look like shorter recordings.
    """
    index = _whole_index(path)
    with opened(path) as (_, stream):
        width, height, codec = stream.width, stream.height, stream.codec_context.name
    duration_us = index.microseconds(index.end - index.pts[0])
    return VideoInfo(
        width=width,
        height=height,
        frames=len(index.pts),
        start_us=index.microseconds(index.pts[0]),
        duration_us=duration_us,
        times_us=_times_us(index),
        codec=codec,
        fps=len(index.pts) * 1e6 / duration_us if duration_us else 0.0,
    )


def read_uniform(path: Path, n: int) -> VideoFrames:
    """Exactly `n` frames: those on screen at i / n of the duration, i = 0 … n - 1.

    At a constant rate of N frames this is frame floor(i N / n), the documented recipe of
    Video-LLaVA (`arange(0, N, N / n)`). Where n is larger than N, frames repeat.

    Raises:
        InputError: as `probe`, or a frame that is needed is damaged.
    """
    _check_count(n)
    index = _whole_index(path)
    return _read(path, index, uniform_frames(index, n))


def uniform_frames(index: FrameIndex, n: int) -> list[int]:
    """The rule of `read_uniform`: numbers of the frames on screen at i / n of the duration."""
    start, duration = index.pts[0], index.end - index.pts[0]
    # Ticks are whole, so rounding the times down changes no comparison.
    return [bisect.bisect_right(index.pts, start + i * duration // n) - 1 for i in range(n)]


def read_first(path: Path, n: int) -> VideoFrames:
    """The first `n` frames; also of a video that was cut, as long as they are in it.

    Raises:
        InputError: as `read_uniform`, or the video has fewer frames.
    """
    _check_count(n)
    index = index_of(path)
    if n > len(index.pts):
        lost = f" whole, of {index.announced:,}: the file was cut" if index.cut else ""
        raise InputError(
            f"{_frames(len(index.pts))}{lost}",
            where=path,
            expected=f"at least {_frames(n)}",
        )
    return _read(path, index, list(range(n)))


def read_at(path: Path, times_us: Sequence[int] | npt.NDArray[np.int64]) -> VideoFrames:
    """The frame on screen at each time.

    Args:
        times_us: microseconds from the first frame, in any order, repeated at will. Times of a
            `VideoFrames` or `VideoInfo` give back the same frames.

    Raises:
        InputError: as `read_uniform`, or a time before the first frame or after the end. The
            end itself shows the last frame.
    """
    index = _whole_index(path)
    end_us = index.microseconds(index.end - index.pts[0])
    times = [int(time) for time in times_us]
    outside = [time for time in times if not 0 <= time <= end_us]
    if outside:
        raise InputError(
            f"no frame at {outside[0]:,} us",
            where=path,
            expected=f"times from 0 to {end_us:,} us, counted from the first frame",
        )
    _check_count(len(times))
    shown = _times_us(index).tolist()
    return _read(path, index, [bisect.bisect_right(shown, time) - 1 for time in times])


def iterate(path: Path) -> Generator[tuple[Pixels, int], None, None]:
    """Every frame in the order shown, one at a time, however long the video.

    Yields:
        RGB, uint8 [height, width, 3], upright, and when it is shown, in microseconds from the
        first frame.

    Raises:
        InputError: as `read_uniform`, when it comes to the frame that is damaged.
    """
    index = _whole_index(path)
    first: dict[int, Pixels] = {}
    with opened(path) as (container, stream):
        frames = _in_order(container, stream, index)
        for number, time_us in enumerate(_times_us(index).tolist()):
            frame = next(frames, None)
            # Another frame than the one that is due: that one has been lost.
            due = frame is not None and (not index.exact or frame.pts == index.pts[number])
            own = {number: _picture(frame)} if frame and due and not frame.is_corrupt else {}
            _check_pictures(path, index, sorted({*first, number}), first | own)
            first = first or own
            yield own[number], time_us


def _in_order(
    container: InputContainer, stream: VideoStream, index: FrameIndex
) -> Iterator[VideoFrame]:
    """Frames of the index as they decode, from the beginning."""
    strict(stream)
    shown = set(index.pts)
    for packet in container.demux(stream):
        if not packet.is_corrupt:
            frames = _decode(packet, index.keyframes[0] if index.exact else None)
            yield from (frame for frame in frames if not index.exact or frame.pts in shown)


def _check_count(n: int) -> None:
    if n < 1:
        raise InputError(f"{n} frames asked for", expected="one frame or more")


def _frames(n: int) -> str:
    return f"{n:,} frame" if n == 1 else f"{n:,} frames"


def _whole_index(path: Path) -> FrameIndex:
    index = index_of(path)
    if index.cut:
        known = f" of {index.announced:,}" if index.announced > len(index.pts) else ""
        raise InputError(
            f"the video was cut: {_frames(len(index.pts))}{known} whole",
            where=path,
            expected="a complete file",
            hint="copy the file again, or cut the clip again",
        )
    return index


def _times_us(index: FrameIndex) -> npt.NDArray[np.int64]:
    return np.array([index.microseconds(pts - index.pts[0]) for pts in index.pts], np.int64)


def _read(path: Path, index: FrameIndex, wanted: list[int]) -> VideoFrames:
    """Decode the frames `wanted`, numbers in the order shown, repeated at will."""
    distinct = sorted(set(wanted))
    pictures: dict[int, Pixels] = {}
    if index.exact:
        # What does not decode from its keyframe is tried again below.
        with opened(path) as (container, stream), contextlib.suppress(FFmpegError):
            _decode_runs(container, stream, index, distinct, pictures)
    if len(pictures) < len(distinct):
        # A container that seeks badly, or refreshes pictures bit by bit: begin at the beginning.
        with opened(path) as (container, stream):
            _decode_from_start(container, stream, index, distinct, pictures)
    _check_pictures(path, index, distinct, pictures)
    return VideoFrames(
        np.stack([pictures[frame] for frame in wanted]),
        _times_us(index)[wanted],
        np.array(wanted, np.int64),
    )


def _decode_runs(
    container: InputContainer,
    stream: VideoStream,
    index: FrameIndex,
    wanted: list[int],
    pictures: dict[int, Pixels],
) -> None:
    """Seek to the keyframe before every run of frames, decode up to the last of the run."""
    strict(stream)
    for number, (keyframe, run) in enumerate(_runs(index, wanted)):
        if number or keyframe != index.keyframes[0]:
            container.seek(keyframe.dts, stream=stream)
        left = {index.pts[frame]: frame for frame in run}
        last = index.pts[run[-1]]
        reached = False
        for packet in container.demux(stream):
            if packet.is_corrupt:
                continue
            # Seeking may end before the keyframe; what fails there spoils all that follows.
            reached = reached or packet.pts == keyframe.pts
            # Frames that nobody asks for and none refers to are not decoded at all.
            needed = packet.pts in left or not packet.size
            stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
            frames = _decode(packet, keyframe if reached else None)
            _keep(frames, left, pictures)
            if not left or any(frame.pts is not None and frame.pts > last for frame in frames):
                break


def _decode(packet: Packet[VideoStream], keyframe: Keyframe | None) -> list[VideoFrame]:
    """Decode one packet.

    Frames that are shown before the keyframe where decoding began may lack what they refer to;
    they are decoded all the same, for their place in the order, and may fail.
    """
    try:
        return packet.decode()
    except FFmpegError:
        if keyframe is None or packet.pts is None or packet.pts >= keyframe.pts:
            raise
        return []


def _runs(index: FrameIndex, wanted: list[int]) -> list[tuple[Keyframe, list[int]]]:
    """Frames that are decoded in one go, with the keyframe where that begins."""
    runs: list[tuple[Keyframe, list[int]]] = []
    for frame in wanted:
        keyframe = index.start_of(frame)
        reached = index.pts[min(runs[-1][1][-1] + 1, len(index.pts) - 1)] if runs else None
        if reached is not None and keyframe.pts <= reached:
            runs[-1][1].append(frame)  # nothing lies between: reading on costs no more
        else:
            runs.append((keyframe, [frame]))
    return runs


def _keep(frames: list[VideoFrame], left: dict[int, int], pictures: dict[int, Pixels]) -> None:
    for frame in frames:
        if frame.pts in left and not frame.is_corrupt:
            pictures[left.pop(frame.pts)] = _picture(frame)


def _decode_from_start(
    container: InputContainer,
    stream: VideoStream,
    index: FrameIndex,
    wanted: list[int],
    pictures: dict[int, Pixels],
) -> None:
    """Decode everything up to the last frame wanted, by its time or, without times, by count."""
    strict(stream)
    left = {index.pts[frame]: frame for frame in wanted if frame not in pictures}
    shown = 0
    for packet in container.demux(stream):
        if packet.is_corrupt:
            continue
        frames = _decode(packet, index.keyframes[0] if index.exact else None)
        if index.exact:
            _keep(frames, left, pictures)
        else:
            for frame in frames:
                if shown in wanted and not frame.is_corrupt:
                    pictures[shown] = _picture(frame)
                shown += 1
        if len(pictures) == len(wanted):
            return


def _picture(frame: VideoFrame) -> Pixels:
    """RGB of a frame as a player shows it, uint8 [height, width, 3].

    The colour matrix is the one the file names; BT.601 where it names none, as libav has it.
    """
    pixels: npt.NDArray[Any] = frame.to_ndarray(format="rgb24")
    return np.rot90(pixels, round(frame.rotation / 90) % 4)


def _check_pictures(
    path: Path, index: FrameIndex, wanted: list[int], pictures: dict[int, Pixels]
) -> None:
    """Every frame is there, and all have one size."""
    for frame in wanted:
        if frame not in pictures:
            seconds = index.microseconds(index.pts[frame] - index.pts[0]) / 1e6
            raise InputError(
                f"frame {frame:,} at {seconds:.3f} s cannot be decoded",
                where=path,
                expected="a video without damage",
                hint="copy the file again, or cut the clip again",
            )
        height, width = pictures[frame].shape[:2]
        first = pictures[wanted[0]].shape[:2]
        if (height, width) != first:
            raise InputError(
                f"frame {frame:,} has {width}x{height} pixels",
                where=path,
                expected=f"{first[1]}x{first[0]} pixels, like frame {wanted[0]:,}",
            )
