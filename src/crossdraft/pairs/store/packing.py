"""Hidden states as few bytes: 16-bit floats as they are, or int8 with a scale per group of columns.

A few columns of hidden states are a hundred times larger than the rest; one scale per row would
leave two or three steps for all others. So each group of 128 columns has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from crossdraft.pairs.store.rows import Packed

#: Columns that share a scale.
GROUP = 128
#: What the codes of a name in `kinds.DTYPES` are.
CODES = {
    "bf16": torch.bfloat16,
    "int8": torch.int8,
    "fp16": torch.float16,
    "fp32": torch.float32,
}
#: Of these, the ones that may hold every value exactly, the smallest first.
EXACT = ("bf16", "fp16", "fp32")
_MOST = 127


def groups(width: int) -> int:
    """Groups of columns; the last one may be shorter."""
    return -(-width // GROUP)


def bytes_per_position(width: int, dtype: str) -> int:
    """What one state takes, its scales included."""
    return width * CODES[dtype].itemsize + (2 * groups(width) if dtype == "int8" else 0)


def pack(states: Tensor, dtype: str) -> Packed:
    """States [n, width] as they are stored, on the CPU.

    Rounds to the nearest value that `dtype` has; int8 is off by half a step of its scale at most.

    Raises:
        ValueError: a value is not finite, or beyond what `dtype` can hold.
    """
    given = states.detach().cpu()
    # One sum tells of every NaN and infinity, three times as fast as asking each value.
    if not torch.isfinite(given.sum(dtype=torch.float64)) and not given.isfinite().all():
        raise ValueError("states that are not finite cannot be stored")
    if dtype == "int8":
        return _int8(given)
    codes = given.to(CODES[dtype]).contiguous()
    if not codes.isfinite().all():
        raise ValueError(f"states up to {given.abs().max():g} do not fit {dtype}")
    return Packed(codes)


def unpack(packed: Packed, dtype: torch.dtype = torch.float32) -> Tensor:
    """The states [n, width], in memory of their own."""
    out = torch.empty(packed.codes.shape, dtype=dtype)
    unpack_into(out, packed)
    return out


def unpack_into(out: Tensor, packed: Packed) -> None:
    """Write the states into `out` [n, width], whatever its dtype, without a copy in between."""
    codes, scale = packed.codes, packed.scale
    if scale is None:
        out.copy_(codes)
        return
    if out.dtype != torch.float32:
        out.copy_(unpack(packed))
        return
    out.copy_(codes)
    scales = scale.float()[:, :, None]
    whole = codes.shape[1] // GROUP
    out[:, : whole * GROUP].view(len(out), whole, GROUP).mul_(scales[:, :whole])
    if whole < groups(codes.shape[1]):
        out[:, whole * GROUP :].mul_(scales[:, whole])


def exact_dtypes(states: Tensor, among: Sequence[str] = EXACT) -> list[str]:
    """Which of these number formats hold every value exactly, in their order.

    None does where a value is not finite, or of double precision.
    """
    if not states.isfinite().all():
        return []
    return [name for name in among if torch.equal(states.to(CODES[name]).to(states.dtype), states)]


def _int8(states: Tensor) -> Packed:
    """Symmetric codes; the scale is the group's largest value / 127, rounded up to float16."""
    n, width = states.shape
    filled = torch.zeros(n, groups(width) * GROUP)
    filled[:, :width] = states
    grouped = filled.view(n, groups(width), GROUP)
    wanted = grouped.abs().amax(dim=2) / _MOST
    scale = wanted.to(torch.float16)
    if not scale.isfinite().all():
        raise ValueError(f"states up to {states.abs().max():g} do not fit int8")
    # The bits of a positive half, plus one, are the next larger half.
    up = (scale.view(torch.int16) + 1).view(torch.float16)
    scale = torch.where(scale.float() < wanted, up, scale)
    if not scale.isfinite().all():
        raise ValueError(f"states up to {states.abs().max():g} do not fit int8")
    steps = torch.where(scale == 0, 1, scale.float())[:, :, None]
    codes = (grouped / steps).round().clamp(-_MOST, _MOST).to(torch.int8)
    return Packed(codes.flatten(1)[:, :width].contiguous(), scale)
