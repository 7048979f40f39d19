"""What a safetensors file says it holds, checked to the last byte; no tensor is loaded.

The format: 8 bytes with the header's length, the header as JSON, then the tensors without a gap
(https://huggingface.co/docs/safetensors). Whatever is wrong with a download shows here, before a
loader that knows only tensors fails on it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.vlm.hub_cache import fetch_again

#: How to turn a pickle into a file that is read here.
CONVERT = (
    "take a safetensors version of the model; or, where you trust the file, read it with "
    "torch.load(FILE, weights_only=True) and write its tensors with "
    "safetensors.torch.save_file(TENSORS, 'model.safetensors')"
)
#: What the safetensors library reads at most.
_MAX_HEADER_BYTES = 100_000_000
_BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8,
    "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
_POINTER = b"version https://git-lfs"
#: How files begin that torch.save wrote: zip archives, or bare pickles of protocol 2 to 5.
_PICKLED = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@dataclass(frozen=True)
class StoredTensor:
    """What a header says about one tensor."""

    dtype: str
    shape: tuple[int, ...]
    nbytes: int

    @property
    def elements(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class WeightFile:
    """One safetensors file and its tensors by name, in the order they lie in it."""

    path: Path
    tensors: Mapping[str, StoredTensor]


def read_header(path: Path) -> WeightFile:
    """Read what a file says it holds and check that it does.

    Raises:
        InputError: not a safetensors file, cut, longer than it says, or its header contradicts
            itself.
    """
    size, first = _beginning(path)
    length = int.from_bytes(first[:8], "little")
    if size < 8 or length > _MAX_HEADER_BYTES or first[8:9] not in (b"", b"{"):
        raise _no_safetensors(path, size, first)
    if size < 8 + length:
        raise _cut(path, size, f"its header alone ends at byte {8 + length:,}")
    with path.open("rb") as stream:
        stream.seek(8)
        tensors, end = _tensors(stream.read(length), path)
    promised = 8 + length + end
    if size < promised:
        raise _cut(path, size, f"its header promises {promised:,}")
    if size > promised:
        raise _damaged(path, f"{size:,} bytes, of which the header accounts for {promised:,}")
    return WeightFile(path, tensors)


def refuse_pointer(path: Path) -> None:
    """Refuse the note that git leaves in place of a large file it did not fetch.

    Raises:
        InputError: the file is such a note, or cannot be read.
    """
    if _beginning(path)[1].startswith(_POINTER):
        raise InputError(
            "a Git LFS pointer, not the file itself",
            where=path,
            expected="the file that the pointer stands for",
            hint=f"run `git lfs pull` in its folder, or {fetch_again(path)}",
        )


def _beginning(path: Path) -> tuple[int, bytes]:
    """Size and first bytes of a file that is not empty."""
    if path.exists() and not path.is_file():
        raise InputError("this is a folder or a device", where=path, expected="a file")
    try:
        with path.open("rb") as stream:
            size, first = os.fstat(stream.fileno()).st_size, stream.read(64)
    except FileNotFoundError as error:
        raise InputError("no such file", where=path) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=path) from error
    if not first:
        raise InputError("the file is empty", where=path, hint=fetch_again(path))
    return size, first


def _no_safetensors(path: Path, size: int, first: bytes) -> InputError:
    """The error of a file that does not begin with a header."""
    refuse_pointer(path)
    found = f"not a safetensors file ({size:,} bytes that begin with {first[:9]!r})"
    hint = fetch_again(path)
    if first.startswith(_PICKLED):
        found, hint = "a file of torch.save under another name, refused unopened", CONVERT
    elif first.lstrip().startswith(b"<"):
        hint += "; it looks like a web page: does the model ask for a login?"
    return InputError(found, where=path, expected="a safetensors file", hint=hint)


def _cut(path: Path, size: int, promise: str) -> InputError:
    return InputError(
        f"the file is cut: {size:,} bytes are there, {promise}",
        where=path,
        expected="the whole file",
        hint=fetch_again(path),
    )


def _damaged(path: Path, found: str) -> InputError:
    return InputError(
        found,
        where=path,
        expected="a safetensors file as it was written",
        hint=fetch_again(path),
    )


def _tensors(header: bytes, path: Path) -> tuple[dict[str, StoredTensor], int]:
    """Tensors of a header in the order of their offsets, and the number of bytes they take."""
    places = []
    for name, entry in _entries(header, path).items():
        if name != "__metadata__":
            places.append((*_tensor(Item(entry, path, f"tensor {name!r}")), name))
    places.sort(key=lambda place: place[:2])
    end, before = 0, ""
    for first, last, _, name in places:
        if first != end:
            fault = f"overlaps {before!r}" if first < end else "leaves a gap before it"
            raise _damaged(path, f"tensor {name!r} {fault} (bytes {first:,} to {last:,})")
        end, before = last, name
    return {name: tensor for _, _, tensor, name in places}, end


def _entries(header: bytes, path: Path) -> dict[str, Any]:
    """The header's object. `parse_json` would hide a name that is there twice."""
    try:
        entries = json.loads(header.decode("utf-8"), object_pairs_hook=_object)
    except (UnicodeError, ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid JSON ({error})") from error
    assert isinstance(entries, dict), "read_header has seen the brace"
    return entries


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose names are whole text and stand in it once."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        name.encode("utf-8")
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found


def _tensor(entry: Item) -> tuple[int, int, StoredTensor]:
    """One entry of a header: where its first byte lies, where its last byte ends, the rest."""
    dtype, shape, offsets = (entry.value.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in _BITS:
        raise entry.error(
            f"dtype is {str(dtype)[:40]!r}", f"one that safetensors knows ({', '.join(_BITS)})"
        )
    if not _sizes(shape):
        raise entry.error("shape is no list of whole numbers", "sizes, zero or more each")
    if not _sizes(offsets) or len(offsets) != 2:
        raise entry.error("data_offsets is no pair of whole numbers", "first byte and end")
    needed = -(-math.prod(shape) * _BITS[dtype] // 8)
    if offsets[1] - offsets[0] != needed:
        raise entry.error(
            f"bytes {offsets[0]:,} to {offsets[1]:,}",
            f"{needed:,} bytes for {dtype} values in shape {shape}",
        )
    return offsets[0], offsets[1], StoredTensor(dtype, tuple(shape), needed)


def _sizes(value: Any) -> TypeGuard[list[int]]:
    """Whether a JSON value is a list of sizes that 64 bits hold."""
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**63 for v in value)
