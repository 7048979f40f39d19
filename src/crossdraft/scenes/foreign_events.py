"""Recordings in camera vendors' own formats, read through their optional packages.

Both packages are imported when a file needs them and not before; where one is missing, the error
names the extra that brings it.
"""

from __future__ import annotations

import importlib
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream

#: EVT3 carries 24 bits of time; EVT2 carries 34, too many to wrap within a recording.
EVT3_PERIOD_US = 1 << 24
_GEOMETRY = (
    re.compile(r"^% geometry (?P<width>\d+)x(?P<height>\d+)", re.MULTILINE),
    re.compile(r"^% format .*height=(?P<height>\d+);width=(?P<width>\d+)", re.MULTILINE),
    re.compile(r"^% format .*width=(?P<width>\d+);height=(?P<height>\d+)", re.MULTILINE),
    re.compile(r"^% width (?P<width>\d+)\s+(?:%.*\n)*?% height (?P<height>\d+)", re.MULTILINE),
)


def read_aedat4(path: Path, sensor: tuple[int, int] | None = None) -> EventStream:
    """AEDAT4 (iniVation) through dv-processing.

    Raises:
        InputError: the package is missing, or the recording is damaged or holds no events.
    """
    dv = _package("dv_processing", "AEDAT4", "aedat4", path)
    # The package opens files by their ending only; ours are known by their content.
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder) / "recording.aedat4"
        link.symlink_to(path.absolute())
        try:
            recording = dv.io.MonoCameraRecording(str(link))
            if not recording.isEventStreamAvailable():
                raise InputError("an AEDAT4 recording without an event stream", where=path)
            size = recording.getEventResolution()
            batches = []
            while (batch := recording.getNextEventBatch()) is not None:
                batches.append(batch.numpy())
        except InputError:
            raise
        except Exception as error:  # the binding raises RuntimeError with a C++ trace
            raise _unreadable("AEDAT4", path, error) from error
    if not batches:
        return EventStream.empty()
    events = np.concatenate(batches)
    return EventStream.checked(
        events["x"], events["y"], events["timestamp"], events["polarity"],
        sensor=sensor or ((int(size[0]), int(size[1])) if size else None), where=path,
    )  # fmt: skip


def read_evt(path: Path, sensor: tuple[int, int] | None = None) -> EventStream:
    """EVT2 and EVT3 recordings (Prophesee RAW) through evlib.

    Raises:
        InputError: the package is missing, or the recording is damaged.
    """
    evlib = _package("evlib", "EVT", "evt", path)
    with path.open("rb") as stream:
        header = stream.read(1 << 16).decode("latin-1")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = evlib.load_events(str(path), sort=False).collect()
            x, y, p = (frame[name].to_numpy() for name in ("x", "y", "polarity"))
            t = frame["t"].dt.total_microseconds().to_numpy()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the Rust side is no Exception
        raise _unreadable("EVT", path, error) from error
    if re.search(r"^% (evt 3|format EVT3)", header, re.MULTILINE):
        t = unwrapped(t, EVT3_PERIOD_US)
    return EventStream.checked(x, y, t, p, sensor=sensor or _geometry(header), where=path)


def unwrapped(t: npt.NDArray[np.int64], period_us: int) -> npt.NDArray[np.int64]:
    """Times of a clock that starts again after `period_us`, as times that go on.

    evlib follows the clock of EVT3 itself, but misses a new round that begins after a pause.

    Args:
        t: times in microseconds, int64 [events].
    """
    rounds = np.cumsum(np.diff(t, prepend=t[:1]) < -period_us // 2)
    continued: npt.NDArray[np.int64] = t + rounds * period_us
    return continued


def _geometry(header: str) -> tuple[int, int] | None:
    """Sensor size of a RAW header: any of the keywords that Prophesee has used for it."""
    for pattern in _GEOMETRY:
        if match := pattern.search(header):
            return int(match["width"][:9]), int(match["height"][:9])
    return None


def _package(module: str, format_name: str, extra: str, path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{format_name} recordings need the package {module.replace('_', '-')} "
            f"({type(error).__name__}: {error})",
            where=path,
            expected="the optional reader to be installed",
            hint=f"pip install crossdraft[{extra}]",
        ) from error


def _unreadable(format_name: str, path: Path, error: BaseException) -> InputError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    detail = next((line for line in lines if "Error info" in line or ": " in line), "")
    return InputError(
        f"not a readable {format_name} recording ({type(error).__name__}: {detail[-160:]})",
        where=path,
        expected="a complete recording",
        hint="copy or download the file again",
    )
