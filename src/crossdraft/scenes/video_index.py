"""Opening a video and knowing its frames before decoding one.

`index_of` walks through the packets of a file: when each frame is shown, where decoding can
start, whether the file was cut. Only files whose packets do not tell are decoded for it.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from crossdraft.base.errors import InputError

#: Containers that are read. Others are refused: libav would also follow playlists to other files
#: and draw plain text as if it were a terminal.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,ogg"
_OPTIONS = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
#: Codecs that hide pictures in packets of their own: their packets are not their frames.
_HIDDEN = ("vp8",)
#: Longer than any recording; times beyond it come from a damaged file.
_LONGEST_S = 366 * 86_400


@dataclass(frozen=True)
class Keyframe:
    """Where decoding can start: presentation time, and the time to seek to (ticks)."""

    pts: int
    dts: int


@dataclass(frozen=True)
class FrameIndex:
    """The frames of a video in the order they are shown.

    Attributes:
        pts: presentation time of every frame, rising, in ticks of `time_base` seconds.
        end: when the last frame leaves the screen, in ticks.
        keyframes: rising by presentation time.
        exact: packets and frames correspond one to one, so frames are found by their time; where
            not (AVI notes no times, VP8 hides frames), frames are counted from the start.
        announced: frames that the file should have; more than `len(pts)` where it was cut.
    """

    pts: list[int]
    end: int
    time_base: Fraction
    keyframes: list[Keyframe]
    exact: bool
    announced: int
    cut: bool

    def start_of(self, frame: int) -> Keyframe:
        """The keyframe from which `frame` is decoded.

        Frames shown before a keyframe but stored after it (an open group of pictures) belong to
        the keyframe before: they cannot be decoded from the later one.
        """
        place = bisect.bisect_right(self.keyframes, self.pts[frame], key=lambda key: key.pts)
        return self.keyframes[max(place - 1, 0)]

    def microseconds(self, ticks: int) -> int:
        """Ticks as whole microseconds, rounded down."""
        base = self.time_base * 1_000_000
        return ticks * base.numerator // base.denominator


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A video file and its first video track, closed afterwards.

    Raises:
        InputError: not there, not a video, without a video track, or damaged.
    """
    _check_file(path)
    try:
        # "file:" keeps a name such as `http:x.mp4` from being taken for an address.
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"cannot be read as a video ({_reason(error)})",
            where=path,
            expected="a complete video file, such as an mp4 of crossdraft scenes dsec",
            hint="was the file cut while it was written or copied?",
        ) from error
    try:
        with container:
            yield container, _video_track(container, path)
    except av.FFmpegError as error:
        raise InputError(
            f"the video is damaged ({_reason(error)})",
            where=path,
            hint="copy the file again, or cut the clip again",
        ) from error


def _check_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise InputError("no such file", where=path, hint="check the path") from error
    if path.is_dir():
        raise InputError("this is a folder", where=path, expected="a video file")
    if not path.is_file():
        raise InputError("not a plain file", where=path, expected="a video file")
    if size == 0:
        raise InputError("the file is empty", where=path, expected="a video file")


def _video_track(container: InputContainer, path: Path) -> VideoStream:
    for stream in container.streams.video:
        cover = stream.disposition & Disposition.attached_pic
        if not cover and cast("object", stream.codec_context) is not None:
            return stream
    others = sorted({stream.type for stream in container.streams if stream.type != "video"})
    raise InputError(
        f"no video track ({', '.join(others)} only)" if others else "no video track",
        where=path,
        expected="a file with moving pictures",
    )


def index_of(path: Path) -> FrameIndex:
    """Every frame's time, from the packets alone wherever they tell.

    Raises:
        InputError: as `opened`; no frame; times that no recording has.
    """
    with opened(path) as (container, stream):
        index = _index_by_packets(path, container, stream)
    if not index.exact:
        with opened(path) as (container, stream):
            index = _index_by_decoding(container, stream, index)
    if not index.pts:
        raise InputError(
            "no complete frame",
            where=path,
            expected=f"{index.announced:,} frames" if index.announced else "a video with frames",
            hint="was the file cut while it was written or copied?",
        )
    if (index.end - index.pts[0]) * index.time_base > _LONGEST_S:
        raise InputError("its frames lie more than a year apart", where=path)
    return index


