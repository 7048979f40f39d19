"""Recordings in vendors' formats: read through their packages where present, else said how."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.foreign_events import EVT3_PERIOD_US, unwrapped
from crossdraft.scenes.readers import read_events
from tests.scenes.event_files import assert_same, evt_bytes, made_stream


@pytest.mark.parametrize(
    ("module", "content", "found"),
    [
        ("dv_processing", b"#!AER-DAT4.0\r\n\x01\x02\x03", ("AEDAT4", "crossdraft[aedat4]")),
        ("evlib", evt_bytes(made_stream(5, start_us=0), 3), ("EVT", "crossdraft[evt]")),
        ("evlib", evt_bytes(made_stream(5, start_us=0), 2), ("EVT", "crossdraft[evt]")),
    ],
    ids=["aedat4", "evt3", "evt2"],
)
def test_a_missing_package_is_named(
    module: str,
    content: bytes,
    found: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "recording").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_events(tmp_path / "recording")
    assert all(part in str(caught.value) for part in found)
    assert str(tmp_path / "recording") in str(caught.value)


def test_a_clock_that_starts_again() -> None:
    period = EVT3_PERIOD_US
    true = np.array([5, period - 1, period + 3, 2 * period - 9, 2 * period + 1], np.int64)
    assert unwrapped(true % period, period).tolist() == true.tolist()
    assert unwrapped(np.empty(0, np.int64), period).tolist() == []
    # A small step back is disorder, not a new round.
    assert unwrapped(np.array([7, 5]), period).tolist() == [7, 5]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("seed", [0, 1, 8])
def test_evt(version: int, seed: int, tmp_path: Path) -> None:
    pytest.importorskip("evlib", reason="evlib is not installed")
    # A minute: EVT3's clock starts again three times.
    stream = made_stream(5_000, seed=seed, start_us=7, span_us=60_000_000, sensor=(1280, 720))
    path = tmp_path / "recording.bin"
    path.write_bytes(evt_bytes(stream, version))
    assert_same(read_events(path), stream)
    path.write_bytes(evt_bytes(stream, version, geometry=False))
    with pytest.raises(InputError, match="name the sensor's size"):
        read_events(path)
    assert_same(read_events(path, sensor=(1280, 720)), stream)


@pytest.mark.parametrize("version", [2, 3])
def test_damaged_evt(version: int, tmp_path: Path) -> None:
    pytest.importorskip("evlib", reason="evlib is not installed")
    data = evt_bytes(made_stream(200, start_us=7), version)
    path = tmp_path / "recording.bin"
    for length in (40, data.index(b"% end\n") + 6):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            read_events(path)
    rng = np.random.default_rng(0)
    for _ in range(40):
        path.write_bytes(data[:120] + rng.bytes(400))
        try:
            assert len(read_events(path))
        except InputError as error:
            assert str(path) in str(error)


@pytest.fixture
def aedat4(tmp_path: Path) -> Path:
    dv = pytest.importorskip("dv_processing", reason="dv-processing is not installed")
    stream = made_stream(3_000)
    path = tmp_path / "recording.aedat4"
    config = dv.io.MonoCameraWriter.EventOnlyConfig("DVXplorer", stream.sensor)
    writer = dv.io.MonoCameraWriter(str(path), config)
    store = dv.EventStore()
    for x, y, t, p in zip(stream.x, stream.y, stream.t, stream.p, strict=True):
        store.push_back(int(t), int(x), int(y), bool(p))
    writer.writeEvents(store)
    del writer
    return path.rename(tmp_path / "recording.bin")


def test_aedat4(aedat4: Path) -> None:
    assert_same(read_events(aedat4), made_stream(3_000))
    window = (int(made_stream(3_000).t[0]) + 1_000, int(made_stream(3_000).t[0]) + 9_000)
    assert_same(read_events(aedat4, window_us=window), made_stream(3_000).between(*window))


def test_damaged_aedat4(aedat4: Path) -> None:
    data = aedat4.read_bytes()
    for length in (14, 30, 200, len(data) // 2):
        aedat4.write_bytes(data[:length])
        with pytest.raises(InputError, match="not a readable AEDAT4 recording"):
            read_events(aedat4)
