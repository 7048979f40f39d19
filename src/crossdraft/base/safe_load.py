"""Loading tensors and arrays from files that somebody else wrote.

safetensors is our format. Old `.pt` and pickled `.npy` files are read through restricted
unpicklers that admit arrays and plain containers only, and name what they refused.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossdraft.base import array_pickle
from crossdraft.base.errors import InputError, gist

if TYPE_CHECKING:
    import torch


def load_pickled_npy(path: Path) -> Any:
    """Read a `.npy` file; a pickled object array goes through the restricted unpickler.

    Returns:
        The array, or for a zero-dimensional object array the object it holds (event clips are
        stored as one dict of arrays this way).

    Raises:
        InputError: not a `.npy` file, damaged, or it asks for anything but arrays and containers.
    """
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            read_header = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            _, _, dtype = read_header(stream)
            if not dtype.hasobject:
                stream.seek(0)
                return np.lib.format.read_array(stream, allow_pickle=False)
            loaded = array_pickle.load(stream, path)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError("no such file", where=path) from error
    except Exception as error:  # unpicklers raise nearly anything on damaged bytes
        raise InputError(
            f"not a readable .npy file ({type(error).__name__}: {error})", where=path
        ) from error
    if isinstance(loaded, np.ndarray) and loaded.ndim == 0:
        return loaded.item()
    return loaded


def load_tensors(
    path: Path, expected: str = "a .safetensors file, or tensors that torch.save wrote"
) -> dict[str, torch.Tensor] | torch.Tensor:
    """Read tensors from safetensors or an old `.pt` file, onto the CPU, without running code.

    Args:
        expected: what an error calls a file that would have been right.

    Raises:
        InputError: missing, damaged, a tensor that claims more numbers than it has bytes for, or a
            pickle that asks for more than tensors and containers; the message names what was
            refused.
    """
    if path.suffix != ".safetensors":
        loaded: dict[str, torch.Tensor] | torch.Tensor = _unpickled(path, expected)
        for value in loaded.values() if isinstance(loaded, dict) else [loaded]:
            if refused := _hollow(value):
                raise InputError(f"holds a {refused}", where=path, expected=expected)
        return loaded
    if not path.is_file():
        raise InputError("no such file", where=path)
    try:
        from safetensors.torch import load_file

        return load_file(path)
    except Exception as error:  # safetensors raises many kinds on damaged bytes
        raise _unreadable(path, error, expected) from error


def load_plain(
    path: Path,
    expected: str = "tensors and plain values that torch.save wrote",
    *,
    mapped: bool = False,
) -> Any:
    """Read what torch.save wrote, without running code: tensors, plain values, and lists and
    mappings of both.

    Args:
        expected: what an error calls a file that would have been right.
        mapped: tensors stay in the file and come to memory as they are read, where the file is an
            archive (torch.save writes them since 2020).

    Raises:
        InputError: missing, damaged, or it holds anything else; the message names what.
    """
    loaded = _unpickled(path, expected, mapped=mapped)
    refused = _other_than_plain(loaded)
    if refused is not None:
        raise InputError(f"holds a {refused}", where=path, expected=expected)
    return loaded


class _Record:
    """Stands for an object of a class that we do not have: its fields, and none of its code."""

    def __new__(cls) -> _Record:
        """Without arguments: a function that the pickle would call gets some, and fails here."""
        return super().__new__(cls)


def load_recorded(path: Path, expected: str = "what torch.save wrote") -> Any:
    """As `load_plain`, but values of a mapping may be objects: they come as mappings of their
    fields, which must be plain. Their classes are neither looked for nor run.

    Raises:
        InputError: as `load_plain`.
    """
    try:
        return load_plain(path, expected)
    except InputError:
        names = _foreign_names(path)
        if not names:
            raise
        loaded = _of_records(path, expected, names)
        if loaded is None or _other_than_plain(loaded) is not None:
            raise
        return loaded


def _foreign_names(path: Path) -> list[str]:
    """Classes and functions that torch's restricted loader does not know; empty in old files."""
    from torch.serialization import get_unsafe_globals_in_checkpoint

    try:
        return list(get_unsafe_globals_in_checkpoint(path))
    except Exception:  # torch raises many kinds on damaged bytes
        return []


