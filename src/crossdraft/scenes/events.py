"""The event stream: what an event camera says, checked once, sliced without copying.

An event camera reports single pixels whose brightness changed: where (x, y), when (t), and in
which direction (p: 1 brighter, 0 darker). `EventStream.checked` is the only door for data from
outside; slices of a stream are views of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from crossdraft.base.errors import InputError

#: DSEC and EventGPT: width, height in pixels. Assumed where a file does not name its sensor.
DEFAULT_SENSOR = (640, 480)

Whole = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class EventStream:
    """Events in time order.

    Attributes:
        x, y: column and row, uint16 [events].
        t: time in microseconds on the recording's own clock, int64 [events], never falling.
        p: polarity, uint8 [events], 1 brighter, 0 darker.
        width, height: sensor size in pixels.

    The constructor trusts its arguments; data from outside goes through `checked`.
    """

    x: npt.NDArray[np.uint16]
    y: npt.NDArray[np.uint16]
    t: npt.NDArray[np.int64]
    p: npt.NDArray[np.uint8]
    width: int
    height: int

    @classmethod
    def checked(
        cls,
        x: Any,
        y: Any,
        t: Any,
        p: Any,
        *,
        sensor: tuple[int, int] | None = None,
        where: str | Path | None = None,
        first: int = 0,
    ) -> EventStream:
        """Check and convert columns of any integer type; polarity may be 0/1, -1/+1 or bool.

        Arrays that already have the right type are kept, not copied.

        Args:
            x, y, t, p: columns of equal length.
            sensor: width and height; without it 640x480 is assumed.
            where: file named in errors.
            first: number of the first of these events in that file, for errors.

        Raises:
            InputError: lengths differ, a column is not one-dimensional or not whole numbers, an
                event lies outside the sensor, time falls, a polarity is none of the known ones.
        """
        columns = {"x": x, "y": y, "t": t, "p": p}
        arrays = {name: np.asarray(column) for name, column in columns.items()}
        check_columns(arrays, where)
        arrays = {name: _native(array) for name, array in arrays.items()}
        width, height = sensor or DEFAULT_SENSOR
        _check_sensor(width, height, where)
        for name, size in (("x", width), ("y", height)):
            _check_bounds(name, arrays[name], size, sensor is None, where, first)
        _check_order(arrays["t"], where, first)
        return cls(
            arrays["x"].astype(np.uint16, copy=False),
            arrays["y"].astype(np.uint16, copy=False),
            _as_int64(arrays["t"], where),
            _polarity(arrays["p"], where, first),
            width,
            height,
        )

    @classmethod
    def empty(cls, sensor: tuple[int, int] = DEFAULT_SENSOR) -> EventStream:
        """A stream without events."""
        return cls(
            np.empty(0, np.uint16), np.empty(0, np.uint16), np.empty(0, np.int64),
            np.empty(0, np.uint8), *sensor,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[EventStream]) -> EventStream:
        """Streams of one sensor as one: at least one, none beginning before the last has ended."""
        x, y, t, p = (np.concatenate([getattr(part, name) for part in parts]) for name in "xytp")
        return cls(x, y, t, p, *parts[0].sensor)

    def __len__(self) -> int:
        return len(self.t)

    @property
    def sensor(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def span_us(self) -> int:
        """Time from the first to the last event, 0 for fewer than two."""
        return int(self.t[-1] - self.t[0]) if len(self) else 0

    @property
    def nbytes(self) -> int:
        """Bytes of the four columns."""
        return self.x.nbytes + self.y.nbytes + self.t.nbytes + self.p.nbytes

    def slice(self, start: int, stop: int) -> EventStream:
        """Events `start` to `stop` by index, as views."""
        part = slice(start, stop)
        return EventStream(
            self.x[part], self.y[part], self.t[part], self.p[part], self.width, self.height
        )

    def between(self, start_us: int, end_us: int) -> EventStream:
        """Events with start_us <= t < end_us, as views."""
        return self.slice(*(int(i) for i in np.searchsorted(self.t, (start_us, end_us))))

    def copy(self) -> EventStream:
        """The same events in memory of their own."""
        return EventStream(
            self.x.copy(), self.y.copy(), self.t.copy(), self.p.copy(), self.width, self.height
        )

    def shifted(self, offset_us: int) -> EventStream:
        """The same events with every time moved by `offset_us`."""
        return EventStream(self.x, self.y, self.t + offset_us, self.p, self.width, self.height)


def check_columns(columns: Mapping[str, Any], where: str | Path | None) -> int:
    """Number of events of columns that have a type and a shape, be they read or not.

    Raises:
        InputError: not one whole number per event, or columns of different length.
    """
    for name, column in columns.items():
        if column.ndim != 1 or column.dtype.kind not in "iub":
            raise InputError(
                f"{name} is an array of {column.dtype} with {column.ndim} dimensions",
                where=where,
                expected="one whole number per event",
            )
    lengths = {name: int(column.shape[0]) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise InputError(
            "columns of different length: "
            + ", ".join(f"{name} {length:,}" for name, length in lengths.items()),
            where=where,
            expected="one x, y, t and p per event",
            hint="was the file cut while it was written or copied?",
        )
    return lengths["t"]


def _native(array: Whole) -> Whole:
    """Foreign byte order is legal in files and refused by the compiled checks."""
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return native.view(np.uint8) if native.dtype == np.bool_ else native


def _check_sensor(width: int, height: int, where: str | Path | None) -> None:
    if not (0 < width <= 65536 and 0 < height <= 65536):
        raise InputError(
            f"a sensor of {width}x{height} pixels",
            where=where,
            expected="width and height from 1 to 65536",
        )


def _check_bounds(
    name: str, array: Whole, size: int, assumed: bool, where: str | Path | None, first: int
) -> None:
    if not len(array) or (array.min() >= 0 and array.max() < size):
        return
    place = int(np.argmax((array < 0) | (array >= size)))
    sensor = "x".join(map(str, DEFAULT_SENSOR))
    raise InputError(
        f"event {first + place:,} has {name} = {array[place]}",
        where=where,
        expected=f"{name} from 0 to {size - 1}"
        + (f" (the file names no sensor; {sensor} is assumed)" if assumed else ""),
        hint="name the sensor's size, such as --sensor 1280x720" if assumed else None,
    )


def _check_order(t: Whole, where: str | Path | None, first: int) -> None:
    if _falls(t):
        place = int(np.argmax(t[1:] < t[:-1])) + 1
        raise InputError(
            f"event {first + place:,} has t = {t[place]}, the one before it {t[place - 1]}",
            where=where,
            expected="events in time order, in microseconds",
            hint="sort the file by time; a 16- or 32-bit clock may have wrapped around",
        )


def _as_int64(t: Whole, where: str | Path | None) -> npt.NDArray[np.int64]:
    if t.dtype == np.uint64 and len(t) and int(t[-1]) > np.iinfo(np.int64).max:
        raise InputError(f"t = {t[-1]} is no time", where=where, expected="microseconds below 2^63")
    return t.astype(np.int64, copy=False)


def _polarity(p: Whole, where: str | Path | None, first: int) -> npt.NDArray[np.uint8]:
    """0/1 as it is, -1/+1 as 0/1."""
    lowest, highest = (int(p.min()), int(p.max())) if len(p) else (0, 0)
    if lowest == -1 and highest <= 1 and not (p == 0).any():
        return (p > 0).astype(np.uint8)
    if lowest < 0 or highest > 1:
        wrong = (p < -1) | (p > 1)
        # Where no value is wrong by itself, 0 and -1 are mixed: the first of each is shown.
        masks = [wrong] if wrong.any() else [p == 0, p < 0]
        places = sorted(int(np.argmax(mask)) for mask in masks)
        raise InputError(
            ", ".join(f"event {first + place:,} has p = {p[place]}" for place in places),
            where=where,
            expected="polarities 0 and 1, -1 and +1, or true and false",
        )
    return p.astype(np.uint8, copy=False)


@njit(cache=True, nogil=True)
def _falls(t: Whole) -> bool:
    fall = False
    for i in range(1, len(t)):  # without a way out of the loop it is vectorised
        fall |= t[i] < t[i - 1]
    return fall
