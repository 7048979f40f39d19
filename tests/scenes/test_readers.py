"""Event files of every kind: recognised by content, read exactly, refused with a reason."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base import files as base_files
from crossdraft.base.errors import InputError
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.readers import event_format, read_events
from crossdraft.scenes.writers import write_npy, write_npz
from tests.scenes.event_files import (
    START_US,
    assert_same,
    evt_bytes,
    made_stream,
    text_of,
    write_every_format,
)
from tests.scenes.mutants import crashes

KINDS = ["dsec", "hdf5", "npy", "npz", "text"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return write_every_format(made_stream(), tmp_path)


def _dict_npy(path: Path, content: Any) -> Path:
    holder = np.empty((), dtype=object)
    holder[()] = content
    np.save(path, holder, allow_pickle=True)
    return path


def _columns(stream: EventStream) -> dict[str, Any]:
    return {"t": stream.t, "y": stream.y, "p": stream.p, "x": stream.x}


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_same_stream(kind: str, files: dict[str, Path]) -> None:
    assert_same(read_events(files[kind]), made_stream())


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_a_window_in_every_format(kind: str, files: dict[str, Path]) -> None:
    window = (START_US + 10_001, START_US + 30_000)
    assert_same(read_events(files[kind], window_us=window), made_stream().between(*window))
    assert len(read_events(files[kind], window_us=(0, 5))) == 0
    with pytest.raises(InputError, match="a window from 5 to 4 us"):
        read_events(files[kind], window_us=(5, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_sensor_counts(kind: str, files: dict[str, Path]) -> None:
    assert read_events(files[kind], sensor=(700, 500)).sensor == (700, 500)
    with pytest.raises(InputError, match="has x = "):
        read_events(files[kind], sensor=(100, 500))


def test_real_windows() -> None:
    folder = Path(__file__).parents[3] / "shared" / "real" / "events"
    if not folder.is_dir():
        pytest.skip(f"no recorded events at {folder}")
    sample = read_events(folder / "eventgpt_sample1.npy")
    # Times of 16 bits, from zero on.
    assert (len(sample), int(sample.t[0]), sample.span_us) == (132_268, 0, 49_595)
    drive = read_events(folder / "interlaken_00_d_000069.npy")
    assert (len(drive), int(drive.t[0]), drive.span_us) == (293_355, 51_835_949_776, 49_999)
    assert drive.t.dtype == np.int64 and 0.5 < drive.p.mean() < 0.7


@pytest.mark.parametrize("t_type", ["uint16", "uint32", "int32", "int64", "uint64", ">i8"])
def test_any_integer_type_of_t(t_type: str, tmp_path: Path) -> None:
    stream = made_stream(start_us=0)
    columns = {**_columns(stream), "t": stream.t.astype(t_type), "num_events": 3, "more": [1]}
    assert_same(read_events(_dict_npy(tmp_path / "clip.npy", columns)), stream)


def test_signed_polarities(tmp_path: Path) -> None:
    stream = made_stream()
    columns = {**_columns(stream), "p": stream.p.astype(np.int8) * 2 - 1}
    assert_same(read_events(_dict_npy(tmp_path / "clip.npy", columns)), stream)


def test_a_structured_array(tmp_path: Path) -> None:
    stream = made_stream(100)
    array = np.empty(100, [("timestamp", "i8"), ("x", "i2"), ("y", "i2"), ("polarity", "i1")])
    array["timestamp"], array["x"], array["y"] = stream.t, stream.x, stream.y
    array["polarity"] = stream.p
    np.save(tmp_path / "events.npy", array)
    assert_same(read_events(tmp_path / "events.npy"), stream)


@pytest.mark.parametrize(
    "names",
    [("x", "y", "timestamps", "polarity"), ("xs", "ys", "ts", "ps"), ("X", "Y", "T", "P")],
    ids="-".join,
)
def test_foreign_names_in_npz(names: tuple[str, ...], tmp_path: Path) -> None:
    stream = made_stream()
    columns = (stream.x, stream.y, stream.t, stream.p)
    np.savez(tmp_path / "events.npz", **dict(zip(names, columns, strict=True)))  # type: ignore[arg-type]
    assert_same(read_events(tmp_path / "events.npz"), stream)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"x": np.zeros(1, int)}, "it holds x"),
        ([1, 2, 3], "no dictionary"),
        (None, "no dictionary"),
        ({"x": [1, [2]], "y": 1, "t": None, "p": "a"}, "x is of type list, no array"),
        ({**{name: np.zeros(1, int) for name in "xyt"}, "p": (0,)}, "p is of type tuple"),
        ({name: np.array([None]) for name in "xytp"}, "x is an array of object"),
        ({name: np.zeros((2, 2), int) for name in "xytp"}, "2 dimensions"),
        ({name: np.zeros(2) for name in "xytp"}, "x is an array of float64"),
        ({name: np.zeros(0, int) for name in "xytp"}, "no events"),
        ({**{name: np.zeros(2, int) for name in "xyt"}, "p": np.zeros(1, int)}, "p 1"),
        ({**{name: np.zeros(2, int) for name in "xyp"}, "t": np.array([5, 4])}, "event 1 has t"),
        ({**{name: np.zeros(2, int) for name in "xtp"}, "y": np.array([5, 480])}, "y = 480"),
    ],
    ids=range(12),
)
def test_dictionaries_that_are_no_stream(content: Any, found: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=found):
        read_events(_dict_npy(tmp_path / "clip.npy", content))


class _Crafted:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("crafted"),)


def test_a_crafted_pickle_is_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = {**_columns(made_stream()), "more": _Crafted()}
    with pytest.raises(InputError, match=r"refused to load \S*pathlib\S* from a pickle") as caught:
        read_events(_dict_npy(tmp_path / "clip.npy", columns))
    assert caught.value.exit_code == 2
    assert not (tmp_path / "crafted").exists()


def test_a_crafted_pickle_in_npz_is_refused(tmp_path: Path) -> None:
    stream = made_stream(1)
    evil = np.array([_Crafted()], dtype=object)
    np.savez(tmp_path / "clip.npz", x=stream.x, y=stream.y, t=evil, p=stream.p, allow_pickle=True)
    with pytest.raises(InputError, match="Object arrays cannot be loaded"):
        read_events(tmp_path / "clip.npz")
    assert not Path("crafted").exists()


def test_an_archive_that_unpacks_to_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_files, "FREE_UNPACK_BYTES", 1 << 20)
    zeros = np.zeros(1 << 20, np.int64)
    np.savez_compressed(tmp_path / "bomb.npz", x=zeros, y=zeros, t=zeros, p=zeros)
    with pytest.raises(InputError, match="that unpack to at least 33,"):
        read_events(tmp_path / "bomb.npz")


def test_an_array_that_promises_too_much(tmp_path: Path) -> None:
    write_npz(made_stream(10), tmp_path / "clip.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (1 << 50,)}
    )
    with zipfile.ZipFile(tmp_path / "large.npz", "w") as archive:
        for name in "xytp":
            archive.writestr(f"{name}.npy", header.getvalue())
    with pytest.raises(InputError, match=r"not a readable \.npz file"):
        read_events(tmp_path / "large.npz")
    (tmp_path / "large.npy").write_bytes(header.getvalue())
    with pytest.raises(InputError, match=r"not a readable \.npy file"):
        read_events(tmp_path / "large.npy")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "the file is empty"),
        (bytes(range(200)), "of no known kind"),
        (b"\x00" * 5_000, "of no known kind"),
        (b"#!AER-DAT2.0\r\n\x00\x01", "an AEDAT 2.0 recording"),
        (b"#!AER-DAT3.1\r\n\x00\x01", "an AEDAT 3.1 recording"),
        (b"% Data file containing CD events\n% Version 2\n\x00\x08\x01", "a Prophesee DAT"),
        (pickle.dumps({"x": 1}), "of no known kind"),
    ],
    ids=["empty", "bytes", "zeros", "aedat2", "aedat3", "dat", "pickle"],
)
def test_other_files_are_named(content: bytes, found: str, tmp_path: Path) -> None:
    (tmp_path / "events.h5").write_bytes(content)
    with pytest.raises(InputError, match=found):
        read_events(tmp_path / "events.h5")


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_events(tmp_path / "missing.npy")
    with pytest.raises(InputError, match="a folder"):
        read_events(tmp_path)


def test_an_array_without_names(tmp_path: Path) -> None:
    np.save(tmp_path / "events.npy", np.zeros((9, 4), np.int64))
    with pytest.raises(InputError, match=r"an array of int64 \[9, 4\]") as caught:
        read_events(tmp_path / "events.npy")
    assert "numpy.savez" in str(caught.value)


@pytest.mark.parametrize("kind", ["npy", "npz", "hdf5"])
def test_only_text_is_read_from_gzip(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(files[kind].read_bytes()))
    with pytest.raises(InputError, match=f"a gzip file with {kind} inside"):
        read_events(path)
    path.write_bytes(gzip.compress(gzip.compress(b"1 2 3 1")))
    with pytest.raises(InputError, match="a gzip file with gzip inside"):
        read_events(path)
    path.write_bytes(gzip.compress(bytes(range(200))))
    with pytest.raises(InputError, match="unpacked, of no known kind"):
        read_events(path)


def test_what_is_no_regular_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "events.txt")
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("opening a pipe waits for ever"))
    for path in (tmp_path / "events.txt", Path("/dev/null")):
        with pytest.raises(InputError, match="not a regular file"):
            read_events(path)


@pytest.mark.parametrize("kind", ["npy", "npz", "text"])
def test_a_small_window_does_not_keep_the_file_in_memory(kind: str, files: dict[str, Path]) -> None:
    window = read_events(files[kind], window_us=(START_US, START_US + 5_000))
    for name in "xytp":
        column = getattr(window, name)
        owner = column if column.base is None else column.base
        assert len(window) > 0 and owner.nbytes == column.nbytes


def test_formats_by_content(files: dict[str, Path], tmp_path: Path) -> None:
    found = {name: event_format(path) for name, path in files.items()}
    assert found == {k: "hdf5" if k == "dsec" else k for k in found}
    stream = made_stream(20, start_us=0)
    others = {
        "text.gz": (gzip.compress(text_of(stream).encode()), "text"),
        "v2e": (text_of(stream, kind="v2e").encode(), "text"),
        "comment": (b"% a comment of ours\n" + text_of(stream).encode(), "text"),
        "evt3": (evt_bytes(stream, 3), "evt"),
        "evt2": (evt_bytes(stream, 2), "evt"),
        "bare header": (b"% date now\n% evt 3.0\n", "evt"),
        "aedat4": (b"#!AER-DAT4.0\r\n\x01\x02", "aedat4"),
        "user block": (b"\x00" * 512 + files["hdf5"].read_bytes(), "hdf5"),
    }
    for name, (content, kind) in others.items():
        (tmp_path / name).write_bytes(content)
        assert event_format(tmp_path / name) == kind, name


@pytest.mark.parametrize("kind", KINDS)
def test_cut_files(kind: str, files: dict[str, Path], tmp_path: Path) -> None:
    whole, cut = files[kind].read_bytes(), tmp_path / "cut"
    lengths = {*range(0, 200, 7), *np.linspace(0, len(whole) - 2, 60).astype(int).tolist()}
    for length in sorted(lengths):
        cut.write_bytes(whole[:length])
        if kind == "text":
            # Text may end after any digit of the last column; half an event is a fault.
            try:
                stream = read_events(cut)
            except InputError as error:
                assert str(cut) in str(error)
            else:
                assert whole[:length].count(b",") == 3 * len(stream)
        else:
            with pytest.raises(InputError):
                read_events(cut)


@given(
    head=st.sampled_from(
        [
            b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00", b"PK\x03\x04", b"PK\x05\x06", b"0.1 1 1 1\n",
            b"t,x,y,p\n", b"1,2,1,5\n", b"#!AER-DAT4.0\r\n", b"\x1f\x8b\x08\x00", b"% ",
            b"\xef\xbb\xbf",
        ]
    ),
    data=st.binary(max_size=300),
)  # fmt: skip
@settings(max_examples=400)
def test_random_bytes_raise_only_our_error(head: bytes, data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        path.write_bytes(head + data)
        try:
            stream = read_events(path)
        except InputError as error:
            assert str(path) in str(error)
        else:
            assert len(stream) > 0


@given(st.text("0123456789.,;-+eE \t\n#%xytp", max_size=120))
@settings(max_examples=400)
def test_random_text_raises_only_our_error(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "events"
        path.write_bytes(text.encode())
        try:
            read_events(path)
        except InputError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize("kind", KINDS)
def test_mutated_files_raise_our_error_or_give_a_stream(
    kind: str, files: dict[str, Path], tmp_path: Path
) -> None:
    died = crashes(files[kind], tmp_path, 250)
    # A crash inside libhdf5 is its own; anything of ours would not have ended in a signal.
    assert not died or kind in ("dsec", "hdf5"), f"mutants {died} of {kind} killed the process"


def test_events_are_read_and_drawn_without_the_file_libraries(tmp_path: Path) -> None:
    write_npy(made_stream(100), tmp_path / "clip.npy")
    code = """
import sys
sys.modules.update(dict.fromkeys(("h5py", "hdf5plugin", "av", "PIL", "pydantic", "matplotlib")))
from pathlib import Path
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.render import RenderSettings
frames = SceneDataset.open(Path("clip.npy"))[0].event_frames(RenderSettings())
print(len(frames), frames[0].shape)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert (done.stderr, done.stdout) == ("", "5 (480, 640, 3)\n")
