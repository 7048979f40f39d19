"""Pickles of arrays: every protocol, and the ones that harm numpy's own unpickling."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossdraft.base import array_pickle
from crossdraft.base.errors import InputError

HERE = Path("clip.npy")


def load(data: bytes) -> Any:
    return array_pickle.load(io.BytesIO(data), HERE)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol: int) -> None:
    content = {
        "x": np.arange(6, dtype=np.uint16).reshape(2, 3),
        "transposed": np.arange(6).reshape(2, 3).T,
        "big": np.arange(3, dtype=">i4"),
        "flags": np.array([True, False]),
        "words": np.array(["ab", "c"]),
        "objects": np.array([1, "a", None], dtype=object),
        "number": np.float32(3),
        "list": [1, (2, "three")],
    }
    found = load(pickle.dumps(content, protocol))
    assert found.keys() == content.keys()
    for name, value in content.items():
        if isinstance(value, np.ndarray):
            assert found[name].dtype == value.dtype and found[name].flags.writeable
            np.testing.assert_array_equal(found[name], value)
        else:
            assert found[name] == value


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_bytes_are_freed_as_arrays_are_built(protocol: int, tmp_path: Path) -> None:
    """Above the pickle's own bytes one array at a time, not all of them again."""
    size = 4 << 20
    arrays = {name: np.ones(size, np.uint8) for name in "abcd"}
    (tmp_path / "clip").write_bytes(pickle.dumps(arrays, protocol))
    with (tmp_path / "clip").open("rb") as stream:
        tracemalloc.start()
        found = array_pickle.load(stream, HERE)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert found["d"].sum() == size and peak_bytes < 6.5 * size


def test_a_shared_array_stays_shared() -> None:
    array = np.arange(3)
    found = load(pickle.dumps([array, array]))
    assert found[0] is found[1]


def test_shared_lists_are_not_multiplied_out() -> None:
    value: list[Any] = [0]
    for _ in range(40):
        value = [value, value]
    assert load(pickle.dumps(value))[0] is not None


@pytest.mark.parametrize(
    "data",
    [
        # A claim of 2^28 remembered objects, for which the compiled unpickler reserves 4 GB.
        b"\x80\x04Nr" + struct.pack("<I", 0x0FFFFFFF) + b"0r" + b".",
        # numpy's dtype dies on a date whose state lacks its unit.
        pickle.dumps(np.dtype("M8")),
        pickle.dumps(np.zeros(1, "M8[us]")),
        pickle.dumps(np.zeros(1, [("a", "i4")])),
        # bytearray(10**12) would take a terabyte.
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(Vi4\nI00\nI01\ntRI1000000000000\ntR.",
        b"c_codecs\nencode\n(Vabc\nVzip\ntR.",
        pickle.dumps(np.arange(10))[:-20],
        b"",
    ],
    ids=["memo", "date", "dates", "structured", "terabyte", "codec", "cut", "empty"],
)
def test_harmful_pickles_are_faults(data: bytes) -> None:
    with pytest.raises(Exception, match=r".*") as caught:
        load(data)
    assert not isinstance(caught.value, MemoryError)


def test_deep_and_circular_containers_are_faults() -> None:
    deep: list[Any] = []
    for _ in range(80):
        deep = [deep]
    circular: list[Any] = []
    circular.append(circular)
    for value in (deep, circular):
        with pytest.raises(pickle.UnpicklingError, match="nested too deeply"):
            load(pickle.dumps(value))


def test_a_refusal_is_named() -> None:
    with pytest.raises(InputError, match=r"refused to load os\.system"):
        load(b"cos\nsystem\n(Vtrue\ntR.")
