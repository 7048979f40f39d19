"""Small event files for tests: every format that is read, whole, odd and broken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from crossdraft.scenes.events import EventStream
from crossdraft.scenes.writers import ms_to_idx, write_h5, write_npy, write_npz

#: On the clock of a real drive: too large for 32 bits.
START_US = 51_835_949_776


def made_stream(
    n: int = 2_000,
    *,
    seed: int = 0,
    start_us: int = START_US,
    span_us: int = 50_000,
    sensor: tuple[int, int] = (640, 480),
) -> EventStream:
    """`n` events spread evenly at random over `span_us`, many of them at equal times."""
    rng = np.random.default_rng(seed)
    return EventStream.checked(
        rng.integers(0, sensor[0], n).astype(np.uint16),
        rng.integers(0, sensor[1], n).astype(np.uint16),
        start_us + np.sort(rng.integers(0, span_us, n)),
        rng.integers(0, 2, n).astype(np.uint8),
        sensor=sensor,
    )


def stream_at(times_us: Sequence[int], sensor: tuple[int, int] = (640, 480)) -> EventStream:
    """A stream with these times and coordinates that tell the events apart."""
    number = np.arange(len(times_us))
    return EventStream.checked(
        number % sensor[0], number // sensor[0], np.array(times_us, np.int64), number % 2,
        sensor=sensor,
    )  # fmt: skip


def write_dsec(
    stream: EventStream,
    path: Path,
    *,
    offset_us: int | None = 0,
    index: Any = "right",
    chunk: int | None = None,
    t_type: str = "uint32",
    names: Mapping[str, str] | None = None,
) -> None:
    """HDF5 as DSEC has it, which knows no sensor.

    Args:
        stream: events; their times less `offset_us` are stored.
        path: where to.
        offset_us: `t_offset`, None to leave it out (then times are stored as they are).
        index: "right", None to leave it out, "short" without the last partial millisecond, or any
            array.
        chunk: events in a chunk; None stores plain columns.
        t_type: type of t in the file.
        names: other names of the columns, with their group.
    """
    t = (stream.t - (offset_us or 0)).astype(t_type)
    columns = {"x": stream.x, "y": stream.y, "t": t, "p": stream.p}
    options: dict[str, Any] = {}
    if chunk:
        options = {"chunks": (min(chunk, len(stream)),), **hdf5plugin.Blosc(cname="zstd")}
    if isinstance(index, str):
        index = ms_to_idx(t)[: -1 if index == "short" else None]
    with h5py.File(path, "w") as file:
        for name, column in columns.items():
            place = (names or {}).get(name, f"events/{name}")
            file.create_dataset(place, data=column, **options)
        if offset_us is not None:
            file["t_offset"] = np.int64(offset_us)
        if index is not None:
            file["ms_to_idx"] = index


def text_of(stream: EventStream, *, kind: str = "rpg") -> str:
    """Events as text: `rpg` (seconds x y p), `prophesee` (x,y,p,us) or `v2e` (with its header)."""
    columns = (stream.x.tolist(), stream.y.tolist(), stream.t.tolist(), stream.p.tolist())
    rows = list(zip(*columns, strict=True))
    if kind == "prophesee":
        return "".join(f"{x},{y},{p},{t}\n" for x, y, t, p in rows)
    if kind == "v2e":
        head = (
            "#!events.txt\n# This is a text DVS created by v2e\n"
            "# Format is time (float s), x, y, polarity (0=off, 1=on)\n# User name: someone\n"
        )
        return head + "".join(f"{t / 1e6} {x} {y} {p}\n" for x, y, t, p in rows)
    return "".join(f"{t // 10**6}.{t % 10**6:06d}000 {x} {y} {p}\n" for x, y, t, p in rows)


def write_every_format(stream: EventStream, folder: Path) -> dict[str, Path]:
    """The stream in each format of our own reading; names say nothing about the content."""
    paths = {kind: folder / f"{kind}.events" for kind in ("npz", "npy", "hdf5", "dsec", "text")}
    write_npz(stream, paths["npz"])
    write_npy(stream, paths["npy"])
    write_h5(stream, paths["hdf5"])
    write_dsec(stream, paths["dsec"], offset_us=int(stream.t[0]), chunk=512)
    paths["text"].write_text(text_of(stream, kind="prophesee"))
    return paths


def assert_same(found: EventStream, expected: EventStream) -> None:
    """Equal columns of equal types, equal sensor."""
    assert found.sensor == expected.sensor
    for name in "xytp":
        column, wanted = getattr(found, name), getattr(expected, name)
        assert column.dtype == wanted.dtype, name
        np.testing.assert_array_equal(column, wanted, err_msg=name)


def evt_bytes(stream: EventStream, version: int, *, geometry: bool = True) -> bytes:
    """A Prophesee RAW recording, EVT2 or EVT3 as documented; EVT3 keeps 24 bits of time."""
    width, height = stream.sensor
    header = [f"% evt {version}.0", f"% format EVT{version};height={height};width={width}"]
    header = header if geometry else header[:1]
    text = "\n".join(["% date 2024-01-01 00:00:00", *header, "% end\n"])
    encode = _evt2_words if version == 2 else _evt3_words
    return text.encode() + encode(stream)


def _evt2_words(stream: EventStream) -> bytes:
    words, high = [], -1
    for x, y, t, p in zip(stream.x, stream.y, stream.t.tolist(), stream.p, strict=True):
        if t >> 6 != high:
            high = t >> 6
            words.append(8 << 28 | high & 0xFFFFFFF)
        words.append(int(p) << 28 | (t & 63) << 22 | int(x) << 11 | int(y))
    return np.array(words, "<u4").tobytes()


def _evt3_words(stream: EventStream) -> bytes:
    words, high, low, row = [], -1, -1, -1
    for x, y, t, p in zip(stream.x, stream.y, stream.t.tolist(), stream.p, strict=True):
        if t >> 12 != high:
            high, low = t >> 12, -1
            words.append(0x8000 | high & 0xFFF)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(0x6000 | low)
        if y != row:
            row = int(y)
            words.append(row)
        words.append(0x2000 | int(p) << 11 | int(x))
    return np.array(words, "<u2").tobytes()
