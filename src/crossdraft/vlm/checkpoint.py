"""Checkpoint folders: what one holds, and a model out of it, or an error a person can act on.

Everything that can be known without loading is checked first. Only safetensors are read, no code
that a checkpoint brings along is run, and nothing is fetched from anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch

from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError, gist
from crossdraft.vlm.config_file import fields, read_config
from crossdraft.vlm.hub_cache import fetch_again, find
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.weight_files import named, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedModel

M = TypeVar("M", bound="PreTrainedModel")

#: Numbers of layers in a configuration.
_LAYERS = {"num_hidden_layers", "num_layers", "n_layer", "n_layers", "depth"}
#: A model may be so much larger than its weight files before it is not even built: parameters
#: that share a stored tensor are counted twice, and small models are cheap.
_FACTOR, _FREE_PARAMETERS = 2, 10_000_000


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
    """

    folder: Path
    architectures: tuple[str, ...]
    model_type: str
    config: Mapping[str, Any]
    files: tuple[Path, ...]
    tensors: int
    parameters: int
    bytes_by_dtype: Mapping[str, int]

    @property
    def config_path(self) -> Path:
        """Path of config.json."""
        return self.folder / "config.json"


def inspect(folder: Path | str) -> Checkpoint:
    """Read config.json and the headers of all weight files.

    Args:
        folder: a folder, or the name of a model on the hub whose files are in the hub's cache.

    Raises:
        InputError: no checkpoint, an incomplete or damaged one, or one that runs code of its own.
    """
    place = find(folder)
    try:
        config, architectures, model_type = read_config(place)
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
    )
    _refuse_too_many_layers(checkpoint)
    return checkpoint


def load_model(
    folder: Path | str,
    model_class: type[M],
    *,
    architectures: Sequence[str],
    dtype: torch.dtype | Literal["auto"] = "auto",
    device: torch.device | str = "cpu",
) -> M:
    """A model out of a checkpoint: all weights loaded, SDPA, eval mode, no gradients.

    Each tensor is cast to `dtype` as it is read, so the model is never held in another format. It
    goes straight onto a GPU where accelerate is installed, else through main memory.

    Args:
        architectures: names in config.json that `model_class` can hold.
        dtype: of the loaded weights; `auto` is what config.json says, else what is stored.

    Raises:
        InputError: as `inspect`; another architecture; weights that are missing, superfluous or of
            another shape; a device that is not there or too small; whatever transformers refuses.
    """
    place = find_device(device, where=None)
    _refuse_dtype(dtype)
    checkpoint = inspect(folder)
    _refuse_other_class(checkpoint, model_class, architectures)
    straight = place.type != "cpu" and find_spec("accelerate") is not None
    loader: Any = model_class  # transformers' own annotation knows no report
    options: dict[str, Any] = {"device_map": str(place)} if straight else {}
    try:
        with quiet():
            _refuse_far_larger(checkpoint, model_class)
            model, report = loader.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                dtype=dtype,
                attn_implementation="sdpa",
                # Reported below, with names, instead of raised without.
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **options,
            )
            _refuse_other_weights(checkpoint, model_class, report)
            if not straight:
                model = model.to(place)
    except InputError:
        raise
    except Exception as error:  # configurations and devices can be wrong in any way
        raise _not_loaded(checkpoint, model_class, error) from error
    model.eval().requires_grad_(False)
    loaded: M = model
    return loaded


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


def _refuse_dtype(dtype: object) -> None:
    if dtype != "auto" and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise InputError(
            f"dtype {dtype!r}", expected="auto, or a floating-point torch.dtype such as bfloat16"
        )


def _refuse_other_class(
    checkpoint: Checkpoint, model_class: type[PreTrainedModel], architectures: Sequence[str]
) -> None:
    from transformers import CONFIG_MAPPING, __version__

    if not set(checkpoint.architectures) & set(architectures):
        raise InputError(
            f"a checkpoint of {', '.join(checkpoint.architectures)}",
            where=checkpoint.config_path,
            expected=f"one of {', '.join(architectures)}",
            hint="give the folder of such a model",
        )
    if checkpoint.model_type not in CONFIG_MAPPING:
        raise InputError(
            f"model_type {checkpoint.model_type!r}, which transformers {__version__} does not know",
            where=checkpoint.config_path,
            expected="a family that the installed transformers has the code of",
            hint="is the model newer than transformers?",
        )
    wanted: Any = model_class.config_class
    if not issubclass(CONFIG_MAPPING[checkpoint.model_type], wanted):
        raise InputError(
            f"model_type {checkpoint.model_type!r} beside {', '.join(checkpoint.architectures)}",
            where=checkpoint.config_path,
            expected=f"model_type {wanted.model_type!r}",
            hint=fetch_again(checkpoint.config_path),
        )


def _refuse_far_larger(checkpoint: Checkpoint, model_class: type[PreTrainedModel]) -> None:
    """Refuse before memory is taken for weights that are not there: transformers would fill it
    with random numbers first."""
    if checkpoint.config.get("quantization_config"):
        return  # packed: one stored value may be several parameters
    maker: Any = model_class
    config = maker.config_class.from_pretrained(checkpoint.folder, local_files_only=True)
    with torch.device("meta"):
        sketch = maker._from_config(config, attn_implementation="sdpa")
    parameters = sum(parameter.numel() for parameter in sketch.parameters())
    if parameters > _FACTOR * checkpoint.parameters + _FREE_PARAMETERS:
        raise InputError(
            f"describes a model of {parameters:,} parameters, and the weight files hold "
            f"{checkpoint.parameters:,}",
            where=checkpoint.config_path,
            expected="configuration and weights of the same model",
            hint=fetch_again(checkpoint.config_path),
        )


def _refuse_other_weights(
    checkpoint: Checkpoint, model_class: type[PreTrainedModel], report: Mapping[str, Any]
) -> None:
    """Refuse a model that was not filled by exactly the weights that are there."""
    kind = model_class.__name__
    lost, extra = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    other = [
        f"{name} {list(stored)} instead of {list(wanted)}"
        for name, stored, wanted in sorted(report["mismatched_keys"])
    ]
    if other:
        found = f"weights of other shapes than config.json says ({len(other)}): {named(other)}"
    elif lost:
        found = f"weights of {kind} missing ({len(lost)}): {named(lost)}"
    elif extra:
        found = f"weights that {kind} does not have ({len(extra)}): {named(extra)}"
    else:
        return
    raise InputError(
        found,
        where=checkpoint.folder,
        expected=f"exactly the weights of the {kind} that config.json describes",
        hint="take config.json and all weight files from one place",
    )


def _not_loaded(
    checkpoint: Checkpoint, model_class: type[PreTrainedModel], error: Exception
) -> InputError:
    from transformers import __version__

    hint = f"is config.json as it was written, and for transformers {__version__}?"
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError) or "alloc" in str(error):
        hint = "take a narrower dtype, another device or a smaller model"
    elif isinstance(error, ImportError):
        hint = "install what is missing, or take weights that are not quantised"
    return InputError(
        f"cannot be loaded as {model_class.__name__} ({type(error).__name__}: {gist(error)})",
        where=checkpoint.folder,
        expected="a checkpoint that transformers loads",
        hint=hint,
    )
