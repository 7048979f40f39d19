"""The shards of a store, opened when they are asked for; the least used ones are closed again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

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

    def _opened(self, number: int) -> Shard:
        info = self._infos[number]
        path = self._folder / info.file
        shard = Shard(path, self._schema, info.index_crc, self._checked.get(number))
        if len(shard) != info.pairs:
            raise InputError(
                f"{len(shard)} pairs",
                where=path,
                expected=f"{info.pairs}, as the store says",
                hint=AGAIN,
            )
        self._checked[number] = shard.checked
        return shard
