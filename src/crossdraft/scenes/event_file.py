"""Events in HDF5 as DSEC stores them, read by slice and never as a whole.

Layout (DSEC, Gehrig et al., 2021): `events/{x,y,t,p}` with t in microseconds since the scalar
`t_offset`, and `ms_to_idx`, whose entry k is the first event with t >= 1000 k. Both extras may be
missing. The four columns may also lie at the root, under other common names, or side by side in one
table `events`, as the simulator v2e writes it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.event_layout import (
    MAX_TIME_US,
    check_stored,
    common_length,
    find_columns,
    hdf5_faults,
    read_index,
    read_offset,
    read_sensor,
)
from crossdraft.scenes.events import DEFAULT_SENSOR, EventStream

#: Times read at once while a border is searched; a millisecond of a busy sensor is well below.
_SEARCH_BLOCK = 1 << 16


class EventFile:
    """One open event file; a context manager.

    A window costs its own bytes, four more per event while times are widened, and the chunks that
    HDF5 keeps (8 MiB a column by default). Times are absolute: t + t_offset, in microseconds.

    Args:
        path: HDF5 file.
        sensor: width and height; without it the file's attributes `width` and `height` count, and
            without those 640x480 is assumed.

    Raises:
        InputError: no such file, not HDF5, damaged, without events or without one of the columns.
    """

    def __init__(self, path: Path, sensor: tuple[int, int] | None = None) -> None:
        self.path = path
        if not path.is_file():
            raise InputError("no such file", where=path, hint="check the path")
        with contextlib.ExitStack() as stack, hdf5_faults(path):
            # Locks fail on read-only and network disks, and nobody writes to these files.
            self._file = stack.enter_context(h5py.File(path, "r", locking=False))
            self._columns = find_columns(self._file, path)
            self._length = common_length(self._columns, path)
            self._offset_us = read_offset(self._file, path)
            self._named_sensor = sensor or read_sensor(self._file, path)
            for name, column in self._columns.items():
                check_stored(name, column, path)
            first, last = int(self._times(0, 1)[0]), int(self._times(-1, None)[0])
            if not -MAX_TIME_US < first <= last < MAX_TIME_US:
                raise InputError(
                    f"the first event has t = {first}, the last {last}",
                    where=path,
                    expected="events in time order, in microseconds",
                )
            self._index = read_index(self._file, self._length, last)
            self.start_us, self.end_us = first + self._offset_us, last + self._offset_us
            stack.pop_all()

    def __enter__(self) -> EventFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._length

    @property
    def sensor(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._named_sensor or DEFAULT_SENSOR

    def window(self, start_us: int, end_us: int) -> EventStream:
        """Events with start_us <= t < end_us, absolute; no events is a valid answer.

        Raises:
            InputError: the window is empty or reversed, or its events are damaged or out of order.
        """
        if start_us >= end_us:
            raise InputError(
                f"a window from {start_us} to {end_us} us",
                where=self.path,
                expected="an end after the start",
            )
        with hdf5_faults(self.path):
            first = self._border(start_us - self._offset_us)
            stop = self._border(end_us - self._offset_us)
            return self._read(first, stop)

    def read(self) -> EventStream:
        """All events.

        Raises:
            InputError: the events are damaged or out of order.
        """
        with hdf5_faults(self.path):
            return self._read(0, self._length)

    def count(self, start_us: int, end_us: int) -> int:
        """Number of events in a window, both ends floored to whole milliseconds of the file.

        As the file's index says, without reading events; without one the borders are searched.
        """
        with hdf5_faults(self.path):
            first, stop = (self._estimate(time - self._offset_us) for time in (start_us, end_us))
        return max(0, stop - first)

    def _estimate(self, time_us: int) -> int:
        """Border as the index gives it, floored to a millisecond; searched without an index."""
        if self._index is None:
            return self._border(time_us)
        if time_us > self.end_us - self._offset_us:
            return self._length
        return self._bracket(time_us, self._index)[0]

    def _read(self, first: int, stop: int) -> EventStream:
        x, y, p = (self._columns[name][first:stop] for name in ("x", "y", "p"))
        t = self._times(first, stop)
        t += self._offset_us
        return EventStream.checked(
            x, y, t, p, sensor=self._named_sensor, where=self.path, first=first
        )

    def _times(self, first: int, stop: int | None) -> npt.NDArray[np.int64]:
        """Times as stored, widened before anything is added to them."""
        if first < 0:
            first += self._length
        times = self._columns["t"][first:stop]
        if times.dtype == np.uint64 and len(times) and int(times.max()) >= MAX_TIME_US:
            raise InputError(f"t = {times.max()} is no time", where=self.path)
        wide: npt.NDArray[np.int64] = times.astype(np.int64)
        return wide

    def _border(self, time_us: int) -> int:
        """First event at or after a time of the file's own clock.

        The index only proposes where to look. The events on both sides of the border decide, so a
        wrong index costs time and never gives a wrong window.
        """
        time_us = max(-MAX_TIME_US, min(time_us, MAX_TIME_US))
        if self._index is not None:
            border = self._search(time_us, *self._bracket(time_us, self._index))
            if border is not None:
                return border
        border = self._search(time_us, 0, self._length)
        if border is None:
            raise InputError(
                f"times are not in order around t = {time_us}",
                where=self.path,
                expected="events in time order, in microseconds",
            )
        return border

    def _bracket(self, time_us: int, index: npt.NDArray[np.int64]) -> tuple[int, int]:
        """Events between which the border lies if the index is right."""
        millisecond = time_us // 1000
        if millisecond < 0:
            return 0, 0
        low = int(index[min(millisecond, len(index) - 1)])
        has_next = millisecond + 1 < len(index)
        return low, int(index[millisecond + 1]) if has_next else self._length

    def _search(self, time_us: int, low: int, high: int) -> int | None:
        """Border within [low, high]; None if the events beside it contradict."""
        while high - low > _SEARCH_BLOCK:
            middle = (low + high) // 2
            if self._times(middle, middle + 1)[0] < time_us:
                low = middle + 1
            else:
                high = middle
        # One event more on each side proves that the border is one.
        start, stop = max(0, low - 1), min(self._length, high + 1)
        times = self._times(start, stop)
        place = int(np.searchsorted(times, time_us))
        left_holds = place > 0 or start == 0
        right_holds = place < len(times) or stop == self._length
        # On a block out of order the search ends anywhere; both neighbours must agree.
        if place > 0 and times[place - 1] >= time_us:
            return None
        if place < len(times) and times[place] < time_us:
            return None
        return start + place if left_holds and right_holds else None
