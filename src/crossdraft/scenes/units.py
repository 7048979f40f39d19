"""Durations as people write them: `500ms`, `1s`, `50000us`. Inside, every time is whole µs."""

from __future__ import annotations

import re
from fractions import Fraction

from crossdraft.base.errors import InputError

#: Micro is written with the micro sign (U+00B5) or the Greek letter (U+03BC).
_UNITS_US = {"us": 1, "\u00b5s": 1, "\u03bcs": 1, "ms": 1_000, "s": 1_000_000}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)\s*(us|\u00b5s|\u03bcs|ms|s)", re.ASCII)


def parse_duration_us(text: str, where: str = "duration") -> int:
    """Whole microseconds of `500ms`, `1s`, `0.5s` or `50000us`.

    Raises:
        InputError: no such unit, not positive, or not a whole number of microseconds.
    """
    match = _PATTERN.fullmatch(text.strip())
    value = Fraction(match[1]) * _UNITS_US[match[2]] if match else Fraction(0)
    if value <= 0 or value.denominator != 1 or value > 10**12:
        raise InputError(
            f"not a duration: {text!r}",
            where=where,
            expected="a positive number with a unit, such as 500ms, 1s or 50000us",
        )
    return int(value)


def format_duration(duration_us: int) -> str:
    """The shortest whole form: 500000 -> `500ms`, 2000000 -> `2s`, 1500 -> `1500us`."""
    for unit in ("s", "ms"):
        if duration_us % _UNITS_US[unit] == 0:
            return f"{duration_us // _UNITS_US[unit]}{unit}"
    return f"{duration_us}us"
