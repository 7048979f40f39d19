"""Where a sequence is cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes.cut_windows import (
    Window,
    check_rate,
    frames_of,
    plan_windows,
    step_of,
)
from tests.scenes.dsec_folder import image_times

MS = 1000


def test_a_plan_by_hand() -> None:
    """Nine jittered images, clips of four (200 ms), half overlapping: a clip every two images."""
    times = np.array([7, 56, 108, 157, 206, 257, 308, 356, 407]) * MS
    assert list(plan_windows(times, 200 * MS, 0.5)) == [
        Window(0, 0, 4, 7 * MS, 207 * MS),
        Window(1, 2, 4, 108 * MS, 308 * MS),
        # Image 4 starts a clip that ends 1 ms before the last image.
        Window(2, 4, 4, 206 * MS, 406 * MS),
    ]
    times[-1] = 405 * MS
    assert [w.number for w in plan_windows(times, 200 * MS, 0.5)] == [0, 1]


def test_a_lost_image_costs_the_windows_over_it_and_no_numbers() -> None:
    times = np.delete(np.arange(20) * 50 * MS, 7)
    faults = {w.first_frame: w.fault for w in plan_windows(times, 200 * MS, 0.5)}
    # The gap lies between images 6 and 7 of those that are left.
    assert [first for first, fault in faults.items() if fault] == [4, 6]
    assert faults[4] == "a gap of 100 ms between two images"
    numbers = [w.number for w in plan_windows(times, 200 * MS, 0.5) if w.fault is None]
    assert numbers == [0, 1, 4, 5, 6, 7]


def test_a_gap_behind_the_last_image_of_a_clip_is_one() -> None:
    """The events of [t_i, t_i + D) go on where the next image should be."""
    times = np.array([0, 50, 100, 150, 250, 300]) * MS
    assert next(plan_windows(times, 200 * MS, 0)).fault == "a gap of 100 ms between two images"


def test_slow_images_do_not_add_up() -> None:
    times = np.arange(100) * 56 * MS
    fault = next(plan_windows(times, 1000 * MS, 0.5)).fault
    assert fault == "its images are not at 20 Hz: 18 of 20 lie within"
    assert "17.9 Hz" in str(check_rate(times))
    assert check_rate(image_times(40)) is None
    assert "1 image time" in str(check_rate(image_times(1)))


def test_a_missing_file_costs_the_windows_that_need_it() -> None:
    windows = list(plan_windows(np.arange(13) * 50 * MS, 200 * MS, 0.5, {5}))
    assert [w.fault for w in windows] == [
        None, "image 000005.png is missing", "image 000005.png is missing", None, None,
    ]  # fmt: skip


@given(
    count=st.integers(2, 120),
    frames=st.integers(1, 25),
    overlap=st.sampled_from([0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99]),
    seed=st.integers(0, 99),
    lost=st.sets(st.integers(1, 118), max_size=2),
)
def test_windows_keep_their_promise(
    count: int, frames: int, overlap: float, seed: int, lost: set[int]
) -> None:
    times = image_times(count, seed, jitter_us=900)
    times = np.delete(times, [i for i in lost if i < count - 1])
    duration_us = frames * 50 * MS
    step = step_of(frames, overlap)
    windows = list(plan_windows(times, duration_us, overlap))
    # Exactly the images i = k step whose window ends in time are offered.
    starts = [i for i in range(0, len(times), step) if times[i] + duration_us <= times[-1]]
    assert [w.first_frame for w in windows] == starts
    for window in windows:
        assert window.end_us - window.start_us == duration_us
        assert window.start_us == times[window.first_frame]
        inside = np.count_nonzero((times >= window.start_us) & (times < window.end_us))
        # Without a lost image, jitter moves at most the border image over the border.
        assert (window.fault is None) == (abs(inside - frames) <= 1 and not _torn(times, window))


def _torn(times: npt.NDArray[np.int64], window: Window) -> bool:
    """Whether an image is lost within the window or at its end."""
    first = window.first_frame
    own = times[first : first + window.frames + 1]
    return bool((np.diff(own) > 90 * MS).any())


def test_steps_and_frames() -> None:
    assert [step_of(20, overlap) for overlap in (0, 0.5, 0.75, 0.99)] == [20, 10, 5, 1]
    assert step_of(15, 0.9) == 2
    assert step_of(1, 0.5) == 1
    assert frames_of(500 * MS) == 10
    for wrong in (-0.1, 1, 1.5, float("nan")):
        with pytest.raises(InputError, match="overlap"):
            step_of(20, wrong)
    with pytest.raises(InputError, match="multiples of 50ms"):
        frames_of(520 * MS)
