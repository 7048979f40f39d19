"""Events as text: one event a line, plain or gzip, parsed by one compiled pass.

Without a header white space separates `t x y p` (the text files of the RPG data sets, of ESIM and
v2e; https://rpg.ifi.uzh.ch/davis_data.html) and commas `x,y,p,t` (Prophesee's CSV export). A line
of names, also as a comment, says otherwise. t is in microseconds, and in seconds where any of them
has a decimal point, be it `100.0`; a name such as `t_ns` or `time [ms]` fixes the unit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.base.files import read_bytes
from crossdraft.scenes import text_kernel as kernel
from crossdraft.scenes.event_columns import EXPECTED, is_column, named_columns
from crossdraft.scenes.events import EventStream

#: Power of ten that turns a unit into microseconds, and the unit's spellings; micro is the micro
#: sign or the Greek letter.
_UNITS = {
    0: "us|\u00b5s|\u03bcs|usecs?|microsec(?:ond)?s?", 3: "ms|msecs?|millisec(?:ond)?s?",
    6: "s|sec(?:ond)?s?", -3: "ns|nsecs?|nanosec(?:ond)?s?",
}  # fmt: skip
_NAME = re.compile(
    rf"(?P<name>[a-z][a-z_]*?)(?:[ _]?[\[(]?(?P<unit>{'|'.join(_UNITS.values())})[\])]?)?"
)
#: Such as `Format:`, before the names in a comment.
_LEADING_WORD = re.compile(r"^\w+\s*:\s*")
#: A unit in brackets that white space parts from its name.
_PARTED_UNIT = re.compile(r"(?<=\w)\s+(?=[\[(][^\s\])]*[\])])")
_TRUTH = re.compile(r"(true|false)\b", re.IGNORECASE)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_GEOMETRY = re.compile(r"geometry[:\s]+(\d{1,5})\s*[,x]\s*(\d{1,5})")
#: Lines that may come before the first event.
_MAX_HEADER_LINES = 10_000
#: Whole seconds beyond this, all without a fraction, are more likely another unit.
_SUSPICIOUS_S = 1_000
_SECONDS = 6
_NAME_THEM = "name the columns in the first line, such as t,x,y,p"
#: Fields beyond the four where no header names them; more are a sign of another layout.
_MAX_SURPLUS = 2

_FAULTS = {
    kernel.FEWER_FIELDS: ("fewer or more fields than the first event", "the same columns"),
    kernel.NO_NUMBER: ("a field is no number", "plain numbers"),
    kernel.TOO_LARGE: ("a number is too large", "at most 18 digits"),
    kernel.FRACTION: ("a coordinate or polarity has a fraction", "whole numbers"),
    kernel.LARGE_PLACE: ("a coordinate or polarity is too large", "pixels and polarities"),
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

    @property
    def doubt(self) -> str:
        """To be said where values are odd and the file does not name its columns."""
        columns = "x,y,p,t" if self.delimiter else "t x y p"
        return "" if self.named else f" if the columns are {columns}"


def read_text_events(path: Path, sensor: tuple[int, int] | None = None) -> EventStream:
    """Read events from text or CSV.

    Times are rounded to whole microseconds. Without a header up to two fields beyond the four (v2e
    can label noise) are skipped; with one, all that it names.

    Raises:
        InputError: a line does not parse (it is named), no events, or events that `checked`
            refuses.
    """
    data = read_bytes(path).removeprefix(b"\xef\xbb\xbf")
    layout = _layout(data, path)
    if layout is None:
        raise InputError("no events in the file", where=path, expected="one event a line")
    x, y, t, p = _parse(np.frombuffer(data, np.uint8), layout, path)
    del data  # not needed while the columns are converted
    if len(p) and not layout.named and (p.min() < -1 or p.max() > 1):
        place = int(np.argmax((p < -1) | (p > 1)))
        raise InputError(
            f"event {place:,} has p = {p[place]}{layout.doubt}",
            where=path,
            expected="polarities 0 and 1 or -1 and +1",
            hint=_NAME_THEM,
        )
    return EventStream.checked(x, y, t, p, sensor=sensor or layout.sensor, where=path)


def _parse(
    data: npt.NDArray[np.uint8], layout: _Layout, path: Path
) -> tuple[npt.NDArray[Any], ...]:
    """Columns x, y, t, p; t in microseconds and int64, which nothing else keeps in memory."""
    body = data[layout.start :]
    lines = kernel.count_lines(body)
    xyp, t = np.empty((3, lines), np.int32), np.empty(lines, np.int64)
    order = np.array(layout.order, np.int64)
    exponent = 0 if layout.exponent is None else layout.exponent

    def run(power: int) -> tuple[int, int, int, bool, bool]:
        found: tuple[int, int, int, bool, bool] = kernel.parse(
            body, layout.delimiter, order, layout.fields, power, xyp, t
        )
        return found

    fault, line, rows, decimal, fraction = run(exponent)
    if layout.exponent is None and decimal:
        fault, line, rows, _, fraction = run(_SECONDS)
        last_s = t[rows - 1] // 10**6 if rows else 0
        if not fault and not fraction and abs(last_s) > _SUSPICIOUS_S:
            raise InputError(
                "times with a decimal point and never a fraction; seconds or microseconds?",
                where=path,
                expected="seconds with a fraction, or whole microseconds",
                hint="name the unit in a first line, such as t_us,x,y,p",
            )
    if fault:
        found, expected = _FAULTS[fault]
        doubt = layout.doubt if fault in (kernel.FRACTION, kernel.LARGE_PLACE) else ""
        shown = _line(data, layout.start, line)
        raise InputError(
            f"line {layout.line + line}: {found}{doubt} ({shown!r})",
            where=path,
            expected=f"{expected} in every line",
            hint=_NAME_THEM if doubt else "was the file cut while it was written or copied?",
        )
    t.resize(rows, refcheck=False)  # gives the rest back without a copy
    x, y, p = xyp[:, :rows]
    return x, y, t, p


def _line(data: npt.NDArray[np.uint8], start: int, line: int) -> str:
    """Text of a line for an error, shortened."""
    raw = _LINE_END.split(data[start:].tobytes(), line + 1)[line]
    text = raw.decode("utf-8", "replace").strip()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _layout(data: bytes, path: Path) -> _Layout | None:
    """Look at the lines up to the first event; None where there is none."""
    start, names, sensor = 0, None, None
    for number in range(1, _MAX_HEADER_LINES + 1):
        if start >= len(data):
            return None
        line_end = _LINE_END.search(data, start)
        end, after = line_end.span() if line_end else (len(data), len(data))
        text = data[start : min(end, start + 4096)].decode("utf-8", "replace").strip()
        bare = text.lstrip("#%! ").strip()
        if match := _GEOMETRY.search(bare):
            sensor = int(match[1]), int(match[2])
        elif not text or text[0] in "#%":
            found = _header(bare)
            if found and (found.sure or names is None):
                names = found
        elif (text[0].isalpha() and not _TRUTH.match(text)) or text[0] in "\"',;":
            found = _header(text)
            names = found and found._replace(sure=True)
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
        start = after
    raise InputError(f"no event in the first {_MAX_HEADER_LINES:,} lines", where=path)


class _Names(NamedTuple):
    places: tuple[int, int, int, int]  #: of x, y, t, p
    exponent: int | None  #: as in the layout
    n_names: int  #: names in the line
    sure: bool  #: whether it can be nothing but a header; a comment may be prose


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
    shown = f"line {number}: {fields} fields ({text[:60]!r})"
    if names and not names.sure:
        if fields == names.n_names:
            raise InputError(
                f"{shown} after a comment that may name them",
                where=path,
                expected=f"t, x, y and p alone in the comment, or {EXPECTED}",
                hint="name the columns in a first line that is no comment",
            )
        names = None
    if names and fields != names.n_names:
        raise InputError(
            shown, where=path, expected=f"{names.n_names} fields, as the header has",
            hint="name every column in the first line",
        )  # fmt: skip
    if not names and not 4 <= fields <= 4 + _MAX_SURPLUS:
        raise InputError(shown, where=path, expected=EXPECTED, hint=_NAME_THEM)
    usual = (0, 1, 3, 2) if delimiter else (1, 2, 0, 3)
    return _Layout(
        start, number, ord(delimiter) if delimiter else 0, names.places if names else usual,
        fields, names.exponent if names else None, names is not None, sensor,
    )  # fmt: skip


def _header(text: str) -> _Names | None:
    """What a line says of the columns; None if it does not name all four."""
    text = _PARTED_UNIT.sub("", _LEADING_WORD.sub("", text))
    delimiter = next((mark for mark in ",;" if mark in text), None)
    words = [word.strip().strip("\"'").lower() for word in text.split(delimiter)]
    matches = [_NAME.fullmatch(word) for word in words]
    plain = [_plain_name(word, match) for word, match in zip(words, matches, strict=True)]
    found = named_columns(plain)
    if found is None or len(words) > 16:
        return None
    x, y, t, p = (plain.index(found[column]) for column in "xytp")
    match = matches[t]
    unit = match["unit"] if match and plain[t] != words[t] else None
    exponents = (power for power, spelling in _UNITS.items() if re.fullmatch(spelling, unit or ""))
    sure = delimiter is not None or all(is_column(name) for name in plain)
    return _Names((x, y, t, p), next(exponents, None), len(words), sure)


def _plain_name(word: str, match: re.Match[str] | None) -> str:
    """The name without its unit; `ts` and `times` are names, not `t` and `time` in seconds."""
    if match is None or not match["unit"]:
        return word
    marked = len(word) - len(match["name"]) - len(match["unit"]) > 0
    return match["name"] if marked else word