def _index_by_packets(path: Path, container: InputContainer, stream: VideoStream) -> FrameIndex:
    shown: dict[int, int] = {}  # presentation time -> duration
    keyframes: list[Keyframe] = []
    # AVI notes no presentation times; libav invents some.
    exact = stream.codec_context.name not in _HIDDEN and container.format.name != "avi"
    packets, broken, last_dts = 0, False, None
    try:
        for packet in container.demux(stream):
            if packet.size == 0:
                continue  # the last, empty packet flushes decoders
            if packet.is_corrupt:
                broken = True
                break
            last_dts = packet.dts if packet.dts is not None else packet.pts
            if packet.is_discard:
                continue  # before the start that the file's edit list names
            packets += 1
            if packet.pts is None or packet.pts in shown:
                exact = False
                continue
            shown[packet.pts] = packet.duration or 0
            if packet.is_keyframe:
                keyframes.append(Keyframe(packet.pts, packet.pts if last_dts is None else last_dts))
    except av.FFmpegError:
        broken = True
    announced, past_end = _announced(path, stream)
    cut = broken or past_end or _shorter_than_its_tag(stream, shown)
    pts = sorted(shown)
    if cut and last_dts is not None:
        # What was lost is shown at or after the time it is decoded, so up to here nothing lacks.
        pts = [time for time in pts if time <= last_dts]
    if keyframes:  # a recording cut out of another may begin with frames that lack their base
        pts = [time for time in pts if time >= keyframes[0].pts]
    keyframes.sort(key=lambda key: key.pts)
    return FrameIndex(
        pts=pts,
        end=pts[-1] + _duration(pts, shown[pts[-1]], stream) if pts else 0,
        time_base=Fraction(stream.time_base or Fraction(1, 1000)),
        keyframes=keyframes,
        exact=exact and bool(keyframes),
        announced=max(announced, packets),
        cut=cut,
    )


def _announced(path: Path, stream: VideoStream) -> tuple[int, bool]:
    """Frames in the file's own table, and whether the table points past the end of the file."""
    size = path.stat().st_size
    frames, past_end = 0, False
    for entry in stream.index_entries:
        frames += not entry.is_discard
        past_end |= entry.pos + entry.size > size
    return frames, past_end


def _shorter_than_its_tag(stream: VideoStream, shown: dict[int, int]) -> bool:
    """Matroska has no table of frames; its writers note each track's length (00:00:01.500000)."""
    text = {name.upper(): value for name, value in stream.metadata.items()}.get("DURATION", "")
    parts = text.split(":")
    if len(parts) != 3 or not shown or stream.time_base is None:
        return False
    try:
        hours, minutes, seconds = (Fraction(part.strip()) for part in parts)
    except (ValueError, ZeroDivisionError):
        return False
    tagged = hours * 3600 + minutes * 60 + seconds
    last = max(shown)
    # One frame of slack: the duration of the last one is often unknown.
    frame = max(_duration(sorted(shown), shown[last], stream), 1)
    return tagged - last * stream.time_base > 2 * frame * stream.time_base + Fraction(1, 100)


def _duration(pts: list[int], noted: int, stream: VideoStream) -> int:
    """How long the last frame is shown, in ticks: as noted, else as the others usually are."""
    if noted > 0:
        return noted
    if len(pts) > 1:
        return int(statistics.median(b - a for a, b in itertools.pairwise(pts)))
    if stream.average_rate and stream.time_base:
        return max(1, round(1 / (stream.average_rate * stream.time_base)))
    return 1


def _index_by_decoding(
    container: InputContainer, stream: VideoStream, packets: FrameIndex
) -> FrameIndex:
    """Times of decoded frames; counted at the average rate where they carry none."""
    strict(stream)
    times: list[int | None] = []
    with contextlib.suppress(av.FFmpegError):  # frames before the damage are frames
        for frame in container.decode(stream):
            times.append(frame.pts)
    known = [time for time in times if time is not None]
    rising = all(a < b for a, b in itertools.pairwise(known))
    if len(known) < len(times) or not rising:
        rate = stream.average_rate or Fraction(25)
        step = max(1, round(1 / (rate * packets.time_base)))
        known = [number * step for number in range(len(times))]
    return FrameIndex(
        pts=known,
        end=known[-1] + _duration(known, 0, stream) if known else 0,
        time_base=packets.time_base,
        keyframes=[],
        exact=False,
        announced=len(known) if not packets.cut else packets.announced,
        cut=packets.cut,
    )


def strict(stream: VideoStream) -> None:
    """Let the decoder report damaged data instead of painting over it."""
    stream.codec_context.options = {"err_detect": "explode"}


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
