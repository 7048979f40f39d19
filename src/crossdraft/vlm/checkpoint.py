"""Checkpoint folders: what one holds, read from its headers, or an error a person can act on.

No tensor is loaded, no code that a checkpoint brings along is run, and nothing is fetched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.vlm.config_file import fields, read_config, read_json
from crossdraft.vlm.hub_cache import fetch_again, find
from crossdraft.vlm.weight_files import weight_files

#: Numbers of layers in a configuration.
_LAYERS = {"num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth"}


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint folder holds.

    Attributes:
        folder: the folder; for a name from the hub, its copy in the hub's cache.
        architectures: classes that the weights were saved from, as config.json names them.
        model_type: the family, as config.json names it.
        config: config.json.
        files: the weight files, in the order of their names.
        tensors: number of stored tensors.
        parameters: number of stored values.
        bytes_by_dtype: size of the tensors of each number format, by safetensors' name of it.
        largest_bytes: size of the largest stored tensor.
    """

    folder: Path
    architectures: tuple[str, ...]
    model_type: str
    config: Mapping[str, Any]
    files: tuple[Path, ...]
    tensors: int
    parameters: int
    bytes_by_dtype: Mapping[str, int]
    largest_bytes: int

    @property
    def config_path(self) -> Path:
        """Path of config.json."""
        return self.folder / "config.json"

    @property
    def quantised(self) -> bool:
        """Whether the weights are stored in packed form."""
        return bool(self.config.get("quantization_config"))


def inspect(folder: Path | str) -> Checkpoint:
    """Read config.json and the headers of all weight files; see that generation_config.json is
    whole where it is there.

    Args:
        folder: a folder, or the name of a model on the hub whose files are in the hub's cache.

    Raises:
        InputError: no checkpoint, an incomplete or damaged one, or one that runs code of its own.
    """
    place = find(folder)
    settings = place / "generation_config.json"
    try:
        config, architectures, model_type = read_config(place)
        if settings.is_file():
            # transformers passes over a damaged one, and what ends an answer is lost.
            read_json(settings, "the generation settings")
        files = weight_files(place)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=place) from error
    tensors = [tensor for file in files for tensor in file.tensors.values()]
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.nbytes
    checkpoint = Checkpoint(
        place,
        architectures,
        model_type,
        config,
        tuple(file.path for file in files),
        len(tensors),
        sum(tensor.elements for tensor in tensors),
        dict(sizes),
        max(tensor.nbytes for tensor in tensors),
    )
    _refuse_too_many_layers(checkpoint)
    return checkpoint


def _refuse_too_many_layers(checkpoint: Checkpoint) -> None:
    """Refuse before a model of a billion layers is built: each layer has at least one tensor."""
    for path, key, value in fields(checkpoint.config):
        if key in _LAYERS and type(value) is int and value > checkpoint.tensors:
            raise InputError(
                f"{path} is {value:,}, and the weight files hold {checkpoint.tensors:,} tensors",
                where=checkpoint.config_path,
                expected="configuration and weights of the same model",
                hint=fetch_again(checkpoint.config_path),
            )
