"""Writing a shard: the pairs' tensors one behind the other, and the checksums of all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdraft.pairs.store.flat_file import (
    Column,
    crc_of,
    header_of,
    in_file_order,
    write_flat,
)
from crossdraft.pairs.store.kinds import READINGS, SIDES, Reading, Side
from crossdraft.pairs.store.layout import (
    BIG,
    CRC,
    INDEX_CRC,
    METADATA,
    RECORDS,
    checked_together,
    shown,
    wanted,
)
from crossdraft.pairs.store.manifest import Schema, ShardInfo
from crossdraft.pairs.store.records import packed_records
from crossdraft.pairs.store.rows import Row


def write_shard(
    path: Path, rows: Sequence[Row], schema: Schema, note: Mapping[str, Any] | None = None
) -> ShardInfo:
    """Write a file of pairs, atomically; equal rows give equal bytes.

    Args:
        rows: each has every kind of the schema, the same sides and logits of the same readings.
        note: plain JSON that is kept inside and not looked at.

    Raises:
        InputError: the folder cannot be written.
        ValueError: a row is not what the schema says.
    """
    sides, readings = _sides(rows, schema), _readings(rows)
    tensors = [_tensors(row, f"row {i}", schema, sides, readings) for i, row in enumerate(rows)]
    counts = {side: [row.said[side].count for row in rows] for side in sides}
    columns = {RECORDS: Column.of(_flat(packed_records(rows, sides, note or {})))}
    for side in sides:
        columns[f"{side}.offsets"] = Column.of(torch.tensor([0, *np.cumsum(counts[side])]))
    positions = {side: sum(counts[side]) for side in sides}
    for name, (dtype, shape) in wanted(schema, readings, positions).items():
        columns[name] = Column(dtype, shape, [one[name] for one in tensors])
    groups = checked_together(schema, readings)
    crcs = [[crc_of(*(one[name] for name in group)) for group in groups] for one in tensors]
    columns[CRC] = Column.of(_uint32(crcs, (len(rows), len(groups))))
    columns[INDEX_CRC] = Column.of(_uint32(0, (1,)))
    header = header_of(columns, METADATA)
    small = [n for n in in_file_order(columns) if n != INDEX_CRC and not n.startswith(BIG)]
    index_crc = crc_of(_flat(header), *(piece for name in small for piece in columns[name].pieces))
    columns[INDEX_CRC] = Column.of(_uint32(index_crc, (1,)))
    written = write_flat(path, header, columns)
    longest = {side: max(counts[side], default=0) for side in sides}
    return ShardInfo(
        path.name, len(rows), positions, longest, written.bytes, written.sha256, index_crc
    )


def _sides(rows: Sequence[Row], schema: Schema) -> list[Side]:
    """Whose answers are written: those of the rows, or without rows those of the schema."""
    of_schema = {*schema.tokens, *(kind.kind.side for kind in schema.kinds)}
    return [side for side in SIDES if side in (rows[0].said if rows else of_schema)]


def _readings(rows: Sequence[Row]) -> list[Reading]:
    """Whose logits are written."""
    return [one for one in READINGS if rows and one in rows[0].top]


def _tensors(
    row: Row, name: str, schema: Schema, sides: Sequence[Side], readings: Sequence[Reading]
) -> dict[str, Tensor]:
    """The tensors of a row, by their names in the file."""
    if set(row.said) != set(sides):
        raise ValueError(f"{name} has answers of {sorted(row.said)}, not of {sorted(sides)}")
    if set(row.states) != {kind.name for kind in schema.kinds}:
        raise ValueError(f"{name} has states {sorted(row.states)}, not those of the schema")
    if set(row.top) != set(readings) or (readings and not schema.top):
        raise ValueError(f"{name} has logits of {sorted(row.top)}, not of {sorted(readings)}")
    ids = {"own": row.pair.draft_tokens, "target": row.pair.target_tokens}
    found: dict[str, Tensor] = {}
    for side, tokens in ids.items():
        if side in schema.tokens:
            found[f"{side}.tokens"] = torch.tensor(tokens, dtype=torch.int32)
        elif tokens:
            raise ValueError(f"{name} has ids of {side}, which the schema does not know")
    for kind, packed in row.states.items():
        found[f"states.{kind}"] = packed.codes
        if packed.scale is not None:
            found[f"scale.{kind}"] = packed.scale
    for reading, top in row.top.items():
        parts = {"ids": top.ids, "logits": top.logits, "total": top.total}
        found |= {f"top.{reading}.{part}": tensor for part, tensor in parts.items()}
    forms = wanted(schema, readings, {side: said.count for side, said in row.said.items()})
    for key in sorted(forms.keys() | found.keys()):
        form = (found[key].dtype, tuple(found[key].shape)) if key in found else None
        if form != forms.get(key):
            raise ValueError(f"{name}: {key} is {shown(form)}, not {shown(forms.get(key))}")
    return {key: tensor.detach().cpu().contiguous() for key, tensor in found.items()}


def _flat(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8)


def _uint32(values: Any, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.uint32).reshape(shape))
