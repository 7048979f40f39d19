"""States survive as few bytes: exactly in floats, within half a step in int8."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.pairs.store.kinds import DTYPES
from crossdraft.pairs.store.packing import (
    CODES,
    GROUP,
    bytes_per_position,
    exact_dtypes,
    groups,
    pack,
    unpack,
    unpack_into,
)


def some_states(seed: int, n: int, width: int, spread: float = 1.0) -> torch.Tensor:
    states = torch.randn(n, width, generator=torch.Generator().manual_seed(seed)) * spread
    states[:, :1] *= 100  # an outlier column, as hidden states have
    return states


sizes = st.tuples(st.integers(0, 99), st.integers(0, 4), st.integers(1, 300))


@given(sizes, st.sampled_from(["bf16", "fp16", "fp32"]))
def test_floats_come_back_exactly(size: tuple[int, int, int], dtype: str) -> None:
    states = some_states(*size).to(CODES[dtype])
    packed = pack(states, dtype)
    assert packed.scale is None and packed.codes.dtype == CODES[dtype]
    assert unpack(packed, states.dtype).equal(states)
    assert unpack(packed).equal(states.float())


@given(sizes, st.sampled_from([1e-9, 1e-4, 1.0, 1e3, 1e4]))
def test_int8_is_off_by_half_a_step_at_most(size: tuple[int, int, int], spread: float) -> None:
    states = some_states(*size, spread)
    packed = pack(states, "int8")
    assert packed.scale is not None and packed.scale.shape == (size[1], groups(size[2]))
    step = packed.scale.float().repeat_interleave(GROUP, dim=1)[:, : size[2]]
    assert ((unpack(packed) - states).abs() <= step * 0.5001).all()
    assert packed.codes.abs().int().le(127).all()


def test_one_large_column_costs_its_own_group_alone() -> None:
    states = torch.full((1, 2 * GROUP), 0.01)
    states[0, 0] = 100
    off = (unpack(pack(states, "int8")) - states).abs()
    assert off[0, 1:GROUP].max() > 0.005 and off[0, GROUP:].max() < 1e-4


def test_zeros_stay_zeros() -> None:
    assert unpack(pack(torch.zeros(2, 130), "int8")).equal(torch.zeros(2, 130))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(dtype: str, value: float) -> None:
    states = torch.zeros(3, 5)
    states[1, 2] = value
    with pytest.raises(ValueError, match="not finite"):
        pack(states, dtype)


def test_opposite_infinities_are_seen() -> None:
    with pytest.raises(ValueError, match="not finite"):
        pack(torch.tensor([[float("inf"), -float("inf")]]), "bf16")


@pytest.mark.parametrize(("dtype", "value"), [("fp16", 70000.0), ("int8", 1e7), ("bf16", 3.4e38)])
def test_what_does_not_fit_is_refused(dtype: str, value: float) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        pack(torch.tensor([[1.0, value]]), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("out", [torch.float32, torch.bfloat16, torch.float64])
def test_unpacking_into_a_batch_is_unpacking(dtype: str, out: torch.dtype) -> None:
    packed = pack(some_states(1, 3, 200), dtype)
    place = torch.full((5, 200), 7.0, dtype=out)
    unpack_into(place[1:4], packed)
    assert place[1:4].equal(unpack(packed).to(out))
    assert place[0].eq(7).all() and place[4].eq(7).all()


def test_dtypes_that_are_exact() -> None:
    assert exact_dtypes(torch.tensor([[1.0, 2.0**100]])) == ["bf16", "fp32"]
    assert exact_dtypes(torch.tensor([[1.0 + 2**-10]])) == ["fp16", "fp32"]
    assert exact_dtypes(torch.tensor([[1.0 + 2**-20]])) == ["fp32"]
    assert exact_dtypes(torch.tensor([[1.0]]), ["fp32", "bf16"]) == ["fp32", "bf16"]
    assert not exact_dtypes(torch.tensor([[0.1]], dtype=torch.float64))
    assert not exact_dtypes(torch.tensor([[float("nan")]]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 128, 129, 4096])
def test_bytes_of_a_position_are_those_of_its_tensors(dtype: str, width: int) -> None:
    packed = pack(torch.ones(3, width), dtype)
    taken = packed.codes.nbytes + (0 if packed.scale is None else packed.scale.nbytes)
    assert taken == 3 * bytes_per_position(width, dtype)
