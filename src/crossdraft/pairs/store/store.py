"""The pair store: open a folder of any size at once, read any pair's words and thoughts by slice.

`store.json` lists the shards; a shard is mapped into memory when one of its pairs is first asked
for. Nothing is unpacked or copied that was not asked for, and what is read is checked first.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store.batches import Batch, Loader
from crossdraft.pairs.store.kinds import Reading, Side
from crossdraft.pairs.store.manifest import SHARDS, Manifest
from crossdraft.pairs.store.manifest_file import read_manifest
from crossdraft.pairs.store.packing import unpack
from crossdraft.pairs.store.rows import Packed, Row, Top
from crossdraft.pairs.store.shard import AGAIN, Shard
from crossdraft.pairs.store.shelf import MAX_OPEN, Shelf
from crossdraft.pairs.store.thoughts import HEAD_FILE, StoredThoughts
from crossdraft.vlm.lm_head import LMHead, read_lm_head


class PairStore:
    """Pairs of a folder, by number in the order of the store.

    Attributes:
        folder: where it lies.
        manifest: what `store.json` says.
        head_file: the target's head, where it does not lie in the folder.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        max_open: int = MAX_OPEN,
        head_file: Path | None = None,
    ) -> None:
        self.folder, self.manifest, self.head_file = folder, manifest, head_file
        self.shelf = Shelf(folder / SHARDS, manifest.schema, manifest.shards, max_open)
        #: Pairs before each shard.
        self._before = [0, *accumulate(shard.pairs for shard in manifest.shards)]
        self._rows: dict[tuple[str, int, str], int] | None = None

    @classmethod
    def open(cls, folder: Path, head_file: Path | None = None) -> PairStore:
        """Open a store: its manifest is read, its files are there and of their size.

        Args:
            head_file: the target's head, where it does not lie in the folder; read when it is
                first asked for.

        Raises:
            InputError: no store, not finished, malformed; a shard is missing, cut or too long.
        """
        manifest = read_manifest(folder)
        try:
            with os.scandir(folder / SHARDS) as entries:
                sizes = {entry.name: entry.stat().st_size for entry in entries}
        except OSError:
            sizes = {}
        for shard in manifest.shards:
            size = sizes.get(shard.file)
            if size != shard.bytes:
                raise InputError(
                    "this shard is missing" if size is None else f"{size:,} bytes",
                    where=folder / SHARDS / shard.file,
                    expected=f"a file of {shard.bytes:,} bytes, as the store was written",
                    hint=AGAIN,
                )
        return cls(folder, manifest, head_file=head_file)

    def __reduce__(self) -> tuple[type[PairStore], tuple[Any, ...]]:
        """Pickled as where it lies and what its manifest says; a copy opens shards of its own."""
        return type(self), (self.folder, self.manifest, self.shelf.most_open, self.head_file)

    def __len__(self) -> int:
        return self._before[-1]

    def find(self, i: int) -> tuple[Shard, int]:
        """The shard of pair `i`, open, and the pair's place in it.

        Raises:
            IndexError: no such pair.
            InputError: the shard is damaged.
        """
        if not 0 <= i < len(self):
            raise IndexError(f"pair {i} of {len(self)}")
        number = bisect_right(self._before, i) - 1
        return self.shelf[number], i - self._before[number]

    def count(self, i: int, side: Side) -> int:
        """States of one side of pair `i`: one to each token."""
        shard, place = self.find(i)
        first, end = shard.span(place, side)
        return end - first

    def pair(self, i: int) -> Pair:
        """Both answers of pair `i`; ids that the store does not know are empty."""
        shard, place = self.find(i)
        return self._thinking(shard.pair(place), i)

    def pairs(self) -> Iterator[Pair]:
        """All pairs in order."""
        for number, before in enumerate(self._before[:-1]):
            shard = self.shelf[number]
            for place in range(len(shard)):
                yield self._thinking(shard.pair(place), before + place)

    def _thinking(self, pair: Pair, i: int) -> Pair:
        """The pair with its states, where any are kept."""
        if not self.manifest.schema.kinds:
            return pair
        return replace(pair, thoughts=StoredThoughts(self, i))

    def question_ids(self, i: int) -> tuple[int, ...]:
        """The target's ids of its prompt behind the picture, of pair `i`; empty where the store
        does not say."""
        asked, number = self.manifest.question_ids, self.pair(i).question_index
        return asked[number] if 0 <= number < len(asked) else ()

    @cached_property
    def head(self) -> LMHead:
        """The target's head, float32: the file that was named, or the one beside the shards.

        Raises:
            InputError: there is none, it is damaged, or it is of another width than the states.
        """
        path = self.folder / HEAD_FILE if self.head_file is None else self.head_file
        if not path.is_file():
            raise InputError(
                "the target's head does not lie beside its states",
                where=path,
                expected=f"{HEAD_FILE} in the store, or --lm-head FILE",
                hint=f"crossdraft lm-head MODEL --out {self.folder / HEAD_FILE}",
            )
        head = read_lm_head(path).to(torch.float32)
        kind = self.manifest.schema.kind("target")
        if kind is not None and kind.width != head.hidden:
            raise InputError(
                f"a head for states {head.hidden} wide",
                where=path,
                expected=f"{kind.width}, as the states of {self.folder}",
            )
        return head

    def row(self, i: int) -> Row:
        """Everything that is kept of pair `i`; states and logits are views of the file.

        Raises:
            InputError: damaged.
        """
        shard, place = self.find(i)
        return shard.row(place)

    def packed(self, i: int, kind: str) -> Packed:
        """States as they are stored, a view of the file.

        Raises:
            InputError: damaged, or no such kind.
        """
        self.require(kind)
        shard, place = self.find(i)
        return shard.packed(place, kind)

    def states(self, i: int, kind: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """States [n, width] of one kind, in memory of their own.

        Raises:
            InputError: damaged, or no such kind.
        """
        return unpack(self.packed(i, kind), dtype)

    def top(self, i: int, reading: Reading) -> Top:
        """The largest logits of one reading, a view of the file.

        Raises:
            InputError: damaged, or none are kept of this reading.
        """
        shard, place = self.find(i)
        if reading not in shard.readings:
            raise InputError(
                f"keeps no logits of {reading!r}",
                where=self.folder,
                expected=f"one of {', '.join(shard.readings)}" if shard.readings else None,
                hint="extract with --top-logits",
            )
        return shard.top(place, reading)

    def require(self, *kinds: str) -> None:
        """Refuse kinds that are not stored.

        Raises:
            InputError: naming those that are.
        """
        for kind in kinds:
            if self.manifest.schema.kind(kind) is None:
                names = ", ".join(one.name for one in self.manifest.schema.kinds)
                raise InputError(
                    f"has no states {kind!r}",
                    where=self.folder,
                    expected=f"one of {names}" if names else "a store with states",
                )

    def rows_of(self, pairs: Iterable[Pair]) -> list[int]:
        """Numbers of pairs, such as those of one part of a split, found by clip and question.

        Raises:
            InputError: one of them is not in the store.
        """
        if self._rows is None:
            self._rows = {pair.key: i for i, pair in enumerate(self.pairs())}
        found = []
        for pair in pairs:
            if pair.key not in self._rows:
                raise InputError(
                    f"holds no pair of clip {pair.clip} and question {pair.question!r}",
                    where=self.folder,
                    expected="pairs that were read from this store",
                )
            found.append(self._rows[pair.key])
        return found

    def batches(
        self,
        kinds: Sequence[str],
        batch_size: int,
        *,
        rows: Sequence[int] | None = None,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        dtype: torch.dtype = torch.float32,
        tokens: bool = True,
        rank: int = 0,
        world: int = 1,
        prefetch: int = 2,
    ) -> Iterator[Batch]:
        """One pass over the store in padded batches; `Loader` says what the arguments mean.

        Raises:
            InputError: no such kind, row or rank; while iterating: a pair is damaged.
        """
        chosen = None if rows is None else tuple(rows)
        return iter(
            Loader(
                self, tuple(kinds), batch_size, chosen, seed, epoch, shuffle, drop_last, dtype,
                tokens, rank, world, prefetch,
            )
        )  # fmt: skip

    def check(self, progress: ProgressSink = silent) -> None:
        """Read every byte and compare it with what was written, and that with the manifest.

        Raises:
            InputError: the first shard that is damaged, or not what the manifest says of it.
        """
        shards = self.manifest.shards
        for number, shard in enumerate(track(shards, "shards", len(shards), progress)):
            path = self.folder / SHARDS / shard.file
            if (found := sha256_of(path)) != shard.sha256:
                raise InputError(
                    f"this shard is damaged: its SHA-256 is {found}",
                    where=path,
                    expected=shard.sha256,
                    hint=AGAIN,
                )
            self.shelf[number]
