"""Key/value caches that a session can roll back, reorder and share.

Both keep rows in buffers that may be larger than what is in use, so that a step writes its own
rows and copies nothing. The growing cache makes room in chunks and works everywhere; the
preallocated one takes its room at once, and can show its whole buffer to a compiled step.

A pass writes behind `length` and counts only once it is committed: a forward that fails half way
leaves the cache as it was.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from crossdraft.base.errors import InputError

#: Keys and values of one layer, [1, heads, capacity, head size] each.
Buffers = tuple[Tensor, Tensor]

#: Rows by which the growing cache grows: at 7B sizes 128 MiB in half precision.
CHUNK = 256


class _Cursor:
    """Where the next pass writes. All layers share it and none refers to the cache itself, so
    that a dropped cache is freed at once."""

    def __init__(self) -> None:
        self.length = 0
        #: Rows to write as a tensor, where a compiled step must not depend on `length`.
        self.slots: Tensor | None = None


class _Rows(DynamicLayer):  # type: ignore[no-untyped-call]
    """One layer's rows. transformers calls `update` with what the layer has just computed."""

    def __init__(self, cursor: _Cursor, capacity: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cursor, self.capacity = cursor, capacity
        #: The buffers belong to somebody else, who must not see what is written here.
        self.shared = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write new rows behind those in use; returns all rows that the pass attends to."""
        if self.cursor.slots is not None and self.keys is not None and self.values is not None:
            self.keys.index_copy_(2, self.cursor.slots, key_states)
            self.values.index_copy_(2, self.cursor.slots, value_states)
            return self.keys, self.values
        start = self.cursor.length
        end = start + key_states.shape[-2]
        if self.keys is None or self.shared or end > self.keys.shape[-2]:
            self._grow(end, key_states, value_states)
        keys, values = self.buffers()
        keys[:, :, start:end] = key_states
        values[:, :, start:end] = value_states
        return keys[:, :, :end], values[:, :, :end]

    def _grow(self, rows: int, keys_like: Tensor, values_like: Tensor) -> None:
        """Move to buffers of at least `rows` rows that are this layer's own."""
        used = self.cursor.length
        # What begins a picture is read by its forks and grows no more.
        capacity = self.capacity or (rows if self.keys is None else -(-rows // CHUNK) * CHUNK)
        lanes = len(keys_like)
        new = _zeros(keys_like, capacity, lanes), _zeros(values_like, capacity, lanes)
        if self.keys is not None:
            for buffer, past in zip(new, self.buffers(), strict=True):
                buffer[:, :, :used] = past[:, :, :used]
        # Last, so that whatever interrupts the copy leaves the old rows in place.
        self.use(*new)

    def use(self, keys: Tensor, values: Tensor, *, shared: bool = False) -> None:
        """Take these buffers."""
        self.keys, self.values = keys, values
        self.shared, self.is_initialized = shared, True

    def buffers(self) -> Buffers:
        """Keys and values; the layer must have seen a pass."""
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Rows in use."""
        return self.cursor.length

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns and offset of a mask that transformers itself makes."""
        return self.cursor.length + query_length, 0


class SessionCache(Cache):
    """Rows of all layers, [1, heads, length, head size] each."""

    def __init__(self, layers: int, capacity: int | None = None) -> None:
        #: Rows that can be held; None without a limit.
        self.capacity = capacity
        self.cursor = _Cursor()
        self.rows = [_Rows(self.cursor, capacity) for _ in range(layers)]
        super().__init__(layers=list(self.rows))

    @property
    def length(self) -> int:
        """Rows in use: committed tokens, and those of a tree that waits for `keep`."""
        return self.cursor.length

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers that belong to this cache."""
        own = (row for row in self.rows if row.keys is not None and not row.shared)
        return sum(part.nbytes for row in own for part in row.buffers())

    def prepare(self, count: int, width: int = 0) -> int:
        """Make sure that the next pass can be written.

        Args:
            count: rows of the pass.
            width: rows it is padded to where it must not depend on the length; else 0.

        Returns:
            Columns that the pass attends to.

        Raises:
            InputError: no room is left.
        """
        raise NotImplementedError

    def fork(self) -> SessionCache:
        """A cache that begins with the rows in use here, which must not change from now on."""
        raise NotImplementedError

    def commit(self, count: int) -> None:
        """Count the rows that the last pass wrote."""
        self.cursor.length += count
        self.cursor.slots = None

    def truncate(self, length: int) -> None:
        """Forget all rows from `length` on."""
        self.cursor.length = length

    def keep(self, start: int, rows: Sequence[int]) -> None:
        """Of the rows from `start` on keep these, moved together in this order.

        Args:
            rows: increasing row numbers, all >= start.
        """
        end = start + len(rows)
        if list(rows) != list(range(start, end)):
            chosen = torch.tensor(list(rows), device=self.rows[0].buffers()[0].device)
            for row in self.rows:
                for buffer in row.buffers():
                    # index_select copies first, so rows may move over one another.
                    chosen = chosen.to(buffer.device)
                    buffer[:, :, start:end] = buffer.index_select(2, chosen)
        self.cursor.length = end


class GrowingCache(SessionCache):
    """Grows as it needs to."""

    def prepare(self, count: int, width: int = 0) -> int:
        """There is always room."""
        return self.cursor.length + count

    def fork(self) -> GrowingCache:
        """Shares the buffers until its first pass, which copies the rows in use."""
        return self.over(self)

    @classmethod
    def over(cls, cache: SessionCache) -> GrowingCache:
        """A growing cache that begins with the rows in use of another, of whatever kind."""
        child = cls(len(cache.rows))
        child.cursor.length = cache.length
        for its, mine in zip(cache.rows, child.rows, strict=True):
            if its.keys is not None:
                mine.use(*its.buffers(), shared=True)
        return child

    @classmethod
    def beside(cls, caches: Sequence[SessionCache]) -> GrowingCache:
        """A growing cache with the rows in use of several, one to a lane; where some have fewer
        rows than others, zeros follow them."""
        if len(caches) == 1:
            return cls.over(caches[0])
        child = cls(len(caches[0].rows))
        child.cursor.length = max(cache.length for cache in caches)
        filled = [(lane, cache) for lane, cache in enumerate(caches) if cache.length]
        for number, mine in enumerate(child.rows if filled else ()):
            first = filled[0][1].rows[number].buffers()
            rows = -(-(child.length + 1) // CHUNK) * CHUNK
            new = _zeros(first[0], rows, len(caches)), _zeros(first[1], rows, len(caches))
            for lane, cache in filled:
                for buffer, past in zip(new, cache.rows[number].buffers(), strict=True):
                    buffer[lane, :, : cache.length] = past[0, :, : cache.length]
            mine.use(*new)
        return child


class _Pool:
    """Buffers of one picture. Every one of them begins with the picture's rows, so that a buffer
    which one question has left serves the next without a copy."""

    def __init__(self, first: list[Buffers], rows: int) -> None:
        self.first, self.rows = first, rows
        self.free = [first]

    def take(self) -> list[Buffers]:
        if self.free:
            return self.free.pop()
        return [(self._copy(keys), self._copy(values)) for keys, values in self.first]

    def _copy(self, buffer: Tensor) -> Tensor:
        new = _zeros(buffer, buffer.shape[2])
        new[:, :, : self.rows] = buffer[:, :, : self.rows]
        return new


class PreallocatedCache(SessionCache):
    """Takes its room at once.

    Args:
        capacity: rows of the buffers.
    """

    def __init__(self, layers: int, capacity: int) -> None:
        super().__init__(layers, capacity)
        self._pool: _Pool | None = None
        self._leased = False

    def prepare(self, count: int, width: int = 0) -> int:
        """See `SessionCache.prepare`. A padded pass sees the whole buffer, so that its shapes
        never change and one compiled step serves every length."""
        self.cursor.slots = None  # of a pass that failed
        wanted = self.cursor.length + max(count, width)
        assert self.capacity is not None
        if wanted > self.capacity:
            raise InputError(
                f"the sequence would reach {wanted} tokens",
                expected=f"at most {self.capacity}, the size of the preallocated cache",
                hint="open the target with more room, or use the growing cache",
            )
        if self._pool is not None and not self._leased:
            self._lease(self._pool)
        if not width:
            return self.cursor.length + count
        device = self.rows[0].buffers()[0].device
        self.cursor.slots = torch.arange(wanted - width, wanted, device=device)
        return self.capacity

    def fork(self) -> PreallocatedCache:
        """Takes a buffer at its first pass: one that an earlier fork has left, or a new one."""
        if self._pool is None and self.cursor.length:
            self._pool = _Pool([row.buffers() for row in self.rows], self.cursor.length)
        assert self.capacity is not None
        child = PreallocatedCache(len(self.rows), self.capacity)
        child.cursor.length = self.cursor.length
        child._pool = self._pool
        return child

    def _lease(self, pool: _Pool) -> None:
        buffers = pool.take()
        for row, (keys, values) in zip(self.rows, buffers, strict=True):
            row.use(keys, values)
        self._leased = True
        # Back to the pool when nobody can write through this cache any more.
        weakref.finalize(self, pool.free.append, buffers).atexit = False


def _zeros(like: Tensor, rows: int, lanes: int = 1) -> Tensor:
    """Zeros, not what the memory held before: masked rows must at least be finite."""
    # A caller's inference mode must not mark buffers that outlive it.
    with torch.inference_mode(False):
        return torch.zeros(
            (lanes, like.shape[1], rows, like.shape[3]), dtype=like.dtype, device=like.device
        )
