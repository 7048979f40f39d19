"""The states behind one pair of a store, as the pair carries them; the head lies beside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from crossdraft.pairs.record import Head
from crossdraft.pairs.store.rows import Top

if TYPE_CHECKING:
    from crossdraft.pairs.store.store import PairStore

#: The target's head, in a store's folder.
HEAD_FILE = "lm_head.safetensors"


@dataclass(frozen=True, eq=False)
class StoredThoughts:
    """What a store keeps behind one pair; nothing is read before it is asked for.

    Attributes:
        store: where it lies.
        row: number of the pair in it.
    """

    store: PairStore
    row: int

    @property
    def kinds(self) -> frozenset[str]:
        """Names of the states that are there."""
        return frozenset(kind.name for kind in self.store.manifest.schema.kinds)

    def states(self, kind: str) -> Tensor:
        """See `Thoughts.states`."""
        return self.store.states(self.row, kind)

    def top(self) -> Top:
        """See `Thoughts.top`."""
        return self.store.top(self.row, "target")

    @property
    def question_ids(self) -> tuple[int, ...]:
        """See `Thoughts.question_ids`."""
        return self.store.question_ids(self.row)

    @property
    def head(self) -> Head:
        """See `Thoughts.head`."""
        return self.store.head
