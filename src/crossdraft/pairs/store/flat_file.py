"""A safetensors file written piece by piece, and read as views of its memory map.

The library's own writer takes whole tensors; a shard's are its pairs' one behind the other, and are
written without being put together first. Nothing but the layout is ours: every safetensors reader
opens these files.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.files import atomic_path
from crossdraft.vlm.safetensors_header import read_header

#: Names of the dtypes in a header.
NAMES = {
    torch.int64: "I64", torch.int32: "I32", torch.float32: "F32", torch.float16: "F16",
    torch.bfloat16: "BF16", torch.uint32: "U32", torch.uint8: "U8", torch.int8: "I8",
}  # fmt: skip
_DTYPES = {name: dtype for dtype, name in NAMES.items()}


@dataclass(frozen=True, eq=False)
class Column:
    """One tensor of a file, in the pieces it is written in.

    Attributes:
        dtype: of every piece.
        shape: of the whole; the pieces follow each other along its first dimension.
        pieces: contiguous, on the CPU.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    pieces: Sequence[Tensor]

    @classmethod
    def of(cls, tensor: Tensor) -> Column:
        """A column of one piece."""
        return cls(tensor.dtype, tuple(tensor.shape), (tensor.contiguous(),))

    @property
    def nbytes(self) -> int:
        """What it takes in a file."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Written:
    """A file as it was written: its size, and the digest of its bytes."""

    bytes: int
    sha256: str


def bytes_of(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous tensor, not copied."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def crc_of(*tensors: Tensor, start: int = 0) -> int:
    """CRC-32 over the bytes of tensors one behind the other."""
    for tensor in tensors:
        start = zlib.crc32(bytes_of(tensor), start)
    return start


def in_file_order(columns: Mapping[str, Column]) -> list[str]:
    """Names of columns as they lie in a file: the widest numbers first, so that each is aligned."""
    return sorted(columns, key=lambda name: (-columns[name].dtype.itemsize, name))


def header_of(columns: Mapping[str, Column], metadata: Mapping[str, str]) -> bytes:
    """The beginning of a file of these columns: the header's length, and the header."""
    entries: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name in in_file_order(columns):
        column, first = columns[name], end
        end += column.nbytes
        entries[name] = {
            "dtype": NAMES[column.dtype],
            "shape": list(column.shape),
            "data_offsets": [first, end],
        }
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def write_flat(path: Path, header: bytes, columns: Mapping[str, Column]) -> Written:
    """Write a file atomically.

    Args:
        header: as `header_of` makes it of these columns.

    Raises:
        InputError: the folder cannot be written.
    """
    digest, size = hashlib.sha256(header), len(header)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(header)
        for name in in_file_order(columns):
            for piece in columns[name].pieces:
                data = bytes_of(piece)
                stream.write(data)
                digest.update(data)
                size += len(data)
        stream.flush()
    return Written(size, digest.hexdigest())


@dataclass(frozen=True, eq=False)
class FlatFile:
    """A file of tensors in memory as the system maps it: what is not looked at is not read.

    The views are of a private map: who writes into one changes neither the file nor what others
    see of it. A map takes no file descriptor, and ends with the last view of it.

    Attributes:
        header: the bytes before the tensors.
        tensors: views by name, in the order they lie in the file.
    """

    header: Tensor
    tensors: Mapping[str, Tensor]

    @classmethod
    def open(cls, path: Path) -> FlatFile:
        """Map a file.

        Raises:
            InputError: as `read_header`, or a dtype that no file of ours has.
        """
        stored = read_header(path).tensors
        size = path.stat().st_size
        memory = torch.empty(0, dtype=torch.uint8)
        storage: Any = torch.UntypedStorage.from_file(str(path), False, size)
        memory.set_(storage)
        first = size - sum(one.nbytes for one in stored.values())
        tensors, end = {}, first
        for name, one in stored.items():
            data = memory[end : end + one.nbytes]
            end += one.nbytes
            dtype = _DTYPES.get(one.dtype)
            # What was written here is aligned; what is not is missed by whoever asks for it.
            if dtype is not None and data.storage_offset() % dtype.itemsize == 0:
                tensors[name] = data.view(dtype).view(one.shape)
        return cls(memory[:first], tensors)

    def crc_without(self, names: Collection[str]) -> int:
        """CRC-32 over the header and every tensor but those named, in file order."""
        others = (tensor for name, tensor in self.tensors.items() if name not in names)
        return crc_of(self.header, *others)
