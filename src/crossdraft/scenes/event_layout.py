"""What an HDF5 event file declares about itself, checked before any event is read."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers the Blosc filter of DSEC)
import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.event_columns import EXPECTED, named_columns
from crossdraft.scenes.events import EventStream, check_columns

#: An index longer than this (27 hours) is not loaded; the times are searched instead.
_MAX_INDEX = 100_000_000
#: Times and offsets below this can be added without overflow.
MAX_TIME_US = 1 << 62


@contextlib.contextmanager
def hdf5_faults(path: Path) -> Iterator[None]:
    """Turn what h5py raises on damaged files, which is nearly anything, into our error."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        detail = str(error).split("\n")[0][:200]
        raise InputError(
            f"not a readable HDF5 event file ({type(error).__name__}: {detail})",
            where=path,
            expected="a complete file in the layout of DSEC's events.h5",
            hint="copy or download the file again",
        ) from error


class TableColumn:
    """One column of a table [events, columns], with what is used of a dataset [events]."""

    ndim = 1

    def __init__(self, table: Any, place: int) -> None:
        self.table, self._place = table, place
        self.dtype, self.shape = table.dtype, table.shape[:1]

    def __getitem__(self, events: slice) -> npt.NDArray[Any]:
        column: npt.NDArray[Any] = self.table[events, self._place]
        return column


def find_columns(file: Any, path: Path) -> dict[str, Any]:
    """Datasets of x, y, t and p, in `events/`, at the root, or columns of one table `events`."""
    for group in (file.get("events"), file):
        if not isinstance(group, h5py.Group):
            continue
        names = named_columns(name for name in group if isinstance(group.get(name), h5py.Dataset))
        if names:
            return {column: group[name] for column, name in names.items()}
    if isinstance(file.get("CD"), h5py.Group):
        raise InputError(
            "a Prophesee HDF5 recording, whose codec is not supported",
            where=path,
            hint="convert it to CSV with metavision_file_to_csv",
        )
    if isinstance(file.get("events"), h5py.Dataset):
        return _table_columns(file["events"], path)
    members = ", ".join(sorted(file)[:8]) or "nothing"
    raise InputError(
        f"HDF5 without events; it holds {members}", where=path, expected=f"events/ with {EXPECTED}"
    )


def _table_columns(table: Any, path: Path) -> dict[str, Any]:
    """Columns of v2e's table: t in microseconds, x, y, polarity 0 or 1.

    Source: `generate_events` in v2ecore/emulator.py of https://github.com/SensorsINI/v2e (Hu et
    al., v2e: From Video Frames to Realistic DVS Events, CVPRW 2021).
    """
    if table.dtype.kind not in "iu" or table.ndim != 2 or table.shape[1] != 4:
        raise InputError(
            f"events is one array of {table.dtype} {list(table.shape or ())}",
            where=path,
            expected=f"a group with {EXPECTED}, or v2e's whole numbers [events, 4]: t, x, y, p",
        )
    return {name: TableColumn(table, place) for place, name in enumerate("txyp")}


def common_length(columns: dict[str, Any], path: Path) -> int:
    """Number of events, at least one."""
    length = check_columns(columns, path)
    if not length:
        raise InputError("no events in the file", where=path, expected="at least one event")
    return length


def read_offset(file: Any, path: Path) -> int:
    """`t_offset` in microseconds, 0 where it is missing."""
    dataset = file.get("t_offset")
    if dataset is None:
        return 0
    if not isinstance(dataset, h5py.Dataset) or dataset.size != 1 or dataset.dtype.kind not in "iu":
        raise InputError(
            "t_offset is no whole number", where=path, expected="one offset in microseconds"
        )
    offset_us = int(np.ravel(dataset[()])[0])
    if abs(offset_us) >= MAX_TIME_US:
        raise InputError(f"t_offset = {offset_us} is no time", where=path)
    return offset_us


def read_sensor(file: Any, path: Path) -> tuple[int, int] | None:
    """Width and height from the attributes of the file, None without them."""
    size = tuple(file.attrs.get(name) for name in ("width", "height"))
    if any(value is None for value in size):
        return None
    if any(np.ndim(value) or np.asarray(value).dtype.kind not in "iu" for value in size):
        raise InputError("width and height are no whole numbers", where=path)
    width, height = int(size[0]), int(size[1])
    EventStream.checked(*(np.empty(0, int),) * 4, sensor=(width, height), where=path)
    return width, height


def read_index(file: Any, length: int, last_us: int) -> npt.NDArray[np.int64] | None:
    """`ms_to_idx`, or None where it is missing or cannot be an index into these events.

    DSEC leaves out the entry of a last, partial millisecond; an index that ends earlier is cut.
    """
    dataset = file.get("ms_to_idx")
    usable = (
        isinstance(dataset, h5py.Dataset)
        and dataset.ndim == 1
        and dataset.dtype.kind in "iu"
        and max(1, last_us // 1000) <= dataset.shape[0] <= _MAX_INDEX
    )
    if not usable:
        return None
    try:
        raw = dataset[:]
    except OSError:  # a damaged index does not make the events unreadable
        return None
    if raw.min() < 0 or raw.max() > length or (raw[1:] < raw[:-1]).any():
        return None
    index: npt.NDArray[np.int64] = raw.astype(np.int64)
    return index


def check_stored(name: str, column: Any, path: Path) -> None:
    """HDF5 fills what was never written with zeros; such a file is cut, however long it says."""
    if isinstance(column, TableColumn):
        column, name = column.table, "events"
    if column.chunks:
        grid = zip(column.shape, column.chunks, strict=True)
        needed = math.prod(-(-size // chunk) for size, chunk in grid)
        stored = column.id.get_num_chunks()
        whole = stored >= needed
    else:
        needed, stored = column.nbytes, column.id.get_storage_size()
        whole = stored >= needed or column.id.get_create_plist().get_layout() == h5py.h5d.COMPACT
    if not whole:
        unit = "chunks" if column.chunks else "bytes"
        raise InputError(
            f"{name} has {stored:,} of {needed:,} {unit}",
            where=path,
            expected="a file that was written to its end",
        )
