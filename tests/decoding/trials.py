"""Ways to draft and ways to end, drawn at random around what a target will say."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from crossdraft.decoding.rules import Rule, Sampling, Warp
from crossdraft.decoding.width import Auto, Fixed, Width, cutting
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.checkpoint import is_trainable
from crossdraft.drafters.registry import REGISTRY, create
from tests.decoding.engine import (
    GREEDY,
    VOCAB,
    Drawing,
    Draws,
    Ends,
    Floats,
    Made,
    Silent,
    largest,
)
from tests.make import pair_of

#: Registered drafters that need no training, and ensembles of them; of `ensemble` a part does.
UNTRAINED = (
    *(name for name in REGISTRY if not is_trainable(name) and name != "ensemble"),
    "suffix+position",
    "drafter-text+suffix+position",
)
CHOICES: dict[str, tuple[Callable[[Floats, int], int], Rule]] = {
    "greedy": (largest, GREEDY),
    "sampling": (Draws(3), Sampling(seed=3)),
    "cold": (Draws(4, 0.6, 5), Sampling(Warp(0.6, 5), seed=4)),
    "nucleus": (Draws(5, 1.4, 0, 0.8), Sampling(Warp(1.4, 0, 0.8), seed=5)),
}


@dataclass
class Trial:
    """One way to draft, drawn at random around what the target will say.

    Attributes:
        drafter: fresh, and fitted.
        width: what it is offered.
        words: what the event model said.
    """

    drafter: Drafter
    width: Width
    words: tuple[int, ...]


@st.composite
def trials(draw: st.DrawFn, said: Sequence[int], words: Sequence[int], drawn: bool) -> Trial:
    """Any drafter with any budget.

    Args:
        said: what the target will say, and more.
        words: ids that wrong drafts are taken from, some not draftable.
        drawn: offer drafts with `q_rows` too.
    """
    budget = draw(
        st.one_of(
            st.builds(Budget.chain, st.integers(0, 5)),
            st.builds(Budget.tree, st.integers(0, 12), st.integers(0, 6)),
            st.builds(Budget, st.integers(1, 9), st.integers(1, 4), st.integers(1, 3)),
        )
    )
    kind = draw(st.sampled_from(["made", "made", "registered", "silent", *["drawn"] * drawn]))
    seed = draw(st.integers(0, 10**6))
    rng = random.Random(seed)
    drafter: Drafter = Silent()
    if kind == "made":
        drafter = Made(
            said,
            seed,
            skill=draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])),
            spread=draw(st.integers(0, 3)),
            words=words,
            excess=draw(st.sampled_from([1, 1, 3])),
        )
    elif kind == "registered":
        drafter = create(draw(st.sampled_from(UNTRAINED)))
        drafter.fit([pair_of(_garbled(said, rng)) for _ in range(3)])
    elif kind == "drawn":
        rows = np.random.default_rng(seed).dirichlet(np.ones(VOCAB), 7)
        drafter = Drawing(lambda prefix: np.asarray(rows[sum(prefix) % 7]), seed)
    if draw(st.booleans()) and budget.nodes:
        drafter = cutting(drafter)
    cost = draw(st.sampled_from([lambda _: 1.0, lambda tokens: float(tokens)]))
    widths: list[Width] = [Fixed(budget), Fixed(budget), Auto(cost, budget)]
    return Trial(drafter, draw(st.sampled_from(widths)), tuple(_garbled(said, rng)))


def _garbled(said: Sequence[int], rng: random.Random) -> list[int]:
    """An answer with a word or two changed, lost or added."""
    words = list(said)
    for _ in range(rng.randrange(3)):
        at = rng.randrange(len(words))
        words[at : at + rng.randrange(2)] = words[: rng.randrange(3)]
    return words


@st.composite
def endings(draw: st.DrawFn, said: Sequence[int], room: bool = True) -> Ends:
    """Ends of any kind: often a token or a string that the answer comes to."""
    somewhere = st.integers(0, len(said) - 1)
    eos = draw(st.frozensets(somewhere.map(lambda place: said[place]), max_size=1))
    strings: tuple[str, ...] = ()
    if draw(st.booleans()):
        at = draw(somewhere)
        strings = ("".join(chr(97 + t % 26) for t in said[at : at + draw(st.integers(1, 3))]),)
    return Ends(
        draw(st.integers(1, len(said))),
        eos,
        strings,
        draw(st.none() | st.integers(1, len(said))) if room else None,
    )
