"""Pickled arrays, rebuilt from what the pickle says and not by numpy's own unpickling.

numpy's state setters trust their input: a pickle of a few bytes can crash them or make them read
memory that is not theirs. Here a dtype is a checked name and an array is built from checked bytes.
The interpreter's pure Python unpickler runs the opcodes; the compiled one reserves memory for as
many objects as a pickle claims to have.
"""

from __future__ import annotations

import collections
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from crossdraft.base.errors import InputError

_DTYPE = re.compile(r"[<>=|]?([biufc]\d{1,2}|[SU]\d{1,6}|O8?)")
#: Containers may hold each other this deep.
_MAX_DEPTH = 50


class _Dtype:
    """What a pickle says of a dtype: a name, then its byte order."""

    def __init__(self, name: Any, *flags: Any) -> None:
        if not isinstance(name, str) or not _DTYPE.fullmatch(name):
            raise pickle.UnpicklingError(f"an array of type {str(name)[:20]!r}")
        self.dtype = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """What a pickle says of an array, until it is built."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _numbers(content: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(content, str):  # bytes of a pickle that Python 2 wrote
        content = content.encode("latin-1")
    if dtype.hasobject or not isinstance(content, (bytes, bytearray)):
        raise pickle.UnpicklingError(f"an array of {dtype} from {type(content).__name__}")
    # Bytes are copied, so that the array can be written.
    return np.frombuffer(content if isinstance(content, bytearray) else bytearray(content), dtype)


def _from_buffer(content: Any, kind: _Dtype, shape: Any, order: str) -> Any:
    return _numbers(content, kind.dtype).reshape(shape, order=order)


def _scalar(kind: _Dtype, content: Any) -> Any:
    return _numbers(content, kind.dtype)[0]


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in {encoding[:20]!r}")
    return text.encode("latin-1")


class _Builder:
    """Turns what was unpickled into plain containers with real arrays in them."""

    def __init__(self) -> None:
        # Each object once: a few shared lists can stand for more than fits anywhere.
        self._built: dict[int, Any] = {}

    def plain(self, value: Any, depth: int = 0) -> Any:
        if depth > _MAX_DEPTH:
            raise pickle.UnpicklingError("containers nested too deeply, or within themselves")
        if not isinstance(value, (_Array, dict, list, tuple, set, frozenset)):
            return value
        if id(value) not in self._built:
            self._built[id(value)] = self._build(value, depth + 1)
        return self._built[id(value)]

    def _build(self, value: Any, depth: int) -> Any:
        if isinstance(value, _Array):
            return self._array(value, depth)
        if isinstance(value, dict):
            pairs = value.items()
            return type(value)((self.plain(k, depth), self.plain(v, depth)) for k, v in pairs)
        return type(value)(self.plain(item, depth) for item in value)

    def _array(self, value: _Array, depth: int) -> Any:
        _, shape, kind, fortran, content = value.state
        value.state = None  # frees the bytes once they are copied, one array after the other
        if kind.dtype.hasobject:
            array = np.empty(len(content), kind.dtype)
            for place, item in enumerate(content):
                array[place] = self.plain(item, depth)
        else:
            array = _numbers(content, kind.dtype)
        return array.reshape(shape, order="F" if fortran else "C")


_GLOBALS: dict[tuple[str, str], Callable[..., Any]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _encode,
}


class ArrayUnpickler(pickle._Unpickler):
    """Unpickler that admits numpy arrays and plain containers."""

    def __init__(self, stream: IO[bytes], where: Path) -> None:
        super().__init__(stream)
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        builder = _GLOBALS.get((module, name))
        if builder is None:
            raise InputError(
                f"refused to load {module}.{name} from a pickle",
                where=self._where,
                expected="numpy arrays and plain containers only",
                hint="save the data as .npz or .safetensors if you trust its source",
            )
        # A function of its own each time: a pickle may set attributes on what it was given.
        return lambda *arguments: builder(*arguments)

    def persistent_load(self, pid: Any) -> Any:
        raise InputError(f"refused a persistent reference ({pid!r})", where=self._where)


def load(stream: IO[bytes], where: Path) -> Any:
    """Read one pickle of arrays and plain containers.

    Raises:
        InputError: it asks for anything else; what it asked for is named.
        Exception: nearly anything, on damaged bytes.
    """
    return _Builder().plain(ArrayUnpickler(stream, where).load())
