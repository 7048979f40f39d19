"""The fused map is the two layers, whatever was done to them since."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from crossdraft.vlm.eventgpt.fused_affine import FusedAffine

ROWS = torch.randn(7, 16, generator=torch.Generator().manual_seed(1))


def layers(dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    torch.manual_seed(0)
    made = [nn.Linear(16, 16, dtype=dtype).requires_grad_(False) for _ in range(2)]
    return made[0], made[1]


class _Adapter(nn.Linear):
    """A layer that does more than its weights say, as adapters and quantised layers do."""

    def forward(self, rows: Tensor) -> Tensor:
        return 3 * super().forward(rows)


def _in_place(_: Any, outer: Any) -> None:
    outer.weight.mul_(2)


def _through_data(inner: Any, outer: Any) -> None:
    outer.weight.data.mul_(2)
    inner.bias.data.add_(1)


def _low_rank(_: Any, outer: Any) -> None:
    outer.weight.data += torch.randn(16, 2) @ torch.randn(2, 16)


def _loaded(inner: Any, outer: Any) -> None:
    outer.load_state_dict(copy.deepcopy(inner.state_dict()), assign=True)


def _hooked(_: Any, outer: Any) -> None:
    outer.register_forward_hook(lambda module, given, found: 2 * found)


def _other_class(_: Any, outer: Any) -> None:
    outer.__class__ = _Adapter


def _there_and_back(inner: Any, outer: Any) -> None:
    for layer in (inner, outer):
        layer.half().float()


@pytest.mark.parametrize(
    "change",
    [_in_place, _through_data, _low_rank, _loaded, _hooked, _other_class, _there_and_back],
)
def test_it_follows(change: Callable[[Any, Any], None]) -> None:
    fused, (inner, outer) = FusedAffine(), layers()
    assert torch.allclose(fused(inner, outer, ROWS), outer(inner(ROWS)), atol=1e-6)
    change(inner, outer)
    assert torch.allclose(fused(inner, outer, ROWS), outer(inner(ROWS)), atol=1e-5)


def test_it_is_one_product_made_once() -> None:
    fused, (inner, outer) = FusedAffine(), layers()
    first = fused._current(inner, outer)
    assert fused._current(inner, outer)[0] is first[0]
    assert torch.allclose(first[0], outer.weight @ inner.weight, atol=1e-6)


def test_narrow_layers_are_fused_in_single_precision() -> None:
    fused, (inner, outer) = FusedAffine(), layers(torch.bfloat16)
    weight, _ = fused._current(inner, outer)
    exact = outer.weight.double() @ inner.weight.double()
    assert weight.dtype == torch.bfloat16
    # One rounding, not one for each of the sum's terms.
    assert torch.equal(weight, exact.float().to(torch.bfloat16))


def test_what_is_learnt_runs_layer_by_layer() -> None:
    fused, (inner, outer) = FusedAffine(), layers()
    inner.requires_grad_(True)
    loss: Any = fused(inner, outer, ROWS).sum()
    loss.backward()
    expected = outer.weight.sum(0)[:, None] * ROWS.sum(0)[None]
    assert torch.allclose(inner.weight.grad, expected, atol=1e-4)
    with torch.no_grad():
        assert torch.allclose(fused(inner, outer, ROWS), outer(inner(ROWS)), atol=1e-6)


def test_surroundings_leave_no_trace() -> None:
    fused, (inner, outer) = FusedAffine(), layers()
    with torch.autocast("cpu", torch.bfloat16):
        assert fused(inner, outer, ROWS).dtype == torch.bfloat16
    with torch.inference_mode():
        fused(inner, outer, ROWS)
    rows = ROWS.clone().requires_grad_(True)
    found: Any = fused(inner, outer, rows)
    assert torch.allclose(found, outer(inner(ROWS)), atol=1e-6)
    found.sum().backward()
    assert rows.grad is not None
    assert torch.allclose(rows.grad[0], (outer.weight @ inner.weight).sum(0), atol=1e-5)
