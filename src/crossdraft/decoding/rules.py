"""Verification rules with their settings, as the loop takes them.

Greedy and sampled answers are the target's own: token for token, the sampled ones for equal seeds.
Relaxed rules trade that for longer accepted runs; they say so in their names and as `lossy`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree, Verification
from crossdraft.decoding import verify
from crossdraft.vlm.session import Step


class Rule(Protocol):
    """Decides what of a tree is taken.

    Attributes:
        name: for results; of a lossy rule it begins with `lossy`.
        lossy: whether the answer may differ from the target's own.
    """

    @property
    def name(self) -> str: ...

    @property
    def lossy(self) -> bool: ...

    def __call__(self, step: Step, tree: DraftTree, answer: Sequence[int]) -> Verification:
        """What is taken of `tree`.

        Args:
            step: rows of the pass, the root's first.
            answer: the tokens said so far, the root the last of them.
        """
        ...


@dataclass(frozen=True)
class Greedy:
    """The largest logit."""

    name = "greedy"
    lossy = False

    def __call__(self, step: Step, tree: DraftTree, answer: Sequence[int]) -> Verification:
        return verify.greedy(step.logits, tree)


GREEDY = Greedy()

#: Logits over less than this may overflow.
COLDEST = 1e-6
_COLD = f"{COLDEST:g} or more; 0 is greedy"


@dataclass(frozen=True)
class Warp:
    """How logits become the distribution that is sampled from, in the order of `generate`.

    Attributes:
        temperature: divides the logits; `COLDEST` or more.
        top_k: keep that many of the largest; 0 keeps all.
        top_p: keep the fewest that have this much probability together; 1 keeps all.

    Raises:
        InputError: a value out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        for name, value, sound, expected in (
            ("temperature", self.temperature, COLDEST <= self.temperature < float("inf"), _COLD),
            ("top_k", self.top_k, self.top_k >= 0, "0 or more"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0, at most 1"),
        ):
            if not sound:
                raise InputError(f"{name} is {value}", expected=expected)

    def __call__(self, logits: Tensor) -> Tensor:
        """[rows, vocab] probabilities of [rows, vocab] logits, in their precision, float32 at
        least."""
        from transformers import (
            TemperatureLogitsWarper,
            TopKLogitsWarper,
            TopPLogitsWarper,
        )

        unread: Any = None  # these warpers look at the scores alone
        scores = logits if logits.element_size() >= 4 else logits.float()
        if self.temperature != 1.0:
            scores = TemperatureLogitsWarper(self.temperature)(unread, scores)
        if self.top_k:
            scores = TopKLogitsWarper(self.top_k)(unread, scores)
        if self.top_p < 1.0:
            scores = TopPLogitsWarper(self.top_p)(unread, scores)
        return scores.softmax(-1)


@dataclass(frozen=True)
class Sampling:
    """Draws from the target's warped distribution.

    The numbers of the token at place t of an answer are a function of the seed and t, so an answer
    is the same whatever was drafted, as long as drafts are not drawn (`q_rows`); where they are,
    its distribution is the same.
    """

    warp: Warp = Warp()
    seed: int = 0

    name = "sampling"
    lossy = False

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 64:
            raise InputError(f"seed {self.seed}", expected="a whole number from 0, below 2^64")

    def __call__(self, step: Step, tree: DraftTree, answer: Sequence[int]) -> Verification:
        probabilities = self.warp(step.logits)
        drawn = verify.sampled if tree.q_rows is None else verify.rejection
        return drawn(probabilities, tree, _Numbers(self.seed, len(answer)))


class _Numbers:
    """Uniform numbers by place: for each place a sequence of its own, read from its beginning."""

    def __init__(self, seed: int, place: int) -> None:
        self._seed, self._place = seed, place
        self._open: dict[int, np.random.Generator] = {}

    def __call__(self, ahead: int) -> float:
        if ahead not in self._open:
            # A counter-based generator begins anywhere at no cost (Salmon et al., 2011).
            stream = np.random.Philox(key=self._seed, counter=[0, 0, 0, self._place + ahead])
            self._open[ahead] = np.random.Generator(stream)
        return float(self._open[ahead].random())


@dataclass(frozen=True)
class TopK:
    """*Lossy*: a draft among the target's first `k` tokens is good enough."""

    k: int

    lossy = True

    def __post_init__(self) -> None:
        if self.k < 1:
            raise InputError(f"k is {self.k}", expected="1 or more")

    @property
    def name(self) -> str:
        return f"lossy top-{self.k}"

    def __call__(self, step: Step, tree: DraftTree, answer: Sequence[int]) -> Verification:
        return verify.top_k(step.logits, tree, self.k)


@dataclass(frozen=True)
class Typical:
    """*Lossy*: a draft that the target finds typical is good enough (Cai et al., 2024).

    Attributes:
        epsilon: probability above which every draft is taken.
        delta: the same in units of exp(-entropy), where the target is undecided.
    """

    epsilon: float = 0.3
    delta: float = 0.09
    warp: Warp = Warp()

    lossy = True

    def __post_init__(self) -> None:
        for name, value in (("epsilon", self.epsilon), ("delta", self.delta)):
            if not 0 < value <= 1:
                raise InputError(f"{name} is {value}", expected="above 0, at most 1")

    @property
    def name(self) -> str:
        return f"lossy typical ({self.epsilon:g}, {self.delta:g})"

    def __call__(self, step: Step, tree: DraftTree, answer: Sequence[int]) -> Verification:
        return verify.typical(self.warp(step.logits), tree, self.epsilon, self.delta)


def relaxed(text: str, where: str | None = None) -> Rule:
    """A lossy rule by its name: `top-k=3`, `typical` or `typical=0.3,0.09`.

    Args:
        where: the option that it was given to; for errors.

    Raises:
        InputError: no such rule, or its values are out of range.
    """
    name, _, values = text.partition("=")
    try:
        if name == "top-k":
            return TopK(int(values))
        if name == "typical":
            epsilon, delta = map(float, values.split(",")) if values else (0.3, 0.09)
            return Typical(epsilon, delta)
    except ValueError:
        pass
    raise InputError(f"{text!r}", where=where, expected="top-k=3, typical or typical=0.3,0.09")
