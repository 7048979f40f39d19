"""How much memory a checkpoint will need, known from its headers before a byte of it is loaded.

An estimate counts what has to stay in memory for passes to be quick: weights (those that a CPU
maps from their files too: the system may drop such pages, and a pass over dropped ones waits for
the disk), keys and values of `TOKENS` tokens, and the larger of what one prefill works in and what
loading holds beside the weights. Whether there is as much: `free_memory.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from crossdraft.base.errors import InputError
from crossdraft.scenes.disk import format_bytes
from crossdraft.vlm.checkpoint import Checkpoint, inspect
from crossdraft.vlm.placement import Placement
from crossdraft.vlm.precision import NARROWING, Precision, quantisable
from crossdraft.vlm.sketch import sketch_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Dense formats by safetensors' names; the first counts where none is stored.
_FORMATS = {
    "F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64,
}  # fmt: skip
#: Rows of keys and values that are counted: a prompt of Video-LLaVA (2,071), a fork of it asked.
TOKENS = 4096
#: Values of a token that live at once in a pass: so many times the hidden size (residual, norm,
#: queries, keys, values) and the MLP's inner size (gate, up, their product).
_WIDE, _INNER = 4, 3
#: Allocators and kernels hold about as much again.
_SLACK = 2
#: Copies of the largest weight that loading holds: as it is stored, and as it will be.
_COPIES = 2


@dataclass(frozen=True)
class MemoryEstimate:
    """What a model needs on a device, in bytes.

    Attributes:
        model: what it is an estimate of.
        precision: of the weights; never `auto`.
        weights: parameters and buffers.
        cache: keys and values.
        working: see the head of this file.
        tokens: that keys and values are counted for.
        narrower: the same model in narrower precisions, from wide to narrow.
        parameters: values of the model that config.json describes, shared ones once.
    """

    model: str
    precision: str
    weights: int
    cache: int
    working: int
    tokens: int
    narrower: tuple[MemoryEstimate, ...] = ()
    parameters: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.working

    def at(self, precision: str) -> MemoryEstimate:
        """The same model in that precision, or as it is where that is not narrower."""
        return next((one for one in self.narrower if one.precision == precision), self)

    def __str__(self) -> str:
        return (
            f"{format_bytes(self.total)} (weights {format_bytes(self.weights)}, keys and values "
            f"for {self.tokens:,} tokens {format_bytes(self.cache)}, working space "
            f"{format_bytes(self.working)})"
        )


def estimate(
    folder: Path | str | Checkpoint,
    model_class: type[PreTrainedModel],
    precision: str | torch.dtype | Precision = "auto",
    *,
    device: torch.device | str = "cpu",
    tokens: int = TOKENS,
) -> MemoryEstimate:
    """What loading a checkpoint will need.

    Args:
        folder: a checkpoint folder, or the name of a hub model that is in the hub's cache.
        model_class: that it will be loaded as.
        tokens: that sessions will hold keys and values of, the model's longest sequence at most.

    Raises:
        InputError: as `inspect`; configuration and weights of different models.
    """
    checkpoint = folder if isinstance(folder, Checkpoint) else inspect(folder)
    sketch = sketch_of(checkpoint, model_class)
    return estimate_sketch(
        checkpoint, sketch, Precision.parse(precision), torch.device(device), tokens=tokens
    )


def estimate_sketch(
    checkpoint: Checkpoint,
    sketch: PreTrainedModel,
    precision: Precision,
    device: torch.device,
    *,
    tokens: int = TOKENS,
    placement: Placement | None = None,
) -> MemoryEstimate:
    """As `estimate`, of a model that is sketched already.

    Args:
        placement: of the model; what it puts on another device is left out.
    """
    dense = precision.dense(device) or stored_dtype(checkpoint, sketch)
    name = precision.name if precision.quantised else str(dense).removeprefix("torch.")
    model = _Sketched(checkpoint, sketch, device, tokens, placement)
    found = model.at(Precision(name), dense)
    if checkpoint.quantised:
        return found
    others = (
        model.at(one, one.dense(device) or dense)
        for one in map(Precision, NARROWING)
        if model.linear or not one.quantised
    )
    narrower = tuple(one for one in others if one.weights < found.weights)
    return replace(found, narrower=narrower)


def stored_dtype(checkpoint: Checkpoint, sketch: PreTrainedModel) -> torch.dtype:
    """What `auto` is: what config.json says, else the dense format of most stored bytes."""
    named = getattr(sketch.config, "dtype", None)
    if isinstance(named, torch.dtype):
        return named
    sizes = checkpoint.bytes_by_dtype
    return _FORMATS[max(_FORMATS, key=lambda name: sizes.get(name, 0))]


def kv_bytes(model: PreTrainedModel, tokens: int, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of so many tokens."""
    text: Any = model.config.get_text_config(decoder=True)
    # A model without attention is refused later, by whoever drives it.
    queries = getattr(text, "num_attention_heads", None) or 1
    heads = getattr(text, "num_key_value_heads", None) or queries
    size = getattr(text, "head_dim", None) or text.hidden_size // queries
    return int(2 * text.num_hidden_layers * heads * size * tokens * dtype.itemsize)


