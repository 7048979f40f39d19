"""The compiled pass of the event simulator: crossings of one step, in time order.

Everything is in log intensity and float64. A pixel's `rest` is how far its light has moved from
the reference that it last reported, so an event is due where the rest reaches a threshold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Levels = npt.NDArray[np.float64]
Keys = npt.NDArray[np.int64]

#: Key of an event: microseconds into the step, row, column, polarity, from the highest bit down.
SIDE_BITS = 14
_PLACE_BITS = 2 * SIDE_BITS + 1
#: Bits that are left for the time; the sign of an int64 stays free.
TIME_BITS = 63 - _PLACE_BITS
#: Most bits that one pass of the sort looks at: its counters then fit the first-level cache.
_DIGIT_BITS = 11


@njit(cache=True, nogil=True)
def step(
    level: Levels,
    last_level: Levels,
    rest: Levels,
    threshold_on: Levels,
    threshold_off: Levels,
    last_event_us: Keys,
    leak: float,
    start_us: int,
    end_us: int,
    refractory_us: int,
    pixel: int,
    n: int,
    keys: Keys,
) -> Any:
    """Events while every pixel's level goes straight from the last to the new one.

    Nothing but numbers is returned: arrays that compiled code hands over lose an interrupt.

    Args:
        level: log intensity at `end_us`, [height, width].
        last_level, rest, last_event_us: state of every pixel, [height, width]; brought up to date.
        threshold_on, threshold_off: positive, [height, width].
        leak: by how many ON thresholds the reference sinks during the step.
        start_us, end_us: the step; events lie in (start_us, end_us].
        refractory_us: a crossing sooner after a pixel's last event moves the reference and is
            not reported.
        pixel: the first that is not done yet, row by row.
        n: events that `keys` holds already.
        keys: where events are added, [room].

    Returns:
        The first pixel for which there was no room, height x width if all are done; events that
        `keys` holds now.
    """
    height, width = level.shape
    span_us = end_us - start_us
    left = pixel % width
    for y in range(pixel // width, height):
        for x in range(left, width):
            change = level[y, x] - last_level[y, x]
            if leak > 0.0:
                change += leak * threshold_on[y, x]
            if change == 0.0:
                continue
            begin = rest[y, x]
            end = begin + change
            rising = change > 0.0
            size = threshold_on[y, x] if rising else threshold_off[y, x]
            first, last_us, crossed = n, last_event_us[y, x], 0
            # Multiples, not sums: a hundred crossings are as exact as one.
            reach = end if rising else -end
            while (crossed + 1) * size <= reach:
                crossed += 1
                crossing = crossed * size if rising else -crossed * size
                # Rounded up, so that nothing is reported before it has happened.
                offset = int(np.ceil((crossing - begin) / change * span_us))
                offset = min(max(offset, 1), span_us)
                if refractory_us > 0:
                    if start_us + offset - last_us < refractory_us:
                        continue
                    last_us = start_us + offset
                if n == len(keys):
                    return y * width + x, first  # nothing of this pixel counts yet
                keys[n] = (offset << _PLACE_BITS) | (y << (SIDE_BITS + 1)) | (x << 1) | rising
                n += 1
            last_level[y, x], last_event_us[y, x] = level[y, x], last_us
            rest[y, x] = end - crossed * size if rising else end + crossed * size
        left = 0
    return height * width, n


@njit(cache=True, nogil=True)
def unpack(
    keys: Keys,
    other: Keys,
    span_us: int,
    start_us: int,
    x: npt.NDArray[np.uint16],
    y: npt.NDArray[np.uint16],
    t: Keys,
    p: npt.NDArray[np.uint8],
) -> None:
    """Events of keys by time, equal times in the order they came: a radix sort.

    They come by row and column, so this is all that is needed, in time linear in the events.

    Args:
        keys: of one step, [events]; their order is lost.
        other: room for as many.
        span_us: length of the step.
        x, y, t, p: written, [events].
    """
    bits = 0
    while span_us >> bits:
        bits += 1
    passes = (bits + _DIGIT_BITS - 1) // _DIGIT_BITS
    digit = (bits + passes - 1) // passes
    mask = (1 << digit) - 1
    for number in range(passes):
        shift = _PLACE_BITS + number * digit
        places = np.zeros((1 << digit) + 1, np.int64)
        for key in keys:
            places[((key >> shift) & mask) + 1] += 1
        for value in range(1 << digit):
            places[value + 1] += places[value]
        for key in keys:
            value = (key >> shift) & mask
            other[places[value]] = key
            places[value] += 1
        keys, other = other, keys
    side = (1 << SIDE_BITS) - 1
    for i in range(len(keys)):
        key = keys[i]
        x[i], y[i] = (key >> 1) & side, (key >> (SIDE_BITS + 1)) & side
        t[i], p[i] = start_us + (key >> _PLACE_BITS), key & 1
