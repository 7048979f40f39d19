"""A model without weights: shapes and names of everything, before anything large is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import torch

from crossdraft.base.errors import InputError, gist
from crossdraft.vlm.checkpoint import Checkpoint
from crossdraft.vlm.hub_cache import fetch_again
from crossdraft.vlm.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

M = TypeVar("M", bound="PreTrainedModel")

#: A model may be so much larger than its weight files before it is not even built: parameters
#: that share a stored tensor are counted twice, and small models are cheap.
_FACTOR, _FREE_PARAMETERS = 2, 10_000_000


def sketch_of(checkpoint: Checkpoint, model_class: type[M]) -> M:
    """The model of a checkpoint on the meta device.

    Raises:
        InputError: transformers refuses the configuration, or it describes far more parameters than
            the weight files hold.
    """
    maker: Any = model_class
    try:
        with quiet():
            config = maker.config_class.from_pretrained(checkpoint.folder, local_files_only=True)
            with torch.device("meta"):
                sketch: M = maker._from_config(config, attn_implementation="sdpa")
    except Exception as error:  # a configuration can be wrong in any way
        from transformers import __version__

        raise InputError(
            f"cannot be loaded as {model_class.__name__} ({type(error).__name__}: {gist(error)})",
            where=checkpoint.config_path,
            expected="a configuration that transformers builds a model from",
            hint=f"is it as it was written, and for transformers {__version__}?",
        ) from error
    _refuse_far_larger(checkpoint, sketch)
    return sketch


def _refuse_far_larger(checkpoint: Checkpoint, sketch: PreTrainedModel) -> None:
    """Refuse before memory is taken for weights that are not there: transformers would fill it
    with random numbers first."""
    if checkpoint.quantised:
        return  # packed: one stored value may be several parameters
    parameters = sum(parameter.numel() for parameter in sketch.parameters())
    if parameters > _FACTOR * checkpoint.parameters + _FREE_PARAMETERS:
        raise InputError(
            f"describes a model of {parameters:,} parameters, and the weight files hold "
            f"{checkpoint.parameters:,}",
            where=checkpoint.config_path,
            expected="configuration and weights of the same model",
            hint=fetch_again(checkpoint.config_path),
        )