class _Sketched:
    """A model whose bytes are counted, in one precision or another."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        sketch: PreTrainedModel,
        device: torch.device,
        tokens: int,
        placement: Placement | None,
    ) -> None:
        self.checkpoint, self.sketch = checkpoint, sketch
        self.device, self.placement = device, placement
        self.text: Any = sketch.config.get_text_config(decoder=True)
        longest = getattr(self.text, "max_position_embeddings", None)
        self.tokens = min(tokens, longest or tokens)
        #: Layers that can be quantised.
        self.linear = _quantisable_or_none(sketch)

    def at(self, precision: Precision, dense: torch.dtype) -> MemoryEstimate:
        hidden = self.text.hidden_size
        inner = getattr(self.text, "intermediate_size", None) or 4 * hidden
        rows = self.tokens * dense.itemsize
        loading = _COPIES * self.checkpoint.largest_bytes if precision.quantised else 0
        cache = kv_bytes(self.sketch, self.tokens, dense)
        return MemoryEstimate(
            model=str(self.checkpoint.folder),
            precision=precision.name,
            weights=sum(self._weights(precision, dense)),
            cache=int(self._share() * cache),
            working=max(loading, _SLACK * rows * (_WIDE * hidden + _INNER * inner)),
            tokens=self.tokens,
            parameters=sum(one.numel() for one in self.sketch.parameters()),
        )

    def _weights(self, precision: Precision, dense: torch.dtype) -> Iterator[int]:
        """Bytes of each tensor in this part."""
        if self.checkpoint.quantised:  # packed on the disk as it will be in memory
            stored = sum(self.checkpoint.bytes_by_dtype.values())
            here = sum(one.numel() for name, one in _tensors(self.sketch) if self._here(name))
            yield stored * here // max(1, sum(one.numel() for _, one in _tensors(self.sketch)))
            return
        packed = self.linear if precision.quantised else {}
        for name, tensor in _tensors(self.sketch):
            layer = packed.get(name.removesuffix(".weight"))
            if not self._here(name):
                continue
            if layer is not None and name.endswith(".weight"):
                yield precision.nbytes(layer, self.device)
            else:
                size = dense.itemsize if isinstance(tensor, nn.Parameter) else tensor.itemsize
                yield tensor.numel() * size

    def _here(self, name: str) -> bool:
        return self.placement is None or self.placement.of(name) == self.device

    def _share(self) -> float:
        """Of the decoder's weights that are in this part."""
        decoder: Any = self.sketch.get_decoder()  # type: ignore[no-untyped-call]
        inside = set(decoder.parameters())
        names = [name for name, one in self.sketch.named_parameters() if one in inside]
        return sum(map(self._here, names)) / max(1, len(names))


def _tensors(sketch: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """Parameters, shared ones once, and buffers."""
    yield from sketch.named_parameters()
    yield from sketch.named_buffers()


def _quantisable_or_none(sketch: PreTrainedModel) -> dict[str, nn.Linear]:
    try:
        return quantisable(sketch)
    except InputError:
        return {}
