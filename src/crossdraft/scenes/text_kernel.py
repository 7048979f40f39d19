"""The compiled pass over event text: whole-number arithmetic only, so that times are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FEWER_FIELDS, NO_NUMBER, TOO_LARGE, FRACTION = 1, 2, 3, 4
_MAX_DIGITS = 18


@njit(cache=True, nogil=True)
def count_lines(data: npt.NDArray[np.uint8]) -> int:
    """Lines of a text, the last one with or without its line end."""
    lines = 1
    for byte in data:
        lines += byte == 10
    return lines


@njit(cache=True, nogil=True)
def _number(data: Any, start: int, stop: int, power: int) -> Any:
    """Value x 10^power of a decimal number in data[start:stop], rounded to nearest.

    Returns:
        value, fault, whether there is a point or an exponent, whether a fraction remains that is
        not zero in the file's own unit.
    """
    i = start
    negative = False
    if i < stop and (data[i] == 43 or data[i] == 45):
        negative = data[i] == 45
        i += 1
    value, digits, shift, point, fraction, any_digit = 0, 0, 0, False, False, False
    while i < stop:
        byte = data[i]
        if 48 <= byte <= 57:
            any_digit = True
            if digits < _MAX_DIGITS:
                value = value * 10 + (byte - 48)
                digits += value > 0
                shift -= point
            elif not point:
                return 0, TOO_LARGE, point, fraction
            # Digits of a fraction beyond the eighteenth cannot matter after rounding to 1 us.
            fraction |= point and byte != 48
        elif byte == 46 and not point:
            point = True
        else:
            break
        i += 1
    if not any_digit:
        return 0, NO_NUMBER, point, fraction
    if i < stop and (data[i] == 101 or data[i] == 69):
        i += 1
        point = True
        down = False
        if i < stop and (data[i] == 43 or data[i] == 45):
            down = data[i] == 45
            i += 1
        if i >= stop or stop - i > 3:
            return 0, NO_NUMBER, point, fraction
        exponent = 0
        while i < stop and 48 <= data[i] <= 57:
            exponent = exponent * 10 + (data[i] - 48)
            i += 1
        shift += -exponent if down else exponent
        fraction, rest = False, value
        for _ in range(min(-shift, _MAX_DIGITS + 1)):
            fraction |= rest % 10 != 0
            rest //= 10
    if i < stop:
        return 0, NO_NUMBER, point, fraction
    shift += power
    while shift > 0 and value > 0:
        if value > 10**17:
            return 0, TOO_LARGE, point, fraction
        value *= 10
        shift -= 1
    last = 0
    while shift < 0 and (value > 0 or last > 0):
        last = value % 10
        value //= 10
        shift += 1
    if last >= 5:
        value += 1
    return (-value if negative else value), 0, point, fraction


@njit(cache=True, nogil=True)
def parse(
    data: npt.NDArray[np.uint8],
    delimiter: int,
    order: npt.NDArray[np.int64],
    fields: int,
    power: int,
    out: npt.NDArray[np.int64],
) -> Any:
    """Parse lines of events; empty lines and comments are skipped.

    Args:
        data: text, uint8 [bytes].
        delimiter: byte between fields, 0 for white space.
        order: place of x, y, t, p in a line, int64 [4].
        fields: fields that every line must have.
        power: times are multiplied by 10 to this power.
        out: x, y, t, p, int64 [4, lines], written from the start.

    Returns:
        fault (0 for none), line of the fault from 0, events, whether a time has a point, whether
        a time has a fraction other than zero.
    """
    i, line, rows, n = 0, 0, 0, len(data)
    decimal, any_fraction = False, False
    while i < n:
        end = i
        while end < n and data[end] != 10:
            end += 1
        while i < end and (data[i] == 32 or data[i] == 9 or data[i] == 13 or data[i] == 12):
            i += 1
        if i < end and data[i] != 35 and data[i] != 37:
            field = 0
            while i <= end:
                while i < end and (data[i] == 32 or data[i] == 9 or data[i] == 13 or data[i] == 12):
                    i += 1
                if i == end and delimiter == 0:
                    break
                start = i
                if delimiter == 0:
                    while i < end and data[i] != 32 and data[i] != 9 and data[i] != 13:
                        i += 1
                    stop = i
                else:
                    while i < end and data[i] != delimiter:
                        i += 1
                    stop = i
                    while stop > start and (data[stop - 1] == 32 or data[stop - 1] == 13):
                        stop -= 1
                for column in range(4):
                    if order[column] == field:
                        scale = power if column == 2 else 0
                        value, fault, point, fraction = _number(data, start, stop, scale)
                        if fault == 0 and column != 2 and fraction:
                            fault = FRACTION
                        if fault:
                            return fault, line, rows, decimal, any_fraction
                        out[column, rows] = value
                        if column == 2:
                            decimal |= point
                            any_fraction |= fraction
                field += 1
                i += 1
            if field != fields:
                return FEWER_FIELDS, line, rows, decimal, any_fraction
            rows += 1
        i = end + 1
        line += 1
    return 0, 0, rows, decimal, any_fraction
