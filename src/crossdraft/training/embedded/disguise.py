"""Pictures that hide one thing: no paint tells the kind of a road user, no shape its paint.

Training drives never show some paints on some kinds, so a model that sees a paint learns which kind
it cannot be, and fails on the combination that it meets later. So it learns kinds from clips in any
paint, and paints from clips without shapes; it is not asked for what a clip hides. Words are a tie
too: after `green`, no training answer says `truck`. Where an answer names a kind or a paint, the
model reads another one in training, so that what it says next comes from what it sees.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from crossdraft.drafters.trainable import IGNORE
from crossdraft.training.embedded.packing import Turn
from crossdraft.vlm.pixels import Pixels

#: uint8 [height, width, 3].
_Picture = npt.NDArray[np.uint8]
#: int64 [frames, patches]: 0 nobody, 1 the first road user, 2 the second.
Owners = npt.NDArray[np.int64]

#: Side in pixels of the squares that change places within a road user.
_SQUARE = 4
#: Paints become up to so much stronger, or gray.
_MOST_SATURATION = 1.5
#: Each channel becomes up to such a share brighter or darker.
_MOST_TINT = 0.4


@dataclass(frozen=True)
class Mention:
    """Tokens `start` to `stop` of an answer, the end left out, that name an attribute."""

    attribute: str
    start: int
    stop: int


#: By attribute and length, what mentions of it say.
Words = Mapping[tuple[str, int], Sequence[tuple[int, ...]]]


@dataclass(frozen=True)
class Disguise:
    """One way to show a clip.

    Attributes:
        called: in a model's card: how clips are shown.
        hides: attributes that are not asked for, of the first road user and the second.
        share: of the clips that are shown so, among the ways that are drawn from.
        show: pictures [frames, height, width, 3] and their owners, to pictures.
    """

    called: str
    hides: frozenset[str]
    share: float
    show: Callable[[Pixels, Owners], Pixels]

    def to_json(self) -> list[Any]:
        """Plain JSON: what decides about a training."""
        return [self.show.__name__, self.share, sorted(self.hides)]

    def told(self, truth: Mapping[str, str]) -> dict[str, str]:
        """What is left of a scene's attributes."""
        return {name: v for name, v in truth.items() if plain_name(name) not in self.hides}


def repainted(pictures: Pixels, owners: Owners) -> Pixels:
    """All colours turned about the gray axis by one angle, made weaker or stronger, and tinted:
    without the tint, what is gray would stay gray."""
    angle = float(torch.rand(())) * 2 * math.pi
    saturation = float(torch.rand(())) * _MOST_SATURATION
    third, across = 1 / 3, math.sqrt(1 / 3)
    cosine, sine = math.cos(angle), math.sin(angle)
    around = np.array([[0, -across, across], [across, 0, -across], [-across, across, 0]])
    turned = saturation * (cosine * (np.eye(3) - third) + sine * around) + third
    tint = np.array([float(torch.rand(())) * 2 - 1 for _ in range(3)]) * _MOST_TINT
    change = (1 + tint - tint.mean())[:, None] * turned
    shown: npt.NDArray[np.float32] = np.rint(
        pictures.astype(np.float32) @ change.T.astype(np.float32)
    )
    return shown.clip(0, 255).astype(np.uint8)


def reshaped(pictures: Pixels, owners: Owners) -> Pixels:
    """Small squares of everyone who is seen change places: the paint stays, the shape is gone."""
    shown = pictures.copy()
    for picture, owner in zip(shown, owners, strict=True):
        for who in range(1, int(owner.max(initial=0)) + 1):
            _shuffle(picture, owner == who)
    return shown


