"""Number formats of a model's weights: dense ones, and int8 and NF4 by bitsandbytes.

Only the linear layers in the decoder's blocks are quantised. Vision tower, projector, adaptor and
head stay dense: they are small, and what they round reaches every token. LLM.int8 (Dettmers et al.,
2022) computes columns with outliers anywhere in a pass in half precision, so its rows depend a
little on the rows beside them; NF4 is of QLoRA (Dettmers et al., 2023), scales quantised twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from torch import nn

from crossdraft.base.errors import InputError
from crossdraft.vlm.quiet import quiet

_DENSE = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
_ALIASES = {
    "fp64": "float64", "fp32": "float32", "bf16": "bfloat16", "fp16": "float16",
    "8bit": "int8", "4bit": "nf4",
}  # fmt: skip
#: All names; `auto` is what the checkpoint is stored as.
NAMES = ("auto", *_DENSE, "int8", "nf4")
#: From wide to narrow, one for each size.
NARROWING = ("float64", "float32", "bfloat16", "int8", "nf4")
_OLDEST = (0, 50)
#: Weights that share a scale, and scales that share one in turn (double quantisation).
_BLOCK, _SUPERBLOCK = 64, 256
#: Two tables of float32 (16 and 256 values) and an offset beside every double-quantised weight.
_TABLES = 4 * (16 + 256 + 1)
#: Rows that the CPU's 4-bit kernel takes at a time.
_CPU_ROWS = 32


@dataclass(frozen=True)
class Precision:
    """How a model's weights are held.

    Attributes:
        name: one of `NAMES`.
    """

    name: str

    @classmethod
    def parse(cls, value: str | torch.dtype | Precision) -> Precision:
        """A precision by its name, an alias of it (`bf16`, `4bit`), or a torch.dtype.

        Raises:
            InputError: neither.
        """
        if isinstance(value, Precision):
            return value
        name = str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
        name = _ALIASES.get(name, name) if isinstance(name, str) else name
        # torch.int8 is a number format, not a way of quantising.
        if name not in NAMES or (isinstance(value, torch.dtype) and name not in _DENSE):
            raise InputError(
                f"dtype {value!r}", expected=f"one of {', '.join(NAMES)}, or a torch.dtype of them"
            )
        return cls(name)

    @property
    def quantised(self) -> bool:
        """Whether weights of the decoder's blocks are packed."""
        return self.name in ("int8", "nf4")

    def dense(self, device: torch.device | None = None) -> torch.dtype | None:
        """Of everything that is not quantised, and of the states; None for `auto`.

        Args:
            device: where the model computes; a CPU by default.
        """
        if self.name == "auto":
            return None
        if self.name == "nf4":
            old = device is not None and device.type == "cuda" and _before_ampere(device)
            return torch.float16 if old else torch.bfloat16
        return _DENSE.get(self.name, torch.float16)

    def bitsandbytes_config(self, sketch: nn.Module, device: torch.device) -> Any | None:
        """What transformers is told; None for dense weights.

        Args:
            sketch: the model on the meta device.

        Raises:
            InputError: bitsandbytes is missing or too old, or nothing can be quantised.
        """
        if not self.quantised:
            return None
        require_bitsandbytes(self.name)
        from transformers import BitsAndBytesConfig

        options: dict[str, Any] = {"load_in_8bit": True}
        if self.name == "nf4":
            options = {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": True,
                "bnb_4bit_compute_dtype": self.dense(device),
            }
        made: Any = BitsAndBytesConfig  # transformers leaves it without types
        return made(**options, llm_int8_skip_modules=dense_parts(sketch))

    def nbytes(self, layer: nn.Linear, device: torch.device) -> int:
        """Bytes of a quantised layer's weight, its scales included.

        Scales of NF4 are quantised themselves, but for CPUs: where one has AVX-512 for bfloat16,
        bitsandbytes repacks the weight at its first pass and keeps a bfloat16 scale for each block.
        """
        weights = layer.out_features * layer.in_features
        if self.name == "int8":
            return weights + 4 * layer.out_features
        blocks = -(-weights // _BLOCK)
        if device.type == "cpu":
            return weights // 2 + 2 * blocks + 4 * 16
        return weights // 2 + blocks + 4 * -(-blocks // _SUPERBLOCK) + _TABLES


def quantisable(sketch: nn.Module) -> dict[str, nn.Linear]:
    """Linear layers in the decoder's blocks by name, but for those whose rows are no whole blocks
    of 64 weights: the quick 4-bit kernels do not take them.

    Args:
        sketch: a transformers model, on any device.

    Raises:
        InputError: there are none.
    """
    found = {
        name: layer
        for name, layer in _in_blocks(sketch)
        if layer.in_features % _BLOCK == 0 and layer.out_features % _CPU_ROWS == 0
    }
    if not found:
        raise InputError(
            f"{type(sketch).__name__} has no linear layers to quantise in its decoder's blocks",
            expected=f"layers of {_BLOCK} inputs and {_CPU_ROWS} outputs, or multiples of these",
            hint="load it dense: dtype bfloat16",
        )
    return found


def dense_parts(sketch: nn.Module) -> list[str]:
    """Names of the topmost modules that hold linear layers of which none is quantised."""
    quantised = quantisable(sketch)
    above = {"", *(name[: dot.start()] for name in quantised for dot in re.finditer(r"\.", name))}
    return [
        name
        for name, module in sketch.named_modules()
        if name not in above
        and name not in quantised
        and name.rpartition(".")[0] in above
        and any(_is_linear(part) for part in module.modules())
    ]


def require_bitsandbytes(what: str) -> None:
    """See that quantised weights can be loaded here, and import what loads them.

    Raises:
        InputError: bitsandbytes or accelerate is missing, or bitsandbytes is too old.
    """
    if (lack := lacking()) is not None:
        raise InputError(
            f"{what} weights, and {lack}",
            expected="bitsandbytes from 0.50 and accelerate; older 4-bit kernels unpack the whole "
            "weight in every pass over more than one token, so verifying would not pay",
            hint="pip install 'crossdraft[quant]'",
        )
    with quiet(), _off_the_network():
        import bitsandbytes  # noqa: F401 - says as it is imported what kernels it has not found


def lacking() -> str | None:
    """What quantised weights need and this machine has not; None where nothing is missing."""
    for package in ("bitsandbytes", "accelerate"):
        try:
            found = version(package)
        except PackageNotFoundError:
            return f"{package} is not installed"
        numbers = tuple(map(int, re.findall(r"\d+", found)[:2]))
        if package == "bitsandbytes" and numbers < _OLDEST:
            return f"bitsandbytes {found} is installed"
    return None


@contextmanager
def _off_the_network() -> Iterator[None]:
    """Where the `kernels` package is installed, bitsandbytes asks the hub for one of its own."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _in_blocks(sketch: Any) -> Iterator[tuple[str, nn.Linear]]:
    """Linear layers of the decoder's repeated blocks, by their names in the whole model."""
    depth = sketch.config.get_text_config(decoder=True).num_hidden_layers
    lists = (part for part in sketch.get_decoder().modules() if isinstance(part, nn.ModuleList))
    blocks = next((part for part in lists if len(part) == depth), None)
    inside = set() if blocks is None else set(blocks.modules())
    for name, module in sketch.named_modules():
        if module in inside and type(module) is nn.Linear:
            yield name, module


def _is_linear(module: nn.Module) -> bool:
    """Whether transformers would quantise a module unless it is told not to."""
    from transformers.pytorch_utils import Conv1D

    return type(module) is nn.Linear or isinstance(module, Conv1D)


def _before_ampere(device: torch.device) -> bool:
    """Whether a GPU has no bfloat16 of its own."""
    return torch.version.hip is None and torch.cuda.get_device_capability(device)[0] < 8
