"""What a pair store says of itself: `store.json`, written last, so that it tells of whole stores.

It lists no pair: those stand in the shards, so a store of any size opens at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crossdraft.pairs.store.kinds import Kind, Side

FORMAT, VERSION = "crossdraft.store", 1
#: Name of the manifest, and of the folder of the shards beside it.
MANIFEST, SHARDS = "store.json", "shards"
#: The index convention, in every manifest, for whoever reads the files without crossdraft.
CONVENTION = (
    "state t emits token t of its answer; state 0 sits on the last position of the prompt. "
    "own: the drafter's free answer. forced: the drafter reads the target's answer, its state t "
    "has read the target's tokens before t."
)


#: Key of a manifest's source: drives that the drafter behind the answers was tuned on.
TUNED_ON = "tuned_on"


@dataclass(frozen=True)
class StoredKind:
    """One kind of states in a store.

    Attributes:
        name: as `Kind.name`.
        width: of a state.
        dtype: one of `kinds.DTYPES`.
    """

    name: str
    width: int
    dtype: str

    @property
    def kind(self) -> Kind:
        """What the name means."""
        return Kind.parse(self.name)


@dataclass(frozen=True)
class Schema:
    """What every pair of a store has.

    Attributes:
        kinds: of states, sorted by name.
        top: logits kept of each row; 0: none.
        tokens: sides whose ids are known, with a word on where they come from: `generated`, or
            `argmax of HEAD` where they were recovered from states.
    """

    kinds: tuple[StoredKind, ...] = ()
    top: int = 0
    tokens: Mapping[Side, str] = field(default_factory=dict)

    def kind(self, name: str) -> StoredKind | None:
        """The kind of this name, if it is stored."""
        return next((one for one in self.kinds if one.name == name), None)


@dataclass(frozen=True)
class ShardInfo:
    """One shard file.

    Attributes:
        file: name below `shards/`.
        pairs: pairs in it.
        positions: states of each side, over all its pairs.
        longest: states of the longest answer of each side.
        bytes: size of the file.
        sha256: of its bytes.
        index_crc: CRC-32 of everything but states and logits, which have checksums of their own.
    """

    file: str
    pairs: int
    positions: Mapping[Side, int]
    longest: Mapping[Side, int]
    bytes: int
    sha256: str
    index_crc: int


@dataclass(frozen=True)
class Missing:
    """A clip that is not in the store, and why.

    Attributes:
        clip: `<drive>/<clip>`, as the dataset calls it.
        reason: what was wrong, for a person.
        tries: how often it was tried.
    """

    clip: str
    reason: str
    tries: int


@dataclass(frozen=True)
class Manifest:
    """What `store.json` holds.

    Attributes:
        schema: what every pair has.
        shards: in the order of their pairs.
        questions: as asked, by question index.
        source: what the store was made from; the same whoever made it, and when.
        provenance: when, with what and by which call it was begun.
        missing: clips that failed.
        question_ids: the target's ids of each question behind the picture, by question index; empty
            where nobody kept them.
    """

    schema: Schema
    shards: tuple[ShardInfo, ...]
    questions: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[Missing, ...] = ()
    question_ids: tuple[tuple[int, ...], ...] = ()

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return sum(shard.pairs for shard in self.shards)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "convention": CONVENTION,
            "pairs": self.pairs,
            **asdict(self),
        }