def _shuffle(picture: _Picture, owned: npt.NDArray[np.bool_]) -> None:
    """Change places within some patches of a picture, in place."""
    side = math.isqrt(len(owned))
    squares = len(picture) // _SQUARE
    # A view [row, column, square, square, 3]: what is written to it is written to the picture.
    cells = picture.reshape(squares, _SQUARE, squares, _SQUARE, 3).swapaxes(1, 2)
    each = squares // side
    rows, columns = np.nonzero(np.kron(owned.reshape(side, side), np.ones((each, each), bool)))
    order = torch.randperm(len(rows)).numpy()
    cells[rows, columns] = cells[rows[order], columns[order]]


def as_it_is(pictures: Pixels, owners: Owners) -> Pixels:
    return pictures


_PAINT, _KIND = frozenset({"colour", "light state"}), frozenset({"vehicle"})
#: How a tower that sees paint is shown its clips. Plain ones leave kinds out too: a picture that
#: tells both would bring the tie back.
TO_SEE = (
    Disguise("in another paint", _PAINT, 0.5, repainted),
    Disguise("with shuffled shapes", _KIND, 0.25, reshaped),
    Disguise("as they are", _KIND, 0.25, as_it_is),
)
#: How the whole model is shown them first: fast, but what is asked for both brings the tie back.
TO_ANSWER = (
    Disguise("in another paint", _PAINT, 0.25, repainted),
    Disguise("with shuffled shapes", _KIND, 0.25, reshaped),
    Disguise("as they are", frozenset(), 0.5, as_it_is),
)
#: And how at last: nothing is asked for both.
TO_TELL_APART = (
    Disguise("in another paint", _PAINT, 0.5, repainted),
    Disguise("with shuffled shapes", _KIND, 0.5, reshaped),
)
#: How validation shows them, and how a model that sees no paint is shown everything.
UNDISGUISED = Disguise("as they are", frozenset(), 1.0, as_it_is)
#: Words that a model that sees paint does not read as it should have said them, whatever it is
#: asked for.
MISREAD = _KIND | {"colour"}


def disguise_for(truth: Mapping[str, str], ways: Sequence[Disguise]) -> Disguise:
    """How to show a clip next.

    Args:
        truth: attributes that this side's camera sees.
        ways: drawn from by their shares, where paint is seen.
    """
    if "colour" not in truth:
        return UNDISGUISED
    shares = torch.tensor([way.share for way in ways])
    return ways[int(torch.multinomial(shares, 1))]


def plain_name(attribute: str) -> str:
    """An attribute without whose it is."""
    return attribute.removeprefix("second ")


def words_of(turns: Iterable[tuple[Turn, Sequence[Mention]]]) -> Words:
    """What answers say of each attribute."""
    found: dict[tuple[str, int], set[tuple[int, ...]]] = defaultdict(set)
    for turn, mentions in turns:
        for mention in mentions:
            said = turn.answer[mention.start : mention.stop]
            found[plain_name(mention.attribute), len(said)].add(said)
    return {key: tuple(sorted(said)) for key, said in found.items()}


def misread(turn: Turn, mentions: Sequence[Mention], hidden: frozenset[str], words: Words) -> Turn:
    """A turn as it is learned from a clip that hides something.

    Where the answer names a kind, a paint or what is hidden, any word of the same attribute is
    read: what comes next has to be looked at, not inferred from it. What is hidden is not learned,
    nor the article before, which may depend on it (`a`, `an`).
    """
    named = {place for mention in mentions for place in range(mention.start, mention.stop)}
    read, labels = list(turn.answer), list(turn.answer)
    for mention in mentions:
        name, place = plain_name(mention.attribute), slice(mention.start, mention.stop)
        if name in hidden | MISREAD:
            known = words[name, mention.stop - mention.start]
            read[place] = known[int(torch.randint(len(known), ()))]
        if name in hidden:
            labels[place] = [IGNORE] * (mention.stop - mention.start)
            if mention.start and mention.start - 1 not in named:
                labels[mention.start - 1] = IGNORE
    return replace(turn, answer=tuple(read), labels=tuple(labels))
