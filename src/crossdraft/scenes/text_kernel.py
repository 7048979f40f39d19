"""The compiled pass over event text: whole-number arithmetic only, so that times are exact."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

FEWER_FIELDS, NO_NUMBER, TOO_LARGE, FRACTION, LARGE_PLACE = 1, 2, 3, 4, 5
_MAX_DIGITS = 18
_MAX_PLACE = 2**31 - 1
_WORDS = (np.frombuffer(b"false", np.uint8), np.frombuffer(b"true", np.uint8))


@njit(cache=True, nogil=True)
def _ends_line(data: Any, i: int) -> bool:
    """Whether byte i ends a line: LF, or a CR that no LF follows."""
    byte = data[i]
    return byte == 10 or (byte == 13 and (i + 1 == len(data) or data[i + 1] != 10))


@njit(cache=True, nogil=True)
def _is_space(byte: int) -> bool:
    return byte <= 32 and (byte == 32 or byte == 9 or byte == 13 or byte == 12)


@njit(cache=True, nogil=True)
def count_lines(data: npt.NDArray[np.uint8]) -> int:
    """Lines of a text, the last one with or without its line end."""
    lines = 1
    for i in range(len(data) - 1):  # bitwise, so that it is vectorised
        lines += (data[i] == 10) | ((data[i] == 13) & (data[i + 1] != 10))
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
def _truth(data: Any, start: int, stop: int) -> int:
    """1 for true, 0 for false, in any case of letters; -1 for anything else."""
    for value, word in enumerate(_WORDS):
        same = stop - start == len(word)
        for i in range(len(word)):
            same = same and data[start + i] | 32 == word[i]
        if same:
            return value
    return -1


@njit(cache=True, nogil=True)
def parse(
    data: npt.NDArray[np.uint8],
    delimiter: int,
    order: npt.NDArray[np.int64],
    fields: int,
    power: int,
    xyp: npt.NDArray[np.int32],
    t: npt.NDArray[np.int64],
) -> Any:
    """Parse lines of events; empty lines and comments are skipped.

    Args:
        data: text, uint8 [bytes].
        delimiter: byte between fields, 0 for white space.
        order: place of x, y, t, p in a line, int64 [4].
        fields: fields that every line must have.
        power: times are multiplied by 10 to this power.
        xyp: x, y and p, int32 [3, lines], written from the start; p may be true or false.
        t: times, int64 [lines], written from the start.

    Returns:
        fault (0 for none), line of the fault from 0, events, whether a time has a point, whether
        a time has a fraction other than zero.
    """
    i, line, rows, n = 0, 0, 0, len(data)
    decimal, any_fraction = False, False
    while i < n:
        end = i
        while end < n and (data[end] > 13 or not _ends_line(data, end)):  # > 13 for speed
            end += 1
        while i < end and _is_space(data[i]):
            i += 1
        if i < end and data[i] != 35 and data[i] != 37:
            field = 0
            while i <= end:
                while i < end and _is_space(data[i]):
                    i += 1
                if i == end and delimiter == 0:
                    break
                start = i
                if delimiter == 0:
                    while i < end and not _is_space(data[i]):
                        i += 1
                    stop = i
                else:
                    while i < end and data[i] != delimiter:
                        i += 1
                    stop = i
                    while stop > start and _is_space(data[stop - 1]):
                        stop -= 1
                for column in range(4):
                    if order[column] == field:
                        scale = power if column == 2 else 0
                        value, fault, point, fraction = _number(data, start, stop, scale)
                        if fault == NO_NUMBER and column == 3:
                            value = _truth(data, start, stop)
                            fault = 0 if value >= 0 else NO_NUMBER
                        if fault == 0 and column != 2:
                            if fraction:
                                fault = FRACTION
                            elif abs(value) > _MAX_PLACE:
                                fault = LARGE_PLACE
                        if fault:
                            return fault, line, rows, decimal, any_fraction
                        if column == 2:
                            t[rows] = value
                            decimal |= point
                            any_fraction |= fraction
                        else:
                            xyp[min(column, 2), rows] = value
                field += 1
                i += 1
            if field != fields:
                return FEWER_FIELDS, line, rows, decimal, any_fraction
            rows += 1
        i = end + 1
        line += 1
    return 0, 0, rows, decimal, any_fraction