def _of_records(path: Path, expected: str, names: list[str]) -> dict[Any, Any] | None:
    """A mapping in which records stand for objects of these classes; None if it cannot be read."""
    from torch.serialization import safe_globals

    try:
        with safe_globals([(_Record, name) for name in names]):
            loaded = _unpickled(path, expected)
    except InputError:
        return None
    if not isinstance(loaded, dict):
        return None
    return {key: vars(value) if type(value) is _Record else value for key, value in loaded.items()}


def _unpickled(path: Path, expected: str, *, mapped: bool = False) -> Any:
    """What torch's own restricted loader makes of a file."""
    import torch

    if not path.is_file():
        raise InputError("no such file", where=path)
    try:
        with warnings.catch_warnings():
            # torch's remarks on files that it then refuses.
            warnings.simplefilter("ignore")
            if path.suffix == ".safetensors":
                # Given this name, newer releases expect what it promises.
                with path.open("rb") as stream:
                    return torch.load(stream, map_location="cpu", weights_only=True)
            lazily = mapped and zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=lazily)
    except Exception as error:  # torch raises many kinds on damaged bytes
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL " in str(error):
            raise InputError(
                f"refused to load {str(error).split('GLOBAL ')[-1].split(' ')[0]} from a pickle",
                where=path,
                expected="tensors and plain containers only",
                hint="convert the file to .safetensors if you trust its source",
            ) from error
        raise _unreadable(path, error, expected) from error


def _other_than_plain(loaded: Any) -> str | None:
    """What stands in a loaded value that is neither a dense tensor nor plain; None if nothing.

    torch's loader admits more: sets, sparse and quantised tensors, subclasses of tensors.
    """
    import torch

    # A pickle may hold one list many times, or in itself: each is looked at once.
    seen: set[int] = set()
    waiting = [loaded]
    while waiting:
        value = waiting.pop()
        if type(value) is torch.Tensor:
            if value.layout is not torch.strided or value.is_quantized or value.is_meta:
                return f"tensor that is not dense ({value.dtype}, {value.layout})"
            if hollow := _hollow(value):
                return hollow
        elif isinstance(value, (dict, list, tuple)):
            if id(value) not in seen:
                seen.add(id(value))
                waiting += [*value, *value.values()] if isinstance(value, dict) else value
        elif value is not None and type(value) not in (bool, int, float, str):
            return type(value).__name__
    return None


def _hollow(value: Any) -> str | None:
    """What is wrong with a tensor whose numbers repeat fewer bytes than they take: a file of a few
    bytes would fill any memory. None if nothing is."""
    import torch

    if not isinstance(value, torch.Tensor) or value.layout is not torch.strided or value.is_meta:
        return None
    size = value.untyped_storage().nbytes()
    if value.numel() * value.element_size() <= size:
        return None
    shape = " x ".join(map(str, value.shape))
    return f"tensor of {shape} numbers ({value.dtype}) in {size:,} bytes"


def _unreadable(path: Path, error: Exception, expected: str) -> InputError:
    return InputError(
        f"not a readable tensor file ({_fault(path, error)})", where=path, expected=expected
    )


def _fault(path: Path, error: Exception) -> str:
    """What is wrong with a file; torch's own words are about its sources and its options."""
    if path.suffix == ".safetensors":
        return f"{type(error).__name__}: {gist(error)}"
    try:
        with path.open("rb") as stream:
            begin = stream.read(2)
    except OSError as unread:
        return unread.strerror or str(unread)
    if not begin:
        return "it is empty"
    if begin != b"PK":
        return "neither safetensors nor what torch.save writes, or damaged"
    # Since 2020 torch.save writes an archive, its tensors described in `<name>/data.pkl`.
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
    except Exception:  # on damaged bytes as above
        return "an archive that is cut or damaged"
    if not any(name.endswith("/data.pkl") for name in members):
        return "an archive without tensors of torch"
    return "an archive of torch that holds more than tensors, or damaged ones"
