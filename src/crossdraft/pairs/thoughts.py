"""States of pairs, wherever they lie: behind the answers of a store, or put together from two.

A pair carries its `Thoughts`, so that splits, folds and controls handle states without knowing it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossdraft.base.errors import InputError
from crossdraft.pairs.record import Head, Pair, Thoughts

if TYPE_CHECKING:
    from torch import Tensor

    from crossdraft.pairs.store.rows import Top


def thoughts_of(pair: Pair) -> Thoughts:
    """The states behind a pair.

    Raises:
        InputError: only its words are known.
    """
    if pair.thoughts is None:
        raise InputError(
            f"only words of clip {pair.clip}, and the drafter reads hidden states",
            expected="a pair store with states",
            hint="crossdraft extract writes one",
        )
    return pair.thoughts


@dataclass(frozen=True, eq=False)
class Swapped:
    """A pair's thoughts, but for the drafter's, which belong to another scene.

    Attributes:
        here: everything else.
        own: whose `own` states are taken.
        followed: its states over the target's answer are taken too: it has read the same one.
    """

    here: Thoughts
    own: Thoughts
    followed: bool = False

    @property
    def kinds(self) -> frozenset[str]:
        return self.here.kinds

    def states(self, kind: str) -> Tensor:
        """See `Thoughts.states`."""
        theirs = ("own", "forced") if self.followed else ("own",)
        source = self.own if kind.partition("@")[0] in theirs else self.here
        return source.states(kind)

    def top(self) -> Top:
        """See `Thoughts.top`."""
        return self.here.top()

    @property
    def question_ids(self) -> tuple[int, ...]:
        return self.here.question_ids

    @property
    def head(self) -> Head:
        return self.here.head
