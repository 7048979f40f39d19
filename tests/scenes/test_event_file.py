"""Windows of an HDF5 file: exactly the events of a mask over the whole, whatever the index says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes import event_file
from crossdraft.scenes.event_file import EventFile
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.readers import read_events
from crossdraft.scenes.writers import write_h5
from tests.scenes.event_files import START_US, assert_same, made_stream, stream_at, write_dsec


def masked(stream: EventStream, start_us: int, end_us: int) -> EventStream:
    """The window by the slowest and surest way."""
    keep = (stream.t >= start_us) & (stream.t < end_us)
    return EventStream(
        stream.x[keep], stream.y[keep], stream.t[keep], stream.p[keep], *stream.sensor
    )


@given(
    gaps_us=st.lists(st.one_of(st.integers(0, 3), st.integers(0, 2_500)), min_size=1, max_size=60),
    offset_us=st.sampled_from([None, 0, 51_835_949_000, -7_001]),
    index=st.sampled_from(["right", "short", None, "zeros", "random", "long", "shifted"]),
    chunk=st.sampled_from([None, 7]),
    windows=st.lists(st.tuples(st.integers(-3_000, 70_000), st.integers(1, 70_000)), max_size=4),
    block=st.sampled_from([1, 8, 1 << 16]),
    seed=st.integers(0, 9),
)
@settings(max_examples=120)
def test_a_window_is_the_exact_mask(
    gaps_us: list[int],
    offset_us: int | None,
    index: Any,
    chunk: int | None,
    windows: list[tuple[int, int]],
    block: int,
    seed: int,
) -> None:
    relative = np.cumsum(gaps_us)
    stream = stream_at([int(t) + (offset_us or 0) for t in relative])
    milliseconds = int(relative[-1]) // 1000 + 1
    rng = np.random.default_rng(seed)
    wrong = {
        "zeros": np.zeros(milliseconds, np.uint64),
        "random": np.sort(rng.integers(0, len(stream) + 1, milliseconds)).astype(np.uint64),
        "long": np.full(milliseconds + 3, len(stream) + 5, np.uint64),
        "shifted": np.minimum(
            np.searchsorted(relative, np.arange(milliseconds) * 1000) + 1, len(stream)
        ),
    }
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_file, "_SEARCH_BLOCK", block)
        path = Path(folder) / "events.h5"
        write_dsec(stream, path, offset_us=offset_us, index=wrong.get(index, index), chunk=chunk)
        with EventFile(path) as file:
            assert len(file) == len(stream)
            assert (file.start_us, file.end_us) == (stream.t[0], stream.t[-1])
            assert_same(file.read(), stream)
            edges = [(int(t), 1) for t in relative[:3]]  # borders exactly on events
            for start, length in windows + edges:
                start_us = start + (offset_us or 0)
                expected = masked(stream, start_us, start_us + length)
                assert_same(file.window(start_us, start_us + length), expected)


@pytest.mark.parametrize("index", ["right", "short", None])
def test_count_is_within_a_millisecond_and_reads_no_events(
    index: str | None, tmp_path: Path
) -> None:
    stream = made_stream(20_000, span_us=100_500)
    path = tmp_path / "events.h5"
    write_dsec(stream, path, offset_us=START_US, index=index)
    with EventFile(path) as file:
        # A busy millisecond of this stream has fewer than 300 events.
        for start, end in (
            (0, 100_500),
            (0, 200_000),
            (10_100, 60_900),
            (-50, 10),
            (70_000, 70_000),
        ):
            true = len(masked(stream, START_US + start, START_US + end))
            assert abs(file.count(START_US + start, START_US + end) - true) < 300
        assert file.count(START_US - 10_000, START_US + 10**9) == len(stream)
        assert file.count(START_US + 10**9, START_US + 2 * 10**9) == 0
        if index:
            file._columns = {}  # any access to events would now fail
            assert file.count(START_US, START_US + 50_000) > 9_000


def test_other_homes_and_names_of_the_columns(tmp_path: Path) -> None:
    stream = made_stream(200)
    names = {"x": "xs", "y": "ys", "t": "ts", "p": "ps"}
    write_dsec(stream, tmp_path / "a.h5", offset_us=None, index=None, t_type="int64", names=names)
    assert_same(read_events(tmp_path / "a.h5"), stream)
    group = {"t": "events/timestamps", "p": "events/polarity"}
    write_dsec(stream, tmp_path / "b.h5", offset_us=START_US, names=group)
    assert_same(read_events(tmp_path / "b.h5"), stream)


def test_the_file_names_its_sensor_and_the_caller_overrides(tmp_path: Path) -> None:
    write_h5(made_stream(50, sensor=(320, 240)), tmp_path / "events.h5")
    with EventFile(tmp_path / "events.h5") as file:
        assert file.sensor == (320, 240)
    with EventFile(tmp_path / "events.h5", (640, 480)) as file:
        assert file.sensor == file.window(START_US, START_US + 1000).sensor == (640, 480)


@pytest.mark.parametrize(
    ("width", "found"), [(0, "a sensor of 0x480"), (1.5, "no whole numbers"), ("a", "no whole")]
)
def test_a_sensor_that_is_none(width: Any, found: str, tmp_path: Path) -> None:
    write_h5(made_stream(50), tmp_path / "events.h5")
    with h5py.File(tmp_path / "events.h5", "r+") as file:
        file.attrs["width"] = width
    with pytest.raises(InputError, match=found):
        EventFile(tmp_path / "events.h5")


def test_windows_beyond_the_recording_are_empty(tmp_path: Path) -> None:
    write_dsec(made_stream(50), tmp_path / "events.h5", offset_us=START_US)
    with EventFile(tmp_path / "events.h5") as file:
        assert len(file.window(0, START_US)) == 0
        assert len(file.window(START_US + 10**6, 10**30)) == 0
        assert len(file.window(-(10**30), 10**30)) == 50
        with pytest.raises(InputError, match="a window from 5 to 5 us"):
            file.window(5, 5)


def _edit(path: Path, name: str, value: Any) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("events/x", None, "HDF5 without events"),
        ("events/x", np.zeros(3, np.uint16), "columns of different length: x 3"),
        ("events/x", np.full(50, 640, np.uint16), "event 0 has x = 640"),
        ("events/t", np.arange(50)[::-1], "the first event has t = 49, the last 0"),
        ("events/t", np.r_[0, 30:0:-1, 31:50], "event 2 has t = 51835949805"),
        ("events/t", np.linspace(0, 1, 50), "t is an array of float64"),
        ("events/p", np.full(50, 2, np.uint8), "event 0 has p = 2"),
        ("t_offset", np.zeros(3, np.int64), "t_offset is no whole number"),
        ("t_offset", 1.5, "t_offset is no whole number"),
        ("t_offset", np.uint64(2**63), "is no time"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_broken_content_is_named(name: str, value: Any, found: str, tmp_path: Path) -> None:
    path = tmp_path / "events.h5"
    write_dsec(made_stream(50), path, offset_us=START_US)
    _edit(path, name, value)
    with pytest.raises(InputError, match=found):
        read_events(path)


def test_a_fault_in_a_window_has_the_files_number(tmp_path: Path) -> None:
    path = tmp_path / "events.h5"
    write_dsec(stream_at([START_US + 1000 * i for i in range(50)]), path, offset_us=START_US)
    _edit(path, "events/p", np.r_[np.zeros(40, np.uint8), 7, np.zeros(9, np.uint8)])
    with EventFile(path) as file, pytest.raises(InputError, match="event 40 has p = 7"):
        file.window(START_US + 35_000, START_US + 45_000)


@pytest.mark.parametrize("chunks", [(7, 4), (7, 2), None], ids=["rows", "blocks", "plain"])
def test_the_table_of_v2e(chunks: tuple[int, int] | None, tmp_path: Path) -> None:
    """Columns t [us], x, y, polarity in one data set, as v2e writes them."""
    stream = made_stream(200, start_us=0)
    table = np.stack([stream.t, stream.x, stream.y, stream.p], axis=1).astype(np.uint32)
    with h5py.File(tmp_path / "v2e.h5", "w") as file:
        file.create_dataset("events", data=table, chunks=chunks)
    assert_same(read_events(tmp_path / "v2e.h5"), stream)
    assert_same(
        read_events(tmp_path / "v2e.h5", window_us=(9_000, 30_000)), masked(stream, 9_000, 30_000)
    )


def test_a_table_that_was_never_written_to_its_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v2e.h5", "w") as file:
        table = file.create_dataset("events", shape=(50, 4), chunks=(10, 2), dtype="uint32")
        table[:20] = 1
    with pytest.raises(InputError, match="events has 4 of 10 chunks"):
        EventFile(tmp_path / "v2e.h5")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.zeros((9, 5), np.uint32), r"events is one array of uint32 \[9, 5\]"),
        (np.zeros((9, 4)), r"events is one array of float64 \[9, 4\]"),
        (np.zeros(9, np.uint32), r"events is one array of uint32 \[9\]"),
        (np.uint32(4), r"events is one array of uint32 \[\]"),
        (np.zeros((0, 4), np.uint32), "no events in the file"),
    ],
    ids=["five", "float", "flat", "scalar", "empty"],
)
def test_a_table_of_another_kind(value: Any, found: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "v2e.h5", "w") as file:
        file["events"] = value
    with pytest.raises(InputError, match=found):
        EventFile(tmp_path / "v2e.h5")


def test_no_events_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.h5"
    write_dsec(made_stream(50), path)
    for name in "xytp":
        _edit(path, f"events/{name}", np.zeros(0, np.uint16))
    with pytest.raises(InputError, match="no events in the file"):
        EventFile(path)


def test_columns_that_were_never_written_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "events.h5"
    write_dsec(made_stream(50), path)
    with h5py.File(path, "r+") as file:
        del file["events/x"]
        file.create_dataset("events/x", shape=(50,), chunks=(10,), dtype="uint16")[:20] = 1
    with pytest.raises(InputError, match="x has 2 of 5 chunks"):
        EventFile(path)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        EventFile(tmp_path / "missing.h5")
    (tmp_path / "text.h5").write_text("0 1 1 1\n")
    with pytest.raises(InputError, match="not a readable HDF5 event file"):
        EventFile(tmp_path / "text.h5")


def test_a_prophesee_file_is_recognised(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "events.h5", "w") as file:
        file["CD/events"] = np.zeros(3)
    with pytest.raises(InputError, match="Prophesee HDF5"):
        read_events(tmp_path / "events.h5")


# ru_maxrss is of no use here: a new process starts with the peak of the one that made it.
_MEASURE = """
import sys
from pathlib import Path
from crossdraft.scenes.event_file import EventFile

def memory_bytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

path, start, end = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with EventFile(path) as file:
    file.window(start, start + 2000)  # libraries loaded, kernels compiled
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = memory_bytes("VmRSS")
    stream = file.window(start, end)
    print(len(stream), memory_bytes("VmHWM") - before)
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="measures with Linux's /proc"
)
def test_a_window_takes_at_most_three_times_its_own_bytes(tmp_path: Path) -> None:
    """Peak memory of a process of its own; what HDF5 allocates is seen there, too."""
    stream = made_stream(6_000_000, span_us=6_000_000)
    path = tmp_path / "events.h5"
    write_dsec(stream, path, offset_us=START_US, chunk=1 << 18)
    borders = (START_US + 1_500_000, START_US + 4_500_000)
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(path), *map(str, borders)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    events, extra_bytes = map(int, done.stdout.split())
    assert events == len(masked(stream, *borders)) > 2_900_000
    assert 13 * events * 0.8 <= extra_bytes <= 3 * 13 * events
