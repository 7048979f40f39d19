"""One door for event files of any known kind, recognised by what is in them, never by the name."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.base.files import GZIP_MAGIC, refuse_bomb
from crossdraft.base.safe_load import load_pickled_npy
from crossdraft.scenes.event_columns import EXPECTED, named_columns
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.foreign_events import read_aedat4, read_evt
from crossdraft.scenes.text_events import read_text_events

KNOWN = "an event file: .npy, .npz, HDF5 (DSEC), text or CSV, AEDAT4, EVT2 or EVT3"
_SAMPLE_BYTES = 1 << 16
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# Keywords that open the lines of a Prophesee RAW header; only `end` is sure to be absent from text.
_RAW_HEADER = re.compile(
    rb"^% (evt \d|format EVT|integrator_name|plugin_name|camera_integrator_name|system_ID)",
    re.MULTILINE,
)
_DAT_HEADER = re.compile(rb"^% (Data file containing|Version \d)", re.MULTILINE)


def read_events(
    path: Path,
    *,
    sensor: tuple[int, int] | None = None,
    window_us: tuple[int, int] | None = None,
) -> EventStream:
    """Read an event file, whole or a window of it.

    Args:
        path: file of any known kind.
        sensor: width and height; goes before what the file says. Without either 640x480 counts.
        window_us: start and end of the wanted events, start <= t < end on the file's own absolute
            clock. HDF5 reads no more than that. A window may hold no events, a file may not.

    Raises:
        InputError: missing, of no known kind, damaged, cut, without events, not in time order, or
            with events outside the sensor; or the package that reads the format is missing.
    """
    if window_us is not None and window_us[0] >= window_us[1]:
        raise InputError(
            f"a window from {window_us[0]} to {window_us[1]} us",
            where=path,
            expected="an end after the start",
        )
    kind = event_format(path)
    if kind == "hdf5":
        # Here, so that the other formats are read where no h5py is, as on many GPU machines.
        from crossdraft.scenes.event_file import EventFile

        with EventFile(path, sensor) as file:
            return file.window(*window_us) if window_us else file.read()
    readers = {
        "npy": _read_npy, "npz": _read_npz, "text": read_text_events,
        "aedat4": read_aedat4, "evt": read_evt,
    }  # fmt: skip
    stream = readers[kind](path, sensor)
    if not len(stream):
        raise InputError("no events in the file", where=path, expected="at least one event")
    if window_us is None:
        return stream
    window = stream.between(*window_us)
    # A view would keep the whole recording in memory.
    return window.copy() if 2 * len(window) < len(stream) else window


def event_format(path: Path) -> str:
    """Kind of an event file by its first bytes: npy, npz, hdf5, text, aedat4 or evt.

    Raises:
        InputError: missing, empty, a folder, or of no kind that is known and can be read.
    """
    if path.is_dir():
        raise InputError("a folder", where=path, expected=KNOWN)
    try:
        if path.exists() and not path.is_file():  # a pipe would block until somebody writes to it
            raise InputError("not a regular file", where=path, expected=KNOWN)
        with path.open("rb") as stream:
            head = stream.read(_SAMPLE_BYTES)
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, hint="check the path") from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    if not head:
        raise InputError("the file is empty", where=path, expected=KNOWN)
    if not head.startswith(GZIP_MAGIC):
        return _format_of(head, path)
    inner = _gzip_head(head)
    kind = "text"
    if inner:
        kind = "gzip" if inner.startswith(GZIP_MAGIC) else _format_of(inner, path, "unpacked, ")
    if kind != "text":
        raise InputError(
            f"a gzip file with {kind} inside", where=path, expected="text inside gzip",
            hint="unpack it first, for instance with gunzip",
        )  # fmt: skip
    return "text"


def _gzip_head(head: bytes) -> bytes:
    """First bytes of what is packed; none where they are damaged, which the reader will say."""
    try:
        return zlib.decompressobj(wbits=31).decompress(head, _SAMPLE_BYTES)
    except zlib.error:
        return b""


def _format_of(head: bytes, path: Path, prefix: str = "") -> str:
    """Kind by the first bytes; `prefix` goes before the message that there is none."""
    magic = {
        b"\x93NUMPY": "npy", b"PK\x03\x04": "npz", b"PK\x05\x06": "npz", _HDF5_MAGIC: "hdf5",
        b"#!AER-DAT4": "aedat4",
    }  # fmt: skip
    for start, kind in magic.items():
        if head.startswith(start):
            return kind
    # HDF5 may follow a block of the user's own, of 512 bytes or a power of two times that.
    if any(head[start : start + 8] == _HDF5_MAGIC for start in (512, 1024, 2048, 4096)):
        return "hdf5"
    _refuse_relatives(head, path)
    if _RAW_HEADER.search(head):
        return "evt"
    if _looks_like_text(head):
        return "text"
    raise InputError(
        f"{prefix}of no known kind (it begins with {head[:8].hex(' ')})",
        where=path,
        expected=KNOWN,
    )


def _refuse_relatives(head: bytes, path: Path) -> None:
    """Event formats that are recognised and not read."""
    if head.startswith(b"#!AER-DAT"):
        version = head[9:12].decode("ascii", "replace")
        raise InputError(
            f"an AEDAT {version} recording", where=path, expected=KNOWN,
            hint="convert it to AEDAT4 or to text (t x y p), for instance with jAER or DV",
        )  # fmt: skip
    if _DAT_HEADER.search(head) and not _looks_like_text(head):
        raise InputError(
            "a Prophesee DAT recording", where=path, expected=KNOWN,
            hint="convert it to CSV with metavision_file_to_csv",
        )  # fmt: skip


def _looks_like_text(head: bytes) -> bool:
    """No control characters but white space; bytes from 0x80 may stand in a comment."""
    values = np.frombuffer(head, np.uint8)
    control = (values < 32) & (values != 9) & (values != 10) & (values != 13) & (values != 12)
    return not control.any()


def _read_npy(path: Path, sensor: tuple[int, int] | None) -> EventStream:
    """A pickled dict of columns, as EventGPT and the clips of the seed study keep them, or a
    structured array."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numpy warns of odd headers that it can still read
        loaded = load_pickled_npy(path)
    if isinstance(loaded, np.ndarray) and loaded.dtype.names and loaded.ndim == 1:
        loaded = {name: loaded[name] for name in loaded.dtype.names}
    if not isinstance(loaded, Mapping):
        is_array = isinstance(loaded, np.ndarray)
        raise InputError(
            f"an array of {loaded.dtype} {list(loaded.shape)}" if is_array else "no dictionary",
            where=path,
            expected=f"a dictionary of {EXPECTED}",
            hint="save the columns by name: numpy.savez(path, x=x, y=y, t=t, p=p)",
        )
    known = {name: value for name, value in loaded.items() if isinstance(name, str)}
    for name in (named_columns(known) or {}).values():
        if not isinstance(known[name], np.ndarray):
            raise InputError(
                f"{name} is of type {type(known[name]).__name__}, no array",
                where=path,
                expected="one numpy array a column",
                hint="save numpy.asarray(column) for every column",
            )
    return _stream_of(known, [str(name) for name in loaded], sensor, path)


