"""The shards of a store, opened when they are asked for; the least used ones are closed again."""

from __future__ import annotations

import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.pairs.store.manifest import Schema, ShardInfo
from crossdraft.pairs.store.shard import AGAIN, Flags, Shard

#: Shards open at once. A map takes no file descriptor, but the system counts maps too (65,530 in
#: Linux), and each shard's checked header and records take memory of our own.
MAX_OPEN = 512
#: Of so many, the last ones asked for, the records stay unpacked.
_MAX_RECORDS = 16


class Shelf:
    """Shards by number, for any number of threads."""

    def __init__(
        self, folder: Path, schema: Schema, shards: Sequence[ShardInfo], max_open: int = MAX_OPEN
    ) -> None:
        self._folder, self._schema, self._infos, self._max = folder, schema, shards, max_open
        self._open: OrderedDict[int, Shard] = OrderedDict()
        self._recent: OrderedDict[int, Shard] = OrderedDict()
        #: What was checked of a shard stays checked when it is opened again.
        self._checked: dict[int, Flags] = {}
        self._lock = threading.Lock()
        _SHELVES.add(self)

    @property
    def most_open(self) -> int:
        """How many shards may be open."""
        return self._max

    @property
    def open_now(self) -> int:
        """How many shards are open."""
        return len(self._open)

    def __getitem__(self, number: int) -> Shard:
        """A shard, opened and checked if it is not open.

        Raises:
            InputError: damaged, or not the file that the store was made of.
        """
        with self._lock:
            if (shard := self._open.get(number)) is None:
                shard = self._open[number] = self._opened(number)
                if len(self._open) > self._max:
                    self._open.popitem(last=False)
            self._open.move_to_end(number)
            self._recent[number] = shard
            self._recent.move_to_end(number)
            if len(self._recent) > _MAX_RECORDS:
                self._recent.popitem(last=False)[1].forget_records()
            return shard

    def renew_lock(self) -> None:
        """For a process that was forked: whoever held the lock is not in it."""
        self._lock = threading.Lock()

    def _opened(self, number: int) -> Shard:
        info = self._infos[number]
        path = self._folder / info.file
        shard = Shard(path, self._schema, info.index_crc, self._checked.get(number))
        if number not in self._checked:
            _compare(shard, info)
        self._checked[number] = shard.checked
        return shard


def _compare(shard: Shard, info: ShardInfo) -> None:
    """Refuse a shard that is not what the manifest says of it."""
    positions = {side: int(ends[-1]) for side, ends in shard.offsets.items()}
    longest = {side: int(np.diff(ends).max(initial=0)) for side, ends in shard.offsets.items()}
    for what, found, said in (
        ("pairs", len(shard), info.pairs),
        ("positions", positions, dict(info.positions)),
        ("longest", longest, dict(info.longest)),
    ):
        if found != said:
            raise InputError(
                f"{what}: {found}",
                where=shard.path,
                expected=f"{said}, as the store says",
                hint=AGAIN,
            )


#: Every shelf of this process.
_SHELVES: weakref.WeakSet[Shelf] = weakref.WeakSet()


def _renew_locks() -> None:
    for shelf in list(_SHELVES):
        shelf.renew_lock()


# A thread that prepares batches holds the lock now and then; a fork at that moment copies it held.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
