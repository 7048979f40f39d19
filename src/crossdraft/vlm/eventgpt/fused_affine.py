"""Two linear layers behind each other as one, for as long as they are what they were.

Fusing is arithmetic on weights, so whatever changes what the layers do must undo it: training, an
adapter in their place, hooks, offloading, autocast, and writes that leave no trace such as those
to `weight.data`. In doubt the layers run themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class FusedAffine:
    """`outer(inner(rows))` by one product."""

    def __init__(self) -> None:
        self._made: tuple[Tensor, Tensor] | None = None
        self._probe: tuple[Tensor, ...] = ()

    def __call__(self, inner: nn.Module, outer: nn.Module, rows: Tensor) -> Tensor:
        """[..., width of inner's input] -> [..., width of outer's output]."""
        layers = inner, outer
        if not all(_plain(layer) for layer in layers) or torch.is_autocast_enabled(
            rows.device.type
        ):
            unfused: Tensor = outer(inner(rows))
            return unfused
        assert isinstance(inner, nn.Linear) and isinstance(outer, nn.Linear)
        weight, bias = self._current(inner, outer)
        return functional.linear(rows, weight, bias)

    def _current(self, inner: nn.Linear, outer: nn.Linear) -> tuple[Tensor, Tensor]:
        """Weight and bias of both layers together."""
        with torch.inference_mode(False), torch.no_grad():
            probe = _probe(inner, outer)
            if self._made is None or not _same(probe, self._probe):
                self._made = _product(inner, outer)
                self._probe = tuple(part.clone() for part in probe)
            return self._made


def _plain(layer: nn.Module) -> bool:
    """Whether a layer does what its weights say, and nobody learns them now."""
    if type(layer) is not nn.Linear or layer.bias is None:
        return False
    hooked = bool(layer._forward_hooks or layer._forward_pre_hooks)
    offloaded = layer.weight.device.type == "meta"
    learnt = torch.is_grad_enabled() and any(part.requires_grad for part in layer.parameters())
    return not (hooked or offloaded or learnt)


def _probe(inner: nn.Linear, outer: nn.Linear) -> tuple[Tensor, ...]:
    """A sample of every tensor. Its values are compared, because writes to `data` count nowhere."""
    return tuple(
        part.detach() for one in (inner, outer) for part in (one.weight.diagonal(), one.bias)
    )


def _same(one: tuple[Tensor, ...], other: tuple[Tensor, ...]) -> bool:
    return all(
        a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)
        for a, b in zip(one, other, strict=True)
    )


def _product(inner: nn.Linear, outer: nn.Linear) -> tuple[Tensor, Tensor]:
    """Computed in float32 or wider, on the inner layer's device."""
    wide = torch.promote_types(inner.weight.dtype, torch.float32)
    device, dtype = inner.weight.device, inner.weight.dtype
    first, first_bias, second, second_bias = (
        part.detach().to(device, wide)
        for part in (inner.weight, inner.bias, outer.weight, outer.bias)
    )
    weight = (second @ first).to(dtype)
    return weight, (second @ first_bias + second_bias).to(dtype)
