"""What is simulated of a video: which of its frames, at what size, until when."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.units import format_duration
from crossdraft.scenes.video import VideoInfo, iterate, probe

Pixels = npt.NDArray[np.uint8]

_MAX_SIDE = 8192


@dataclass(frozen=True)
class Source:
    """A video, and how much of it is simulated at what size.

    Attributes:
        path: the video.
        info: what it is.
        shown: its width and height as it is shown: a video may ask to be turned.
        size: width and height to resize to; None: as it is shown.
        duration_us: from the first frame on; None: all of it.

    Raises:
        InputError: a size that H.264 cannot hold, fewer than two frames, or a duration that ends
            before the second.
    """

    path: Path
    info: VideoInfo
    shown: tuple[int, int]
    size: tuple[int, int] | None = None
    duration_us: int | None = None

    def __post_init__(self) -> None:
        if self.info.frames < 2:
            raise InputError(
                "a video of one frame", where=self.path, expected="two or more: events are changes"
            )
        second_us = int(self.info.times_us[1])
        if self.duration_us is not None and self.duration_us < max(1, second_us):
            raise InputError(
                f"{format_duration(self.duration_us)}, and the second frame comes at "
                f"{format_duration(second_us)}",
                where="--duration",
                expected="two frames or more: events are changes",
                hint=f"--duration {format_duration(max(1, second_us))}",
            )
        width, height = self.size or self.shown
        odd = not self.as_it_is and (width % 2 or height % 2)
        if odd or not 2 <= min(width, height) <= max(width, height) <= _MAX_SIDE:
            raise InputError(
                f"pictures of {width}x{height} pixels",
                where=self.path if self.size is None else "--size",
                expected=f"even numbers from 2 to {_MAX_SIDE}: the video is written anew",
                hint=f"--size {_even(width)}x{_even(height)}",
            )

    @property
    def end_us(self) -> int:
        """Where the scene ends, from the first frame on; no event lies there or later."""
        whole_us = max(self.info.duration_us, int(self.info.times_us[-1]) + 1)
        return whole_us if self.duration_us is None else min(whole_us, self.duration_us)

    @property
    def as_it_is(self) -> bool:
        """Whether the video can be copied."""
        cut = self.end_us < self.info.duration_us
        return not cut and self.size in (None, self.shown)

    @property
    def times_us(self) -> npt.NDArray[np.int64]:
        """Times of the frames that matter: up to the first at or past the end."""
        past = int(np.searchsorted(self.info.times_us, self.end_us))
        return self.info.times_us[: past + 1]

    def frames(self) -> Iterator[tuple[Pixels, int]]:
        """Those frames, as `iterate`."""
        with contextlib.closing(iterate(self.path)) as every:
            yield from itertools.islice(every, len(self.times_us))


def video_source(
    path: Path, size: tuple[int, int] | None = None, duration_us: int | None = None
) -> Source:
    """A video that exists, and what is to be taken of it.

    Raises:
        InputError: as `probe`, `iterate` and `Source`.
    """
    info = probe(path)
    with contextlib.closing(iterate(path)) as frames:
        height, width = next(frames)[0].shape[:2]
    return Source(path, info, (width, height), size, duration_us)


def _even(side: int) -> int:
    return min(max(side + side % 2, 2), _MAX_SIDE)
