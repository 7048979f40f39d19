"""Padded batches of states for a training, from a store that does not fit into memory.

Every pass is shuffled over the whole store, and what is copied is copied once: from the file's
pages straight into the batch, as the numbers that the training computes with. A thread prepares the
next batches meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from crossdraft.base.ahead import ahead
from crossdraft.base.errors import InputError
from crossdraft.pairs.store.kinds import SIDES, Side
from crossdraft.pairs.store.packing import unpack_into
from crossdraft.pairs.store.rows import Packed

if TYPE_CHECKING:
    from crossdraft.pairs.store.shard import Shard
    from crossdraft.pairs.store.store import PairStore

#: Behind the end of an answer. No id, so that nobody takes it for one.
PADDING = -1
#: Values of a pair below which its states are first put together and then unpacked all at once: a
#: copy more, and far fewer calls, which hold up whoever trains meanwhile.
_NARROW = 1 << 15


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pairs, padded on the right to the longest of the batch.

    Attributes:
        rows: [batch] int64, their numbers in the store.
        states: by kind, [batch, length of its side, width]; zeros behind the end.
        lengths: by side, [batch] int64.
        tokens: by side where ids are known, [batch, length] int64; `PADDING` behind the end.
    """

    rows: Tensor
    states: Mapping[str, Tensor]
    lengths: Mapping[Side, Tensor]
    tokens: Mapping[Side, Tensor]

    def mask(self, side: Side) -> Tensor:
        """[batch, length] bool: where there is a state."""
        lengths = self.lengths[side]
        longest = int(lengths.max()) if len(lengths) else 0
        return torch.arange(longest) < lengths[:, None]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Loader:
    """Which batches of a store, and how.

    Attributes:
        kinds: of states, by name.
        batch_size: pairs of a batch.
        rows: numbers of the pairs to take, None: all.
        seed, epoch: both decide the order; another epoch, another order.
        shuffle: over all chosen pairs; else in the order of `rows`.
        drop_last: leave a last batch out that is not full, and pairs that do not go evenly into the
            ranks: each rank has as many batches.
        dtype: of the states in a batch.
        tokens: also the ids, where they are known.
        rank, world: this process takes every `world`-th pair of the order. Without `drop_last`
            every pair comes exactly once, and a rank may have one batch more than another.
        prefetch: batches that a thread prepares ahead; 0: none, and no thread.
    """

    store: PairStore
    kinds: tuple[str, ...]
    batch_size: int
    rows: tuple[int, ...] | None = None
    seed: int = 0
    epoch: int = 0
    shuffle: bool = True
    drop_last: bool = False
    dtype: torch.dtype = torch.float32
    tokens: bool = True
    rank: int = 0
    world: int = 1
    prefetch: int = 2

    def __post_init__(self) -> None:
        self.store.require(*self.kinds)
        if not self.kinds and not self.store.manifest.schema.tokens:
            raise InputError("no kinds of states, and no ids", expected="one or more kinds")
        if self.batch_size < 1:
            raise InputError(f"batches of {self.batch_size}", expected="one pair or more")
        if not 0 <= self.rank < self.world:
            raise InputError(f"rank {self.rank} of {self.world}", expected="0 to the last rank")
        for name in ("seed", "epoch", "prefetch"):
            if (value := getattr(self, name)) < 0:
                raise InputError(f"{name} {value}", expected="0 or more")
        outside = [row for row in self.rows or () if not 0 <= row < len(self.store)]
        if outside:
            raise InputError(
                f"no pair {outside[0]}",
                where=self.store.folder,
                expected=f"numbers below {len(self.store)}",
            )

    def order(self) -> list[list[int]]:
        """The rows of each batch of this rank."""
        rows = np.arange(len(self.store)) if self.rows is None else np.array(self.rows, np.int64)
        if self.shuffle:
            rows = np.random.default_rng((self.seed, self.epoch)).permutation(rows)
        if self.drop_last:
            rows = rows[: len(rows) // self.world * self.world]
        mine = rows[self.rank :: self.world].tolist()
        size = self.batch_size
        batches = [mine[first : first + size] for first in range(0, len(mine), size)]
        if self.drop_last and batches and len(batches[-1]) < size:
            batches.pop()
        return batches

    def __len__(self) -> int:
        """Number of batches."""
        return len(self.order())

    def __iter__(self) -> Iterator[Batch]:
        """The batches in order.

        Raises:
            InputError: a pair is damaged.
        """
        order = self.order()
        if not self.prefetch:
            return map(self.batch, order)
        return ahead(map(self.batch, order), self.prefetch)

    def batch(self, rows: Sequence[int]) -> Batch:
        """One batch of these pairs."""
        found = [self.store.find(row) for row in rows]
        sides = [side for side in SIDES if not found or side in found[0][0].offsets]
        lengths = {side: _lengths(found, side) for side in sides}
        states = {kind: self._padded(kind, found, lengths) for kind in self.kinds}
        ids = self.store.manifest.schema.tokens if self.tokens and found else ()
        return Batch(
            torch.tensor(rows, dtype=torch.int64),
            states,
            {side: torch.tensor(one, dtype=torch.int64) for side, one in lengths.items()},
            {side: _tokens(found, side) for side in ids},
        )

    def _padded(
        self, kind: str, found: Sequence[tuple[Shard, int]], lengths: Mapping[Side, Sequence[int]]
    ) -> Tensor:
        """States [batch, length, width] of one kind."""
        stored = self.store.manifest.schema.kind(kind)
        assert stored is not None, "__post_init__ has asked for it"
        ends = lengths[stored.kind.side]
        longest = max(ends, default=0)
        packed = [shard.packed(place, kind) for shard, place in found]
        flat = torch.empty(len(found) * longest, stored.width, dtype=self.dtype)
        if longest * stored.width < _NARROW:
            unpack_into(flat, _joined(packed))
        else:
            for row, (one, n) in enumerate(zip(packed, ends, strict=True)):
                first = row * longest
                unpack_into(flat[first : first + n], one)
                flat[first + n : first + longest].zero_()
        return flat.view(len(found), longest, stored.width)


def _joined(packed: Sequence[Packed]) -> Packed:
    """States of several pairs one behind the other, each padded with zeros to the longest."""
    scales = [one.scale for one in packed if one.scale is not None]
    return Packed(
        pad_sequence([one.codes for one in packed], batch_first=True).flatten(0, 1),
        pad_sequence(scales, batch_first=True).flatten(0, 1) if scales else None,
    )


def _lengths(found: Sequence[tuple[Shard, int]], side: Side) -> list[int]:
    spans = [shard.span(place, side) for shard, place in found]
    return [end - first for first, end in spans]


def _tokens(found: Sequence[tuple[Shard, int]], side: Side) -> Tensor:
    """Ids [batch, length] int64 of one side, which are known."""
    tokens = [shard.tokens(place, side) for shard, place in found]
    known = [one for one in tokens if one is not None]
    return pad_sequence(known, batch_first=True, padding_value=PADDING).long()
