"""A model out of a checkpoint folder: the right class, precision and place, every weight filled.

Everything that can be known without loading is checked first, memory included. What transformers
reports of a load is an error here wherever a weight was missing, superfluous or of another shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from traceback import clear_frames
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from crossdraft.base.errors import InputError, gist
from crossdraft.vlm.checkpoint import Checkpoint, inspect
from crossdraft.vlm.free_memory import refuse_unless_fits
from crossdraft.vlm.hub_cache import fetch_again
from crossdraft.vlm.memory import estimate_sketch, stored_dtype
from crossdraft.vlm.placement import Placement
from crossdraft.vlm.precision import Precision, require_bitsandbytes
from crossdraft.vlm.quiet import quiet
from crossdraft.vlm.sketch import sketch_of
from crossdraft.vlm.weight_files import named

if TYPE_CHECKING:
    from transformers import PreTrainedModel

M = TypeVar("M", bound="PreTrainedModel")


def load_model(
    folder: Path | str,
    model_class: type[M],
    *,
    architectures: Sequence[str],
    dtype: str | torch.dtype | Precision = "auto",
    device: str | torch.device | Mapping[str, int | str] = "cpu",
) -> M:
    """A model out of a checkpoint: all weights loaded, SDPA, eval mode, no gradients.

    Each tensor is cast, or quantised, as it is read, so the model is never held in another format.
    It goes straight onto a GPU where accelerate is installed, else through main memory.

    Args:
        architectures: names in config.json that `model_class` can hold.
        dtype: precision of the weights; `auto` is what config.json says, else the format of most
            stored bytes.
        device: as `Placement.parse`.

    Raises:
        InputError: as `inspect`; another architecture; weights that are missing, superfluous or of
            another shape; a device that is not there or has too little memory; a precision that
            cannot be loaded here; whatever transformers refuses.
    """
    placement, precision = Placement.parse(device), Precision.parse(dtype)
    checkpoint = inspect(folder)
    _refuse_other_class(checkpoint, model_class, architectures)
    _refuse_other_packing(checkpoint, precision)
    try:
        with quiet():
            return _loaded(checkpoint, model_class, precision, placement)
    except Exception as error:  # configurations and devices can be wrong in any way
        # The error may be kept, and the frames in its traceback would keep the model.
        clear_frames(error.__traceback__)
        if isinstance(error, InputError):
            raise
        raise _not_loaded(checkpoint, model_class, error) from error


def _loaded(
    checkpoint: Checkpoint, model_class: type[M], precision: Precision, placement: Placement
) -> M:
    """The model, or whatever error is raised on the way."""
    sketch = sketch_of(checkpoint, model_class)
    placement.check(sketch)
    packing = precision.bitsandbytes_config(sketch, placement.first)
    straight = _straight(placement, packing is not None or checkpoint.quantised)
    _refuse_too_large(checkpoint, sketch, precision, placement, straight)
    loader: Any = model_class  # transformers' own annotation knows no report
    model, report = loader.from_pretrained(
        checkpoint.folder,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        # Never `auto`: without a word in config.json, transformers takes the first tensor's format.
        dtype=precision.dense(placement.first) or stored_dtype(checkpoint, sketch),
        attn_implementation="sdpa",
        # Reported below, with names, instead of raised without.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **({"quantization_config": packing} if packing is not None else {}),
        **({"device_map": placement.device_map()} if straight else {}),
    )
    _refuse_other_weights(checkpoint, model_class, report)
    if not straight:
        model = model.to(placement.first)
    _refuse_spilled(checkpoint, model)
    model.eval().requires_grad_(False)
    loaded: M = model
    return loaded


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


def _refuse_other_packing(checkpoint: Checkpoint, precision: Precision) -> None:
    """Refuse to quantise what is quantised, and what bitsandbytes has packed where it is not."""
    if not checkpoint.quantised:
        return
    packing: Any = checkpoint.config["quantization_config"]
    method = str(packing.get("quant_method")) if isinstance(packing, Mapping) else "unknown"
    if precision.quantised:
        raise InputError(
            f"{precision.name} of weights that are quantised already ({method})",
            where=checkpoint.config_path,
            expected="dtype auto, or weights that are stored dense",
        )
    if method.startswith("bitsandbytes"):
        require_bitsandbytes(method)


def _straight(placement: Placement, packed: bool) -> bool:
    """Whether weights go from their files to their devices, which takes accelerate."""
    if placement.single and placement.first.type == "cpu" and not packed:
        return False
    if find_spec("accelerate") is not None:
        return True
    if placement.by_module or not placement.single:
        raise InputError(
            "a model over several devices, and accelerate is not installed",
            expected="accelerate, which moves states from one device to the next",
            hint="pip install accelerate",
        )
    return False


def _refuse_too_large(
    checkpoint: Checkpoint,
    sketch: PreTrainedModel,
    precision: Precision,
    placement: Placement,
    straight: bool,
) -> None:
    """Refuse what does not fit on its devices, before any of it is loaded."""
    if not placement.by_module:
        whole = estimate_sketch(checkpoint, sketch, precision, placement.first)
        refuse_unless_fits([whole], *placement.devices)
    for device in placement.devices if placement.by_module else ():
        part = estimate_sketch(checkpoint, sketch, precision, device, placement=placement)
        refuse_unless_fits([part], device)
    if not straight and placement.first.type != "cpu":
        cpu = torch.device("cpu")
        refuse_unless_fits([estimate_sketch(checkpoint, sketch, precision, cpu)], cpu)


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


def _refuse_spilled(checkpoint: Checkpoint, model: Any) -> None:
    """Refuse a model of which accelerate has left parts beside the GPUs, each pass to be copied."""
    places = getattr(model, "hf_device_map", None) or {}
    kinds = {torch.device(place).type if place != "disk" else "disk" for place in places.values()}
    if len(kinds) > 1:
        raise InputError(
            f"not all of the model fits on the GPUs: parts went to {' and '.join(sorted(kinds))}",
            where=checkpoint.folder,
            expected="GPUs with room for the whole model",
            hint="take a narrower dtype",
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
