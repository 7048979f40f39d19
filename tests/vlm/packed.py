"""What models hold in bytes, loaded and at work, and checkpoints whose layers can be quantised."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from crossdraft.vlm.precision import lacking
from tests.vlm.checkpoint_folder import llama_config

#: Quantising needs bitsandbytes and accelerate, which are optional.
needs_bitsandbytes = pytest.mark.skipif(lacking() is not None, reason=str(lacking()))

#: Rows of whole blocks, but for `down_proj` of the narrow one, whose 96 inputs are no two blocks.
WIDE: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4}
NARROW: dict[str, Any] = {**WIDE, "intermediate_size": 96}


def wide_config(**changes: Any) -> Any:
    """A Llama of two layers, all of whose blocks can be quantised."""
    return llama_config(**{**WIDE, **changes})


def held_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers, and of what bitsandbytes keeps beside them."""
    tensors = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        tensors += _beside(module)
    storages = {tensor.untyped_storage().data_ptr(): tensor for tensor in tensors}
    return sum(tensor.nbytes for tensor in storages.values())


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that operations inside the block make and that live at once.

    Attributes:
        peak: most of them.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = self._live = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it returns, if that is not memory it was given."""
        given = {self._key(tensor) for tensor in tree_leaves((args, kwargs or {}))}
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            key = self._key(tensor)
            if key is not None and key not in given | self._known:
                self._count(key, tensor.untyped_storage())
        return out

    def _key(self, value: Any) -> int | None:
        return value.untyped_storage()._cdata if isinstance(value, Tensor) else None

    def _count(self, key: int, storage: Any) -> None:
        size = storage.nbytes()
        self._known.add(key)
        self._live += size
        self.peak = max(self.peak, self._live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._live -= size


def packed_layers(model: nn.Module) -> set[str]:
    """Names of the layers whose weights are quantised."""
    return {
        name
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear4bit", "Linear8bitLt")
    }


def _beside(module: Any) -> Iterator[Tensor]:
    """Scales and tables of a quantised layer."""
    weight = getattr(module, "weight", None)
    state = getattr(weight, "quant_state", None)
    while state is not None:
        yield from (value for value in vars(state).values() if isinstance(value, Tensor))
        state = getattr(state, "state2", None)
    scales = [getattr(weight, "SCB", None), getattr(getattr(module, "state", None), "SCB", None)]
    yield from (value for value in scales if isinstance(value, torch.Tensor))
