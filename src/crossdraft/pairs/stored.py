"""A pair store read as pairs, so that whatever takes a file of pairs takes a store."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.pairs.foreign import checked
from crossdraft.pairs.record import PairSet
from crossdraft.pairs.store.kinds import SIDES
from crossdraft.pairs.store.manifest import MANIFEST
from crossdraft.pairs.store.store import PairStore

FORMAT = "store"
_WHOSE = {"target": "the target's", "own": "the drafter's"}
#: What tells `crossdraft convert` where a side's LM head is.
_HEADS = {"target": "--lm-head", "own": "--drafter-lm-head"}


def fingerprinted(path: Path) -> Path:
    """The file whose digest stands for an input: of a store its manifest, which holds the digest of
    every shard; of anything else the thing itself."""
    return path / MANIFEST if (path / MANIFEST).is_file() else path


def read_store(folder: Path, head_file: Path | None = None) -> PairSet:
    """All pairs of a store, their states within reach; its clips that failed count as skipped.

    Args:
        head_file: the target's head, where it does not lie in the store.

    Raises:
        InputError: as `PairStore.open`; a shard is damaged; the ids of a side are not known.
    """
    store = PairStore.open(folder, head_file)
    unknown = [side for side in SIDES if side not in store.manifest.schema.tokens]
    if unknown:
        flags = " ".join(f"{_HEADS[side]} FILE" for side in unknown)
        raise InputError(
            f"does not know {' and '.join(_WHOSE[side] for side in unknown)} tokens, only states",
            where=folder,
            expected="a store with the tokens of both answers",
            hint="convert the files that it was made of again, with the LM head that turns states "
            f"into tokens: crossdraft convert SRC DST {flags}",
        )
    skipped = Counter(one.reason for one in store.manifest.missing)
    return checked(PairSet(tuple(store.pairs()), FORMAT, store.manifest.source, skipped, folder))
