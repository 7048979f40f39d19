"""Where a sequence is cut: windows anchored on image times, checked against the images.

A clip of duration D has n = D x 20 frames, and every step-th image starts one, with
step = max(1, round(n (1 - overlap))). Clip k starts at image i = k step and covers exactly
[t_i, t_i + D) of events and the images i … i + n - 1. Its number is k: a window that is skipped
leaves a gap in the numbers, so that a clip keeps its number whatever happens to the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError

#: DSEC's cameras: 19.997 to 20.0003 Hz over the training sequences.
FPS = 20
FRAME_US = 1_000_000 // FPS
#: An interval this long has lost an image; half a frame of jitter is allowed.
_GAP_US = FRAME_US * 3 // 2
_DRIFT_US = FRAME_US // 2


@dataclass(frozen=True)
class Window:
    """One clip's place in its sequence.

    Attributes:
        number: number of the clip within the sequence.
        first_frame: its first image.
        frames: number of images.
        start_us, end_us: on the clock of images and events, the end left out.
        fault: why it cannot be cut; None if it can.
    """

    number: int
    first_frame: int
    frames: int
    start_us: int
    end_us: int
    fault: str | None = None


def frames_of(duration_us: int) -> int:
    """Images of a clip.

    Raises:
        InputError: no whole number of images.
    """
    if duration_us <= 0 or duration_us % FRAME_US:
        raise InputError(
            f"{duration_us} us is no whole number of images",
            where="--durations",
            expected=f"multiples of {FRAME_US // 1000}ms: the cameras run at {FPS} Hz",
        )
    return duration_us // FRAME_US


def step_of(frames: int, overlap: float) -> int:
    """Images from the start of one clip to the start of the next; halves are rounded up.

    Raises:
        InputError: an overlap outside [0, 1).
    """
    if not 0 <= overlap < 1:
        raise InputError(
            f"an overlap of {overlap:g}", where="--overlap", expected="0 or more, below 1"
        )
    # 1 - 0.9 is a little less than a tenth; rounding first keeps 15 x 0.1 = 1.5 a half.
    return max(1, int(round(frames * (1 - overlap), 6) + 0.5))


def plan_windows(
    times_us: npt.NDArray[np.int64],
    duration_us: int,
    overlap: float,
    missing: AbstractSet[int] = frozenset(),
) -> Iterator[Window]:
    """Windows of one sequence in order, unusable ones with their fault.

    A window is offered while t_i + D is not later than the last image. Its images span it if no
    two neighbours among i … i + n are 75 ms or more apart and image i + n is within 25 ms of
    t_i + D; else an image is lost, or the camera was not at 20 Hz.

    Args:
        times_us: image times, int64 [images], rising.
        missing: images whose file is not there.
    """
    frames = frames_of(duration_us)
    step = step_of(frames, overlap)
    for number, first in enumerate(range(0, len(times_us), step)):
        start_us = int(times_us[first])
        end_us = start_us + duration_us
        if end_us > times_us[-1]:
            return
        fault = _gap(times_us[first : first + frames + 1], frames, end_us)
        if fault is None:
            lost = [image for image in range(first, first + frames) if image in missing]
            fault = f"image {lost[0]:06d}.png is missing" if lost else None
        yield Window(number, first, frames, start_us, end_us, fault)


def _gap(times_us: npt.NDArray[np.int64], frames: int, end_us: int) -> str | None:
    """Why images do not span their window: the times of its own and of the one that follows."""
    longest = int(np.diff(times_us).max(initial=0))
    if longest >= _GAP_US:
        return f"a gap of {longest / 1000:g} ms between two images"
    if len(times_us) <= frames or abs(int(times_us[frames]) - end_us) > _DRIFT_US:
        within = int(np.count_nonzero(times_us[:frames] < end_us))
        return f"its images are not at {FPS} Hz: {within} of {frames} lie within"
    return None


def check_rate(times_us: npt.NDArray[np.int64]) -> str | None:
    """What is wrong with the images' rate; None if they run at about 20 Hz."""
    if len(times_us) < 2:
        return f"{len(times_us)} image time, and a clip needs more"
    interval_us = float(np.median(np.diff(times_us)))
    if abs(interval_us - FRAME_US) > FRAME_US / 10:
        return f"images at {1e6 / interval_us:.3g} Hz, and {FPS} Hz are expected"
    return None
