"""What lies in a shard: names, dtypes and shapes of its tensors, and which of them are big.

Every byte has a checksum. What is small (header, ids, offsets, records, checksums) has one for all
of it; the states and the logits of each pair have one each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from crossdraft.pairs.store.kinds import Kind, Reading, Side
from crossdraft.pairs.store.manifest import Schema
from crossdraft.pairs.store.packing import CODES, groups

#: What the header says beside the tensors.
METADATA = {"format": "crossdraft.shard", "version": "1"}
RECORDS = "records"
#: [pairs, columns] uint32: the checksum of each pair's states, kind by kind in the order of their
#: names, then of its logits, reading by reading. Scales count with their codes.
CRC = "crc"
#: [1] uint32: the checksum over the header and everything small but itself, in file order.
INDEX_CRC = "index.crc"
#: How the names of big tensors begin.
BIG = ("states.", "scale.", "top.")
#: Parts of the kept logits.
TOP = {"ids": torch.int32, "logits": torch.float32, "total": torch.float32}

#: Dtype and shape of a tensor.
Form = tuple[torch.dtype, tuple[int, ...]]


def wanted(
    schema: Schema, readings: Sequence[Reading], positions: Mapping[Side, int]
) -> dict[str, Form]:
    """Forms of ids, states and logits by name.

    Args:
        readings: those whose logits are kept.
        positions: states of each side; a side that is missing here gets a size that none has.
    """
    found: dict[str, Form] = {}
    for side in schema.tokens:
        found[f"{side}.tokens"] = (torch.int32, (positions.get(side, -1),))
    for kind in schema.kinds:
        n = positions.get(kind.kind.side, -1)
        found[f"states.{kind.name}"] = (CODES[kind.dtype], (n, kind.width))
        if kind.dtype == "int8":
            found[f"scale.{kind.name}"] = (torch.float16, (n, groups(kind.width)))
    for reading in readings:
        n = positions.get(Kind(reading).side, -1)
        for part, dtype in TOP.items():
            shape = (n,) if part == "total" else (n, schema.top)
            found[f"top.{reading}.{part}"] = (dtype, shape)
    return found


def checked_together(schema: Schema, readings: Sequence[Reading]) -> list[list[str]]:
    """Names of the tensors under each column of `crc`."""
    found = [
        [f"states.{one.name}", f"scale.{one.name}"]
        if one.dtype == "int8"
        else [f"states.{one.name}"]
        for one in sorted(schema.kinds, key=lambda kind: kind.name)
    ]
    return found + [[f"top.{reading}.{part}" for part in TOP] for reading in readings]


def shown(form: Form | None) -> str:
    """A form in words."""
    if form is None:
        return "not there"
    return f"{str(form[0]).removeprefix('torch.')} {list(form[1])}"
