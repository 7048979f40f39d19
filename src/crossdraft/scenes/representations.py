"""Event streams as arrays for networks: count image, time surface, voxel grid.

Each goes over the events once and holds its result in memory alone. Polarity 0 comes first where
polarities stand apart.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream

_Column = npt.NDArray[np.uint16]
_Polarity = npt.NDArray[np.uint8]


def count_image(stream: EventStream) -> npt.NDArray[np.int32]:
    """Events per pixel and polarity.

    C(p, y, x) = |{i : (p_i, y_i, x_i) = (p, y, x)}|, one of the inputs of EV-FlowNet (Zhu et al.,
    "EV-FlowNet: Self-Supervised Optical Flow Estimation for Event-based Cameras", RSS 2018).

    Returns:
        int32 [2, height, width]; its sum is the number of events.
    """
    counts = np.zeros((2, stream.height, stream.width), np.int32)
    _count(stream.x, stream.y, stream.p, counts)
    return counts


def time_surface(
    stream: EventStream, *, tau_us: float = 50_000.0, at_us: int | None = None
) -> npt.NDArray[np.float32]:
    """How recent the last event at each pixel is, decaying exponentially.

    S(p, y, x) = exp(-(t - T(p, y, x)) / tau), with T the time of the last event of that polarity
    at that pixel, not later than t; 0 where there was none (Lagorce et al., "HOTS: A Hierarchy of
    Event-Based Time-Surfaces for Pattern Recognition", TPAMI 2017; there around one event, here
    for the whole sensor).

    Args:
        tau_us: time constant of the decay.
        at_us: the time t on the stream's clock, the last event by default. Later events do not
            count.

    Returns:
        float32 [2, height, width] from 0 to 1.

    Raises:
        InputError: `tau_us` is not positive.
    """
    if not (tau_us > 0 and np.isfinite(tau_us)):
        raise InputError(f"{tau_us!r}", where="tau_us", expected="a positive number of µs")
    surface = np.zeros((2, stream.height, stream.width), np.float32)
    if len(stream):
        now_us = int(stream.t[-1]) if at_us is None else at_us
        seen = stream.slice(0, int(np.searchsorted(stream.t, now_us, side="right")))
        _decay(seen.x, seen.y, seen.t, seen.p, np.int64(now_us), np.float64(tau_us), surface)
    return surface


def voxel_grid(
    stream: EventStream,
    bins: int,
    *,
    normalise: bool = False,
    span_us: tuple[int, int] | None = None,
) -> npt.NDArray[np.float32]:
    """Polarities in space and time, each event shared between the two nearest bins.

    V(b, y, x) = sum over events at (y, x) of s_i max(0, 1 - |b - t*_i|), with s_i = +1 or -1 and
    t*_i = (B - 1) (t_i - t_first) / (t_last - t_first): Zhu et al., "Unsupervised Event-based
    Learning of Optical Flow, Depth, and Egomotion", CVPR 2019. Events sit on whole pixels, so of
    its kernels only the one in time is left. With one bin, or where all events have one time,
    everything falls into bin 0.

    Args:
        bins: B, one or more.
        normalise: shift and scale the voxels that are not zero to mean 0 and standard deviation 1
            (as the published code of E2VID does: Rebecq et al., "High Speed and High Dynamic Range
            Video with an Event Camera", TPAMI 2021). Equal voxels are only shifted.
        span_us: t_first and t_last; by default the first and last event. Events outside do not
            count.

    Returns:
        float32 [bins, height, width]; without `normalise` its sum is the sum of the polarities, as
        long as no voxel passes 16 million.

    Raises:
        InputError: `bins` is not a positive whole number, or the span ends before it starts.
    """
    if type(bins) is not int or bins < 1:
        raise InputError(f"{bins!r}", where="bins", expected="a whole number from 1")
    grid = np.zeros((bins, stream.height, stream.width), np.float32)
    if len(stream):
        start_us, end_us = span_us or (int(stream.t[0]), int(stream.t[-1]))
        if end_us < start_us:
            raise InputError(
                f"a span from {start_us} to {end_us} µs", expected="an end after the start"
            )
        inside = stream.between(start_us, end_us + 1)
        per_us = (bins - 1) / (end_us - start_us) if end_us > start_us else 0.0
        _spread(inside.x, inside.y, inside.t, inside.p, np.int64(start_us), per_us, grid)
    if normalise:
        _normalise(grid)
    return grid


def _normalise(grid: npt.NDArray[np.float32]) -> None:
    touched = grid != 0
    values = grid[touched].astype(np.float64)
    if values.size:
        spread = float(values.std())
        # Rounding alone can leave a spread of about 1e-8 on equal values.
        grid[touched] = (values - values.mean()) / (spread if spread > 1e-6 else 1.0)


@njit(cache=True, nogil=True)
def _count(x: _Column, y: _Column, p: _Polarity, counts: npt.NDArray[np.int32]) -> None:
    for i in range(len(p)):
        counts[np.uintp(p[i] != 0), np.uintp(y[i]), np.uintp(x[i])] += 1


@njit(cache=True, nogil=True)
def _decay(
    x: _Column,
    y: _Column,
    t: npt.NDArray[np.int64],
    p: _Polarity,
    now_us: np.int64,
    tau_us: np.float64,
    surface: npt.NDArray[np.float32],
) -> None:
    for i in range(len(t)):  # later events overwrite earlier ones
        decayed = np.exp((t[i] - now_us) / tau_us)
        surface[np.uintp(p[i] != 0), np.uintp(y[i]), np.uintp(x[i])] = decayed


@njit(cache=True, nogil=True)
def _spread(
    x: _Column,
    y: _Column,
    t: npt.NDArray[np.int64],
    p: _Polarity,
    start_us: np.int64,
    per_us: float,
    grid: npt.NDArray[np.float32],
) -> None:
    last = grid.shape[0] - 1
    for i in range(len(t)):
        place = min((t[i] - start_us) * per_us, float(last))  # rounding may pass the last bin
        earlier = np.int64(place)
        later_share = place - earlier
        sign = 1.0 if p[i] != 0 else -1.0
        row, column = np.uintp(y[i]), np.uintp(x[i])
        grid[np.uintp(earlier), row, column] += sign * (1.0 - later_share)
        if later_share > 0.0:
            grid[np.uintp(earlier + 1), row, column] += sign * later_share
