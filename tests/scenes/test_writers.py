"""Written events: the same back, the same bytes again, the layout that DSEC's readers expect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import hdf5plugin  # noqa: F401
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.safe_load import load_pickled_npy
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.readers import read_events
from crossdraft.scenes.writers import write_h5, write_npy, write_npz
from tests.scenes.event_files import START_US, assert_same, made_stream, stream_at

Writer = Callable[[EventStream, Path], None]
WRITERS: dict[str, Writer] = {"npz": write_npz, "h5": write_h5, "npy": write_npy}


@pytest.mark.parametrize("kind", sorted(WRITERS))
@given(
    gaps_us=st.lists(st.integers(0, 5_000), min_size=1, max_size=50),
    start_us=st.integers(-(2**40), 2**50),
    sensor=st.sampled_from([(640, 480), (1280, 720), (65536, 50)]),
)
@settings(max_examples=25)
def test_round_trip(kind: str, gaps_us: list[int], start_us: int, sensor: tuple[int, int]) -> None:
    stream = stream_at([start_us + int(gap) for gap in np.cumsum(gaps_us)], sensor)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        WRITERS[kind](stream, path)
        # A pickled dictionary has no room for the sensor.
        assert_same(read_events(path, sensor=sensor if kind == "npy" else None), stream)


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_the_same_events_give_the_same_bytes(kind: str, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    WRITERS[kind](made_stream(), first)
    # The same events as views of something larger.
    stream = made_stream()
    views = EventStream.checked(
        *(np.repeat(column, 2)[::2] for column in (stream.x, stream.y, stream.t, stream.p))
    )
    assert not views.t.flags.c_contiguous
    WRITERS[kind](views, second)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_a_missing_folder_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write here"):
        WRITERS[kind](made_stream(5), tmp_path / "missing" / "events")


@pytest.mark.parametrize("kind", sorted(WRITERS))
def test_a_stream_without_events_can_be_kept_and_is_refused_when_read(
    kind: str, tmp_path: Path
) -> None:
    WRITERS[kind](EventStream.empty(), tmp_path / "events")
    with pytest.raises(InputError, match="no events"):
        read_events(tmp_path / "events")


def test_h5_has_the_layout_of_dsec(tmp_path: Path) -> None:
    stream = stream_at([START_US + t for t in (0, 0, 999, 1000, 1000, 3500, 4000, 4001)])
    write_h5(stream, tmp_path / "events.h5")
    with h5py.File(tmp_path / "events.h5") as file:
        types = {name: file[f"events/{name}"].dtype.name for name in "ptxy"}
        assert types == {"p": "uint8", "t": "uint32", "x": "uint16", "y": "uint16"}
        assert file["t_offset"].shape == () and file["t_offset"][()] == START_US
        assert file["ms_to_idx"].dtype == np.uint64
        # Entry k: the first event with t >= 1000 k.
        assert file["ms_to_idx"][:].tolist() == [0, 3, 5, 5, 6]
        assert "32001" in file["events/t"]._filters  # the number of Blosc
        assert (file.attrs["width"], file.attrs["height"]) == (640, 480)


def test_h5_is_as_small_for_any_number_of_events(tmp_path: Path) -> None:
    """Blosc leaves a chunk as it is unless it holds a multiple of eight values."""
    sizes = []
    for count in (20_000, 20_003):
        write_h5(made_stream(count), tmp_path / "events.h5")
        sizes.append((tmp_path / "events.h5").stat().st_size)
    assert sizes[1] < 1.05 * sizes[0]
    for count in (1, 7, 8, 11):
        write_h5(made_stream(count), tmp_path / "events.h5")
        assert_same(read_events(tmp_path / "events.h5"), made_stream(count))


def test_h5_widens_times_that_do_not_fit(tmp_path: Path) -> None:
    stream = stream_at([0, 2**32])
    write_h5(stream, tmp_path / "events.h5")
    with h5py.File(tmp_path / "events.h5") as file:
        assert file["events/t"].dtype == np.int64
    assert_same(read_events(tmp_path / "events.h5"), stream)


def test_h5_without_an_index_for_a_span_of_days(tmp_path: Path) -> None:
    stream = stream_at([0, 2**50])
    write_h5(stream, tmp_path / "events.h5")
    with h5py.File(tmp_path / "events.h5") as file:
        assert "ms_to_idx" not in file
    assert_same(read_events(tmp_path / "events.h5", window_us=(1, 2**51)), stream.slice(1, 2))


def test_npy_is_the_dictionary_of_the_seed_study(tmp_path: Path) -> None:
    stream = made_stream(100)
    write_npy(stream, tmp_path / "clip.npy", {"num_events": 100, "image_indices_in_clip": [1, 2]})
    loaded = load_pickled_npy(tmp_path / "clip.npy")
    assert list(loaded) == ["p", "t", "x", "y", "num_events", "image_indices_in_clip"]
    types = {name: loaded[name].dtype.name for name in "ptxy"}
    assert types == {"p": "uint8", "t": "int64", "x": "uint16", "y": "uint16"}
    assert (loaded["num_events"], loaded["image_indices_in_clip"]) == (100, [1, 2])
    # What the models' own code does.
    trusted = np.load(tmp_path / "clip.npy", allow_pickle=True)
    assert trusted.shape == () and np.array_equal(trusted.item()["t"], stream.t)


def test_npz_is_read_by_numpy(tmp_path: Path) -> None:
    write_npz(made_stream(100), tmp_path / "clip.npz")
    with np.load(tmp_path / "clip.npz", allow_pickle=False) as archive:
        assert sorted(archive) == ["height", "p", "t", "width", "x", "y"]
        assert archive["width"].item() == 640
