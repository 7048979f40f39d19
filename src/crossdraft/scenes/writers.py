"""Writing event streams: npz, HDF5 in the layout of DSEC, and npy dictionaries on request.

Every file appears whole or not at all, and the same events give the same bytes.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt

from crossdraft.base.files import atomic_path, write_bytes
from crossdraft.scenes.events import EventStream

#: Events in one compressed chunk.
CHUNK = 1 << 20
#: Beyond 27 hours a millisecond index would outweigh the events; readers search the times instead.
_MAX_INDEX = 100_000_000
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that the format knows: no clock in the bytes


def write_npz(stream: EventStream, path: Path) -> None:
    """Write x, y, t, p, width and height as a compressed archive that `numpy.load` reads.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    members = {
        "x": stream.x, "y": stream.y, "t": stream.t, "p": stream.p,
        "width": np.asarray(stream.width), "height": np.asarray(stream.height),
    }  # fmt: skip
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in members.items():
            info = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(info, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)


def write_h5(stream: EventStream, path: Path) -> None:
    """Write the layout of DSEC's events.h5: Blosc-zstd columns, `t_offset`, `ms_to_idx`.

    t is kept from the first event on, as uint32 where it fits (71 minutes), else int64. The
    sensor's size goes into the attributes `width` and `height`.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    start_us = int(stream.t[0]) if len(stream) else 0
    t = stream.t - start_us
    if stream.span_us < 2**32:
        t = t.astype(np.uint32)
    options: dict[str, Any] = {}
    if len(stream):
        # Blosc leaves a block as it is unless it holds a multiple of eight values.
        whole = len(stream) - len(stream) % 8 or len(stream)
        options = {"chunks": (min(whole, CHUNK),)}
        options |= hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.BITSHUFFLE)
    # In memory first: a full disk under an open HDF5 file leaves objects that cannot be closed.
    with h5py.File(path.name, "w", driver="core", backing_store=False) as file:
        file.attrs["width"], file.attrs["height"] = stream.width, stream.height
        for name, column in (("p", stream.p), ("t", t), ("x", stream.x), ("y", stream.y)):
            file.create_dataset(f"events/{name}", data=column, track_times=False, **options)
        file.create_dataset("t_offset", data=np.int64(start_us), track_times=False)
        if len(stream) and stream.span_us // 1000 < _MAX_INDEX:
            index = ms_to_idx(t)
            file.create_dataset("ms_to_idx", data=index, track_times=False)
        file.flush()
        image = file.id.get_file_image()
    write_bytes(path, image)


def ms_to_idx(t: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Index of DSEC: entry k is the first event with t >= 1000 k, up to the last such k.

    Args:
        t: times from the file's offset on in microseconds, any integer type [events], at least one.

    Returns:
        uint64 [milliseconds].
    """
    milliseconds = np.arange(int(t[-1]) // 1000 + 1, dtype=np.int64) * 1000
    index: npt.NDArray[np.uint64] = np.searchsorted(t, milliseconds.astype(t.dtype)).astype(
        np.uint64
    )
    return index


def write_npy(
    stream: EventStream,
    path: Path,
    extra: Mapping[str, int | float | list[int]] | None = None,
) -> None:
    """Write a pickled dictionary in an object array, as EventGPT's samples and DSEC clips are kept.

    Unpickling trusts the file; prefer npz for anything new.

    Args:
        stream: p uint8, t int64 absolute, x and y uint16 are stored.
        path: where to.
        extra: further keys of the dictionary.

    Raises:
        InputError: the folder does not exist or cannot be written.
    """
    columns = {"p": stream.p, "t": stream.t, "x": stream.x, "y": stream.y}
    holder = np.empty((), dtype=object)
    holder[()] = {
        **{name: np.ascontiguousarray(column) for name, column in columns.items()},
        **(extra or {}),
    }
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, holder, allow_pickle=True)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())
