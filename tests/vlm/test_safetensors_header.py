"""Headers of safetensors files: everything that can be wrong with one is an InputError."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from crossdraft.base.errors import InputError
from crossdraft.vlm.safetensors_header import StoredTensor, read_header
from tests.fuzz import anything, places, put
from tests.vlm.checkpoint_folder import put_together, take_apart

TENSORS = {
    "a.weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "b": torch.zeros(5, dtype=torch.bfloat16),
    "c": torch.tensor(True),
    "empty": torch.zeros(0, 7, dtype=torch.int64),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound file."""
    path = tmp_path_factory.mktemp("safetensors") / "model.safetensors"
    save_file(TENSORS, path, metadata={"format": "pt"})
    return path


def test_reads_what_safetensors_wrote(whole: Path) -> None:
    found = read_header(whole)
    assert found.tensors == {
        "a.weight": StoredTensor("F32", (3, 4), 48),
        "b": StoredTensor("BF16", (5,), 10),
        "c": StoredTensor("BOOL", (), 1),
        "empty": StoredTensor("I64", (0, 7), 0),
    }
    assert sum(tensor.elements for tensor in found.tensors.values()) == 18


@pytest.mark.parametrize(
    "dtype", [getattr(torch, name) for name in ("float16", "float64", "int8", "float8_e4m3fn")]
)
def test_number_formats(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.zeros(3, 5, dtype=dtype)
    save_file({"x": tensor}, tmp_path / "x.safetensors")
    assert read_header(tmp_path / "x.safetensors").tensors["x"].nbytes == tensor.nbytes


def test_a_cut_file_says_how_much_is_there(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    path = tmp_path / "model.safetensors"
    path.write_bytes(data[:-7])
    message = f"the file is cut: {len(data) - 7} bytes are there, its header promises {len(data)}"
    with pytest.raises(InputError, match=message) as raised:
        read_header(path)
    assert str(path) in str(raised.value) and "download or copy it again" in str(raised.value)
    path.write_bytes(data[:100])
    end = 8 + int.from_bytes(data[:8], "little")
    with pytest.raises(InputError, match=f"100 bytes are there, its header alone ends at .* {end}"):
        read_header(path)


def test_cut_at_every_byte(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    path = tmp_path / "model.safetensors"
    for size in range(len(data)):
        path.write_bytes(data[:size])
        expected = "is empty" if size == 0 else "not a safetensors" if size < 8 else "is cut"
        with pytest.raises(InputError, match=expected):
            read_header(path)


def test_longer_than_its_header_says(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole.read_bytes() + b"more")
    with pytest.raises(InputError, match="of which the header accounts for"):
        read_header(path)


FILES = {
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 4985\n",
        "a Git LFS pointer.*(?s:.)*git lfs pull",
    ),
    "web-page": (b"<!DOCTYPE html><html>Log in to see this model</html>", "does the model ask for"),
    "zip": (b"PK\x03\x04" + bytes(100), "a file of torch.save under another name"),
    "pickle": (pickle.dumps({"w": [1.0] * 20}), "a file of torch.save under another name"),
    "text": (b"hello, this is a text file", "not a safetensors file .26 bytes that begin with"),
    "json": (json.dumps({"weight_map": {}}).encode(), "not a safetensors file"),
    "zeros": (bytes(1000), "not a safetensors file"),
    "empty": (b"", "the file is empty"),
}


@pytest.mark.parametrize("name", FILES)
def test_another_file(name: str, tmp_path: Path) -> None:
    data, message = FILES[name]
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_header(path)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_header(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="this is a folder"):
        read_header(tmp_path)


def moved(header: dict[str, Any], name: str, *offsets: int) -> dict[str, Any]:
    return header | {name: header[name] | {"data_offsets": list(offsets)}}


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "not-json": (lambda header: b'{"a.weight": {"dtype"  ', "header is not valid JSON"),
    "not-utf8": (lambda header: b'{"\xff\xfe": 3}', "header is not valid JSON"),
    "deep": (lambda header: b'{"a":' + b"[" * 100_000, "header is not valid JSON"),
    "list": (lambda header: [header], "not a safetensors file"),
    "entry": (lambda header: header | {"b": 3}, "tensor 'b': is a number"),
    "doubled": (
        lambda header: json.dumps(header)[:-1].encode() + b', "b": {}}',
        "'b' is there twice",
    ),
    "surrogate": (lambda header: header | {"\ud800": header["b"]}, "header is not valid JSON"),
    "dtype": (lambda header: header | {"b": header["b"] | {"dtype": "F17"}}, "dtype is 'F17'"),
    "shape": (lambda header: header | {"b": header["b"] | {"shape": [-5]}}, "shape is no list"),
    "half": (lambda header: header | {"b": header["b"] | {"shape": [2.5]}}, "shape is no list"),
    "size": (
        lambda header: header | {"b": header["b"] | {"shape": [6]}},
        r"tensor 'b': bytes .*(?s:.)*12 bytes for BF16 values in shape \[6\]",
    ),
    "backwards": (lambda header: moved(header, "b", 58, 48), "tensor 'b': bytes 58 to 48"),
    "negative": (lambda header: moved(header, "b", -10, 0), "data_offsets is no pair"),
    "one": (lambda header: moved(header, "b", 48), "data_offsets is no pair"),
    "overlap": (lambda header: moved(header, "b", 40, 50), "overlaps 'a.weight'"),
    "gap": (lambda header: moved(header, "b", 52, 62), "leaves a gap before it"),
    "beyond": (
        lambda header: moved(header, "b", 10**9, 10**9 + 10),
        "'c' leaves a gap before it",
    ),
    "past-the-end": (
        lambda header: (
            header
            | {
                "c": {"dtype": "BOOL", "shape": [10, 100], "data_offsets": [58, 1058]},
                "empty": {"dtype": "BOOL", "shape": [0], "data_offsets": [1058, 1058]},
            }
        ),
        "the file is cut",
    ),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_contradicts_itself(name: str, whole: Path, tmp_path: Path) -> None:
    change, message = HEADERS[name]
    header, tensors = take_apart(whole)
    # In a fixed order, whatever the library chose: a.weight, b, c, empty.
    header, places_of = dict(header), {"a.weight": (0, 48), "b": (48, 58), "c": (58, 59)}
    for tensor, offsets in places_of.items():
        header = moved(header, tensor, *offsets)
    header = moved(header, "empty", 59, 59)
    path = tmp_path / "model.safetensors"
    put_together(path, header, tensors)
    assert len(read_header(path).tensors) == 4
    put_together(path, change(header), tensors)
    with pytest.raises(InputError, match=message):
        read_header(path)


@settings(max_examples=300)
@given(data=st.data())
def test_any_json_in_a_header(
    data: st.DataObject, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    header, tensors = take_apart(whole)
    place = data.draw(st.sampled_from(places(header)))
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    put_together(path, put(header, place, data.draw(anything)), tensors)
    only_input_errors(path)


@settings(max_examples=300)
@given(start=st.sampled_from([0, 1, 40, 500]), noise=st.binary(min_size=1, max_size=80))
def test_any_bytes(
    start: int, noise: bytes, whole: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.safetensors"
    path.write_bytes(start.to_bytes(8, "little") + noise if start else noise)
    only_input_errors(path)
    path.write_bytes(whole.read_bytes()[:start] + noise)
    only_input_errors(path)


def test_flipped_bits(whole: Path, tmp_path: Path) -> None:
    data = whole.read_bytes()
    length = int.from_bytes(data[:8], "little")
    path = tmp_path / "model.safetensors"
    for bit in range(64):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(InputError):
            read_header(path)
    sound = 0
    for bit in range(64, 8 * (8 + length), 5):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        sound += only_input_errors(path)
    # A flip can hit a name, or a shape whose product stays; nothing else may pass.
    assert sound < 8 * length / 5 / 4


def only_input_errors(path: Path) -> bool:
    """Whether a file reads; raises whatever is no InputError."""
    try:
        read_header(path)
    except InputError:
        return False
    return True
