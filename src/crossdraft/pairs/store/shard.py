"""One file of pairs, open: views of its ids, states and logits, checked when first looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store.flat_file import FlatFile, bytes_of, crc_of
from crossdraft.pairs.store.kinds import READINGS, SIDES, Kind, Reading, Side
from crossdraft.pairs.store.layout import BIG, CRC, INDEX_CRC, RECORDS, TOP, shown, wanted
from crossdraft.pairs.store.manifest import Schema
from crossdraft.pairs.store.records import Records
from crossdraft.pairs.store.rows import Packed, Row, Top
from crossdraft.pairs.store.shard_writer import write_shard

__all__ = ["AGAIN", "Shard", "read_shard", "write_shard"]

#: What to do about a damaged file.
AGAIN = "copy the store again from where it is whole, or make it again"

Flags = np.ndarray[Any, np.dtype[np.bool_]]
Offsets = np.ndarray[Any, np.dtype[np.int64]]


def read_shard(path: Path, schema: Schema) -> tuple[list[Row], dict[str, Any]]:
    """Every pair of a file, and the note; tensors are views of the file in memory.

    Raises:
        InputError: not a shard, not of this schema, or damaged: every checksum is looked at.
    """
    shard = Shard(path, schema)
    shard.check()
    return [shard.row(i) for i in range(len(shard))], dict(shard.records.note)


class Shard:
    """A file of pairs, open. Views of it stay valid as long as somebody has them.

    Attributes:
        kinds: names of the states that are there.
        readings: those whose logits are there.
        offsets: by side, [pairs + 1]: where each pair's states begin, and where the last ones end.
        checked: [pairs, kinds and readings]: whose checksums were looked at.
    """

    def __init__(
        self, path: Path, schema: Schema, index_crc: int | None = None, checked: Flags | None = None
    ) -> None:
        """Open a file and check everything but states and logits.

        Args:
            index_crc: what the store says of it; None: what the file says itself.
            checked: of the same file when it was open before; it is not checked again.

        Raises:
            InputError: not a shard, not of this schema, not the store's, or damaged.
        """
        self.path, self.schema = path, schema
        try:
            self._file = FlatFile.open(path)
        except InputError as error:
            raise InputError(
                error.found, where=path, expected=error.expected, hint=AGAIN
            ) from error
        self._tensors = self._file.tensors
        self.kinds = tuple(sorted(kind.name for kind in schema.kinds))
        self.readings = tuple(one for one in READINGS if f"top.{one}.ids" in self._tensors)
        if checked is None:
            self._check_index(index_crc)
            self._check_shapes()
        self.offsets: dict[Side, Offsets] = {
            side: self._tensors[f"{side}.offsets"].numpy()
            for side in SIDES
            if f"{side}.offsets" in self._tensors
        }
        columns = len(self.kinds) + len(self.readings)
        self.checked = np.zeros((len(self), columns), np.bool_) if checked is None else checked
        self._stored = {
            kind: (
                column,
                Kind.parse(kind).side,
                self._tensors[f"states.{kind}"],
                self._tensors.get(f"scale.{kind}"),
            )
            for column, kind in enumerate(self.kinds)
        }
        self._records: Records | None = None

    def __len__(self) -> int:
        return len(self._tensors[CRC])

    @property
    def records(self) -> Records:
        """What is said of the pairs in words; read when first asked for.

        Raises:
            InputError: damaged.
        """
        records = self._records
        if records is None:
            records = Records.read(bytes_of(self._tensors[RECORDS]), self.path)
            if records.count != len(self) or set(records.sides) != set(self.offsets):
                raise self._wrong("its records are not of its pairs", "the file as written")
            self._records = records
        return records

    def forget_records(self) -> None:
        """Read the records again when they are next asked for."""
        self._records = None

    def tokens(self, i: int, side: Side) -> Tensor | None:
        """View of the ids [n] int32 of one side of a pair; None where they are not known."""
        if side not in self.schema.tokens:
            return None
        first, end = self.span(i, side)
        return self._tensors[f"{side}.tokens"][first:end]

    def span(self, i: int, side: Side) -> tuple[int, int]:
        """Where the states of one side of pair `i` begin and end."""
        offsets = self.offsets[side]
        return int(offsets[i]), int(offsets[i + 1])

    def packed(self, i: int, kind: str) -> Packed:
        """View of the states of one kind.

        Raises:
            InputError: they are damaged.
        """
        column, side, codes, scale = self._stored[kind]
        first, end = self.span(i, side)
        found = Packed(codes[first:end], None if scale is None else scale[first:end])
        if not self.checked[i, column]:
            parts = [found.codes] if found.scale is None else [found.codes, found.scale]
            self._check(i, column, f"states {kind}", parts)
        return found

    def top(self, i: int, reading: Reading) -> Top:
        """View of the largest logits of one reading.

        Raises:
            InputError: they are damaged.
        """
        first, end = self.span(i, Kind(reading).side)
        parts = [self._tensors[f"top.{reading}.{part}"][first:end] for part in TOP]
        column = len(self.kinds) + self.readings.index(reading)
        if not self.checked[i, column]:
            self._check(i, column, f"logits of {reading}", parts)
        return Top(*parts)

    def pair(self, i: int) -> Pair:
        """Both answers; ids that are not known are empty."""
        ids: dict[Side, list[int]] = {}
        for side in SIDES:
            found = self.tokens(i, side)
            ids[side] = [] if found is None else found.tolist()
        return self.records.pair(i, ids["own"], ids["target"])

    def row(self, i: int) -> Row:
        """Everything that is kept of a pair; states and logits are views.

        Raises:
            InputError: damaged.
        """
        sides = {side: self.span(i, side) for side in self.offsets}
        return Row(
            pair=self.pair(i),
            said={
                side: self.records.said(i, side, end - first)
                for side, (first, end) in sides.items()
            },
            states={kind: self.packed(i, kind) for kind in self.kinds},
            top={reading: self.top(i, reading) for reading in self.readings},
        )

    def check(self) -> None:
        """Look at every checksum that was not looked at.

        Raises:
            InputError: the first pair that is damaged.
        """
        for i in range(len(self)):
            self.row(i)

    def _check(self, i: int, column: int, what: str, parts: Sequence[Tensor]) -> None:
        if crc_of(*parts) != int(self._tensors[CRC].numpy()[i, column]):
            raise self._wrong(f"the {what} of its pair {i} are damaged", "the bytes as written")
        self.checked[i, column] = True

    def _check_index(self, told: int | None) -> None:
        """The checksum over everything but states and logits."""
        own = self._tensors.get(INDEX_CRC)
        if own is None or own.dtype != torch.uint32 or own.shape != (1,):
            raise self._wrong("no shard of a pair store", "a file that crossdraft wrote")
        big = [name for name in self._tensors if name.startswith(BIG)]
        if self._file.crc_without([*big, INDEX_CRC]) != own.item():
            raise self._wrong("its index is damaged", "the bytes as written")
        if told not in (None, own.item()):
            raise self._wrong("this is not the file that the store was made of", "that file")

    def _check_shapes(self) -> None:
        """Whether the file has what the schema says, in shapes that fit each other."""
        crc = self._tensors.get(CRC)
        if crc is None or crc.ndim != 2 or RECORDS not in self._tensors:
            raise self._wrong("no shard of a pair store", "a file that crossdraft wrote")
        positions: dict[Side, int] = {}
        for side in SIDES:
            offsets = self._tensors.get(f"{side}.offsets")
            if offsets is None:
                continue
            ends = offsets.numpy()
            whole = offsets.dtype == torch.int64 and ends.shape == (len(crc) + 1,)
            if not whole or ends[0] != 0 or (np.diff(ends) < 0).any():
                raise self._wrong(f"{side}.offsets do not rise from 0", "one more than pairs")
            positions[side] = int(ends[-1])
        forms = wanted(self.schema, self.readings, positions)
        found = {
            name: (one.dtype, tuple(one.shape))
            for name, one in self._tensors.items()
            if name.startswith(BIG) or name.endswith(".tokens")
        }
        for name in sorted(forms.keys() | found.keys()):
            if forms.get(name) != found.get(name):
                raise self._wrong(f"{name} is {shown(found.get(name))}", shown(forms.get(name)))
        if crc.shape[1] != len(self.kinds) + len(self.readings):
            raise self._wrong(f"checksums of {crc.shape[1]} columns", f"{self.kinds}")

    def _wrong(self, found: str, expected: str) -> InputError:
        return InputError(found, where=self.path, expected=expected, hint=AGAIN)