def _read_npz(path: Path, sensor: tuple[int, int] | None) -> EventStream:
    """Columns as members of an archive; `width` and `height` where it is ours."""
    try:
        with zipfile.ZipFile(path) as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            names = named_columns(members)
            wanted = [*(names or {}).values(), *({"width", "height"} & set(members))]
            sizes = [archive.getinfo(members[name]).file_size for name in wanted]
            refuse_bomb(path.stat().st_size, sum(sizes), path)
            arrays = {name: _read_member(archive, members[name], path) for name in wanted}
    except InputError:
        raise
    except Exception as error:  # zipfile and numpy raise nearly anything on damaged bytes
        raise InputError(
            f"not a readable .npz file ({type(error).__name__}: {str(error)[:200]})",
            where=path,
            expected="a complete archive of arrays",
            hint="copy or download the file again",
        ) from error
    if sensor is None and {"width", "height"} <= set(arrays):
        size = [arrays[name] for name in ("width", "height")]
        if any(value.size != 1 or value.dtype.kind not in "iu" for value in size):
            raise InputError("width and height are no whole numbers", where=path)
        sensor = int(size[0].item()), int(size[1].item())
    return _stream_of(arrays, list(members), sensor, path)


def _read_member(archive: zipfile.ZipFile, name: str, path: Path) -> npt.NDArray[Any]:
    with archive.open(name) as member:
        array = np.lib.format.read_array(member, allow_pickle=False)
        if member.read(1):
            raise InputError(f"{name} holds more than its array", where=path)
    checked: npt.NDArray[Any] = array
    return checked


def _stream_of(
    arrays: Mapping[str, npt.NDArray[Any]],
    members: list[str],
    sensor: tuple[int, int] | None,
    path: Path,
) -> EventStream:
    names = named_columns(arrays)
    if names is None:
        shown = ", ".join(name[:40] for name in members[:8]) or "nothing"
        raise InputError(f"it holds {shown}", where=path, expected=EXPECTED)
    columns = (arrays[names[column]] for column in "xytp")
    return EventStream.checked(*columns, sensor=sensor, where=path)
