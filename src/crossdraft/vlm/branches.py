"""Many texts behind a few pictures, read in common passes.

Each picture has a lane of its own in one batched cache, and the texts behind it are branches of
that lane: a row sees its picture and its own branch. A picture's keys and values are there once
however many branches it has, and a branch that is not fed costs nothing. Lanes of different
lengths are padded with rows that nobody else sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from crossdraft.vlm.cache import GrowingCache
from crossdraft.vlm.decoder import Rows
from crossdraft.vlm.picture import Picture

if TYPE_CHECKING:
    from crossdraft.vlm.target import Target

#: Owners of columns that belong to no branch: the picture, which all of its lane see, and padding.
_PICTURE, _PADDING = -1, -2


class Branches:
    """The columns of one batched cache: which branch each belongs to, and where it stands.

    Args:
        pictures: a lane each.
        lanes: [branches] number of the picture that each branch stands behind.
    """

    def __init__(self, target: Target, pictures: Sequence[Picture], lanes: Sequence[int]) -> None:
        self._target, self._lanes = target, lanes
        self._prefixes = np.array([len(picture.prefix) for picture in pictures])
        columns = np.tile(np.arange(self._prefixes.max()), (len(pictures), 1))
        #: [lanes, columns] branch of each column.
        self._owner = np.where(columns < self._prefixes[:, None], _PICTURE, _PADDING)
        #: [lanes, columns] place in the sequence.
        self._place = columns
        #: [branches] place of the next token.
        self._next = self._prefixes[list(lanes)].tolist()
        # Growing, whatever the sessions use: the room of all branches is not known before.
        self._cache = GrowingCache.beside([picture.cache for picture in pictures])
        self._start = torch.cat([picture.start for picture in pictures], dim=-2)

    def read(self, feed: Mapping[int, Sequence[int]], wanted: Mapping[int, int]) -> Rows:
        """One pass over the next tokens of some branches.

        Args:
            feed: ids by branch, at least one each.
            wanted: rows to return of each fed branch, its last ones.

        Returns:
            [sum of wanted, hidden], branch after branch in the order of `feed`.
        """
        tokens, owner, place, rows = self._block(feed, wanted)
        visible = self._add(owner, place)
        decoder, count = self._target.decoder, tokens.shape[1]
        self._cache.prepare(count)
        mask = decoder.mask(visible, place, self._place, added=True)
        ahead = place - self._prefixes[:, None]
        hidden, kept = self._target.forward(tokens, ahead, self._start, mask, self._cache)
        self._cache.commit(count)
        return decoder.chosen((hidden, kept), rows)

    def _block(
        self, feed: Mapping[int, Sequence[int]], wanted: Mapping[int, int]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[int]]:
        """Ids, owners and places of a pass, [lanes, width] each, and the rows that are wanted,
        counted over all lanes."""
        ends = [0] * len(self._prefixes)
        spans = {}
        for branch, ids in feed.items():
            lane = self._lanes[branch]
            spans[branch] = lane, ends[lane], ends[lane] + len(ids)
            ends[lane] += len(ids)
        shape = len(ends), max(ends)
        tokens, owner = np.zeros(shape, np.int64), np.full(shape, _PADDING)
        # A place that every model knows; what padding computes is finite and nobody's.
        place = np.repeat(self._prefixes[:, None], shape[1], axis=1)
        rows: list[int] = []
        for branch, (lane, begin, end) in spans.items():
            tokens[lane, begin:end] = feed[branch]
            owner[lane, begin:end] = branch
            first = self._next[branch]
            self._next[branch] = first + end - begin
            place[lane, begin:end] = np.arange(first, self._next[branch])
            rows.extend(range(lane * shape[1] + end - wanted[branch], lane * shape[1] + end))
        return tokens, owner, place, rows

    def _add(self, owner: NDArray[np.int64], place: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Add the columns of a pass; returns [lanes, rows, columns] what its rows see."""
        self._owner = np.concatenate([self._owner, owner], axis=1)
        self._place = np.concatenate([self._place, place], axis=1)
        mine = self._owner[:, None] == owner[:, :, None]
        mine &= self._place[:, None] <= place[:, :, None]
        seen: NDArray[np.bool_] = mine | (self._owner[:, None] == _PICTURE)
        return seen
