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
        InputError: missing, damaged, or a pickle that asks for more than tensors and containers;
            the message names what was refused.
    """
    import torch

    if not path.is_file():
        raise InputError("no such file", where=path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            # torch's remarks on files that it then refuses.
            warnings.simplefilter("ignore")
            loaded: dict[str, torch.Tensor] | torch.Tensor = torch.load(
                path, map_location="cpu", weights_only=True
            )
        return loaded
    except Exception as error:  # torch and safetensors raise many kinds on damaged bytes
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL " in str(error):
            raise InputError(
                f"refused to load {str(error).split('GLOBAL ')[-1].split(' ')[0]} from a pickle",
                where=path,
                expected="tensors and plain containers only",
                hint="convert the file to .safetensors if you trust its source",
            ) from error
        raise InputError(
            f"not a readable tensor file ({_fault(path, error)})", where=path, expected=expected
        ) from error


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
