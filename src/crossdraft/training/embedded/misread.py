"""Answers as a model that sees paint reads them in training.

After `green`, hardly an answer says `truck`: words are evidence too, and poorer than a picture.
Where an answer names a kind or a paint, the model reads any other one, so that what it says next
comes from what it sees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from crossdraft.drafters.trainable import IGNORE
from crossdraft.scenes.drive.world import WHOSE
from crossdraft.training.embedded.packing import Turn

#: What is read as any other of its kind, of the first road user and of the second.
MISREAD = frozenset({"vehicle", "colour"})


@dataclass(frozen=True)
class Mention:
    """Tokens `start` to `stop` of an answer, the end left out, that name an attribute."""

    attribute: str
    start: int
    stop: int

    @property
    def plain(self) -> str:
        """The attribute, whoever it is of."""
        return self.attribute.removeprefix(WHOSE[1])


#: By attribute and length, what mentions of it say.
Words = Mapping[tuple[str, int], Sequence[tuple[int, ...]]]


def words_of(turns: Iterable[tuple[Turn, Sequence[Mention]]]) -> Words:
    """What answers say of each attribute that is misread."""
    found: dict[tuple[str, int], set[tuple[int, ...]]] = defaultdict(set)
    for turn, mentions in turns:
        for mention in mentions:
            if mention.plain in MISREAD:
                said = turn.answer[mention.start : mention.stop]
                found[mention.plain, len(said)].add(said)
    return {key: tuple(sorted(said)) for key, said in found.items()}


def misread(turn: Turn, mentions: Sequence[Mention], words: Words, unasked: frozenset[str]) -> Turn:
    """A turn with other kinds and paints to read, and the true ones to say.

    Args:
        unasked: attributes that are not to be learned now, nor the article before them, which may
            depend on them (`a`, `an`).
    """
    named = {place for mention in mentions for place in range(mention.start, mention.stop)}
    read, labels = list(turn.answer), list(turn.answer)
    for mention in mentions:
        place, length = slice(mention.start, mention.stop), mention.stop - mention.start
        if mention.plain in MISREAD:
            known = words[mention.plain, length]
            read[place] = known[int(torch.randint(len(known), ()))]
        if mention.attribute in unasked:
            labels[place] = [IGNORE] * length
            if mention.start and mention.start - 1 not in named:
                labels[mention.start - 1] = IGNORE
    return replace(turn, answer=tuple(read), labels=tuple(labels))
