"""Events as text: one event a line, plain or gzip, parsed by one compiled pass.

Without a header white space separates `t x y p` (the text files of the RPG data sets, of ESIM and
v2e; https://rpg.ifi.uzh.ch/davis_data.html) and commas `x,y,p,t` (Prophesee's CSV export). A line
of names, also as a comment, says otherwise. t is in microseconds, and in seconds where it has a
decimal point; a name such as `t_ns` or `time [ms]` fixes the unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.base.files import read_bytes
from crossdraft.scenes import text_kernel as kernel
from crossdraft.scenes.event_columns import EXPECTED, named_columns
from crossdraft.scenes.events import EventStream

_NAME = re.compile(r"(?P<name>[a-z][a-z_]*?)(?:[ _]?[\[(]?(?P<unit>us|µs|ms|ns|s|sec)[\])]?)?")
#: Power of ten that turns a unit into microseconds.
_EXPONENTS = {"us": 0, "µs": 0, "ms": 3, "s": 6, "sec": 6, "ns": -3}
_GEOMETRY = re.compile(r"geometry[:\s]+(\d{1,5})\s*[,x]\s*(\d{1,5})")
#: Lines that may come before the first event.
_MAX_HEADER_LINES = 10_000
#: Whole seconds beyond this, all without a fraction, are more likely another unit.
_SUSPICIOUS_S = 1_000

_FAULTS = {
    kernel.FEWER_FIELDS: ("fewer or more fields than the first event", "the same columns"),
    kernel.NO_NUMBER: ("a field is no number", "plain numbers"),
    kernel.TOO_LARGE: ("a number is too large", "at most 18 digits"),
    kernel.FRACTION: ("a coordinate or polarity has a fraction", "whole numbers"),
}


@dataclass(frozen=True)
class _Layout:
    """How the lines are to be read, from the lines before the first event."""

    start: int  #: byte of the first event
    line: int  #: number of that line, from 1
    delimiter: int  #: byte between fields, 0 for white space
    order: tuple[int, int, int, int]  #: place of x, y, t, p in a line
    fields: int  #: fields of a line
    exponent: int | None  #: power of ten from the file's unit to microseconds, if it is named
    named: bool  #: whether the file names its columns
    sensor: tuple[int, int] | None


def read_text_events(path: Path, sensor: tuple[int, int] | None = None) -> EventStream:
    """Read events from text or CSV.

    Times are rounded to whole microseconds. Fields beyond the four (v2e can label noise) are
    skipped.

    Raises:
        InputError: a line does not parse (it is named), no events, or events that `checked`
            refuses.
    """
    data = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    layout = _layout(data, path)
    if layout is None:
        raise InputError("no events in the file", where=path, expected="one event a line")
    columns = _parse(np.frombuffer(data, np.uint8), layout, path)
    x, y, t, p = (columns[i] for i in range(4))
    if len(p) and not layout.named and (p.min() < -1 or p.max() > 1):
        place = int(np.argmax((p < -1) | (p > 1)))
        guess = "t x y p" if layout.delimiter == 0 else "x,y,p,t"
        raise InputError(
            f"event {place:,} has p = {p[place]} if the columns are {guess}",
            where=path,
            expected="polarities 0 and 1 or -1 and +1",
            hint="name the columns in the first line, such as t,x,y,p",
        )
    return EventStream.checked(x, y, t, p, sensor=sensor or layout.sensor, where=path)


def _parse(data: npt.NDArray[np.uint8], layout: _Layout, path: Path) -> npt.NDArray[np.int64]:
    """Columns x, y, t, p, int64 [4, events], t in microseconds."""
    body = data[layout.start :]
    out = np.empty((4, kernel.count_lines(body)), np.int64)
    order = np.array(layout.order, np.int64)
    exponent = 0 if layout.exponent is None else layout.exponent

    def run(power: int) -> tuple[int, int, int, bool, bool]:
        found: tuple[int, int, int, bool, bool] = kernel.parse(
            body, layout.delimiter, order, layout.fields, power, out
        )
        return found

    fault, line, rows, decimal, fraction = run(exponent)
    if layout.exponent is None and decimal:
        fault, line, rows, _, fraction = run(_EXPONENTS["s"])
        last_s = out[2, rows - 1] // 10**6 if rows else 0
        if not fault and not fraction and abs(last_s) > _SUSPICIOUS_S:
            raise InputError(
                "times with a decimal point and never a fraction; seconds or microseconds?",
                where=path,
                expected="seconds with a fraction, or whole microseconds",
                hint="name the unit in a first line, such as t_us,x,y,p",
            )
    if fault:
        found, expected = _FAULTS[fault]
        shown = _line(data, layout.start, line)
        raise InputError(
            f"line {layout.line + line}: {found} ({shown!r})",
            where=path,
            expected=f"{expected} in every line",
            hint="was the file cut while it was written or copied?",
        )
    columns: npt.NDArray[np.int64] = out[:, :rows]
    return columns


def _line(data: npt.NDArray[np.uint8], start: int, line: int) -> str:
    """Text of a line for an error, shortened."""
    raw = data[start:].tobytes().split(b"\n", line + 1)[line]
    text = raw.decode("utf-8", "replace").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _layout(data: bytes, path: Path) -> _Layout | None:
    """Look at the lines up to the first event; None where there is none."""
    start, names, sensor = 0, None, None
    for number in range(1, _MAX_HEADER_LINES + 1):
        if start >= len(data):
            return None
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        text = data[start : min(end, start + 4096)].decode("utf-8", "replace").strip()
        bare = text.lstrip("#%! ").strip()
        if match := _GEOMETRY.search(bare):
            sensor = int(match[1]), int(match[2])
        elif not text or text[0] in "#%":
            names = _header(bare) or names
        elif text[0].isalpha() or text[0] in "\"'":
            names = _header(text)
            if names is None:
                raise InputError(
                    f"line {number}: not an event and not the names of columns ({text[:60]!r})",
                    where=path,
                    expected=EXPECTED,
                )
        elif size := re.fullmatch(r"(\d{1,5})[\s,]+(\d{1,5})", text):
            # The event-to-video tools of RPG open a file with the sensor's size.
            sensor = int(size[1]), int(size[2])
        else:
            return _first_event(text, start, number, names, sensor, path)
        start = end + 1
    raise InputError(f"no event in the first {_MAX_HEADER_LINES:,} lines", where=path)


_Names = tuple[dict[str, int], int | None, int]


def _first_event(
    text: str,
    start: int,
    number: int,
    names: _Names | None,
    sensor: tuple[int, int] | None,
    path: Path,
) -> _Layout:
    delimiter = next((mark for mark in ",;" if mark in text), "")
    fields = len(text.split(delimiter) if delimiter else text.split())
    if names:
        places, exponent, n_names = names
        order = tuple(places[column] for column in "xytp")
        wanted = n_names
    else:
        exponent, wanted = None, 4
        order = (0, 1, 3, 2) if delimiter else (1, 2, 0, 3)
    if fields < wanted or (names and fields > wanted):
        raise InputError(
            f"line {number}: {fields} fields ({text[:60]!r})",
            where=path,
            expected=f"{wanted} fields, as the header has" if names else EXPECTED,
        )
    return _Layout(
        start, number, ord(delimiter) if delimiter else 0, (order[0], order[1], order[2], order[3]),
        fields, exponent, names is not None, sensor,
    )  # fmt: skip


def _header(text: str) -> _Names | None:
    """Places of the columns, exponent of the unit of t, number of names; None if it is no header.

    A comment counts only if it names all four columns and looks like a list of names.
    """
    delimiter = next((mark for mark in ",;" if mark in text), None)
    words = [word.strip().strip("\"'").lower() for word in text.split(delimiter)]
    matches = [_NAME.fullmatch(word) for word in words]
    plain = [_plain_name(word, match) for word, match in zip(words, matches, strict=True)]
    found = named_columns(plain)
    if found is None or len(words) > 16:
        return None
    places = {column: plain.index(name) for column, name in found.items()}
    match: Any = matches[places["t"]]
    unit = match["unit"] if match and plain[places["t"]] != words[places["t"]] else None
    return places, _EXPONENTS[unit] if unit else None, len(words)


def _plain_name(word: str, match: re.Match[str] | None) -> str:
    """The name without its unit; `ts` and `times` are names, not `t` and `time` in seconds."""
    if match is None or not match["unit"]:
        return word
    marked = len(word) - len(match["name"]) - len(match["unit"]) > 0
    return match["name"] if marked else word
