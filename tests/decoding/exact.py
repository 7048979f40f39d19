"""What a rule that draws can say, worked out exactly: every outcome of its numbers with its
probability, for every tree that a drafter can draw, up to the first three tokens together.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from torch import Tensor

from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding.verify import Uniforms
from tests.decoding.engine import Floats, branch

Words = tuple[int, ...]
Law = Callable[[Words], Floats]
#: A rule on one tree, waiting for its numbers; an accepted path and the token behind it.
Run = Callable[[Uniforms], Verification]
Outcome = tuple[Words, int]
#: What a rule does with a tree when the target's rows are these.
Rule = Callable[[Tensor, DraftTree, Uniforms], Verification]
Joint = Mapping[Words, float]
LENGTH = 3


def law(seed: int, vocab: int, parts: int | None = None, zeros: bool = True) -> Law:
    """A distribution for every prefix, some tokens impossible.

    Args:
        parts: every probability is a whole number of this part.
    """

    @cache
    def row(words: Words) -> Floats:
        rng = np.random.default_rng([seed, *words, 99])
        if parts is not None:
            return rng.multinomial(parts, rng.dirichlet(np.ones(vocab))) / parts
        chances = rng.dirichlet(np.ones(vocab))
        if zeros:
            chances[rng.integers(vocab)] = 0
        return np.asarray(chances / chances.sum())

    return row


def rows_of(target: Law, tree: DraftTree) -> Tensor:
    """[1 + n, vocab] of the target behind the root and every node."""
    return torch.from_numpy(
        np.stack([target(branch(tree, node)) for node in range(ROOT, len(tree))])
    )


class _Asks(Exception):  # noqa: N818 - no error, a question
    """A rule wants one more number, for a token so many drafts further on."""


def played(run: Run, numbers: Sequence[float]) -> object:
    """What a rule says of these numbers, or for which token it asks another one."""
    left = list(numbers)

    def uniform(ahead: int) -> float:
        if not left:
            raise _Asks(ahead)
        return left.pop(0)

    try:
        found = run(uniform)
    except _Asks as asks:
        return asks.args[0]
    return found.path, found.token


def of_decisions(run: Run, numbers: tuple[float, ...] = ()) -> Iterator[tuple[Outcome, float]]:
    """Every outcome of a rule and its probability, where each number decides one thing alone:
    what is asked next, or what is said. Where a number changes sides is found by bisection."""
    now = played(run, numbers)
    if isinstance(now, tuple):
        yield now, 1.0
        return
    start = 0.0
    while start < 1.0:
        kind, low, high = played(run, (*numbers, start)), start, 1.0
        while high - low > 1e-13:
            middle = (low + high) / 2
            if played(run, (*numbers, middle)) == kind:
                low = middle
            else:
                high = middle
        for outcome, weight in of_decisions(run, (*numbers, start)):
            yield outcome, weight * (high - start)
        start = high


def on_grid(parts: int) -> Callable[..., Iterator[tuple[Outcome, float]]]:
    """Every outcome of a rule that takes one number for each depth, where nothing changes but at
    whole parts."""

    def outcomes(run: Run) -> Iterator[object]:
        asked: set[int] = set()

        def count(ahead: int) -> float:
            asked.add(ahead)
            return 0.5

        run(count)
        places = [(i + 0.5) / parts for i in range(parts)]
        for numbers in itertools.product(places, repeat=len(asked)):
            found = run(lambda ahead, numbers=numbers: numbers[ahead])  # type: ignore[misc]
            yield (found.path, found.token), 1 / len(places) ** len(asked)

    return outcomes  # type: ignore[return-value]


def joint(
    rule: Rule,
    target: Law,
    offers: Sequence[tuple[DraftTree, float]],
    outcomes: Callable[..., Iterator[tuple[Outcome, float]]],
) -> Joint:
    """Exact distribution of the first tokens that come out, over the drawn trees and the rule's
    numbers; what a pass leaves open the target says by itself."""
    found: dict[Words, float] = defaultdict(float)
    for tree, weight in offers:
        rows = rows_of(target, tree)
        for (path, token), chance in outcomes(lambda numbers: rule(rows, tree, numbers)):  # noqa: B023
            said = (*(int(tree.tokens[node]) for node in path), token)
            _go_on(found, target, said, weight * chance)
    return found


def own(target: Law) -> Joint:
    """The same of the target by itself."""
    found: dict[Words, float] = defaultdict(float)
    _go_on(found, target, (), 1.0)
    return found


def _go_on(found: dict[Words, float], target: Law, said: Words, weight: float) -> None:
    if len(said) >= LENGTH:
        found[said[:LENGTH]] += weight
        return
    for token, chance in enumerate(target(said)):
        if chance:
            _go_on(found, target, (*said, token), weight * float(chance))


def apart(found: Joint, expected: Joint) -> float:
    """Total variation; a token that cannot come counts like all others."""
    keys = found.keys() | expected.keys()
    return sum(abs(found.get(key, 0.0) - expected.get(key, 0.0)) for key in keys) / 2


SHAPES = {
    "nothing": [],
    "chain": [-1, 0, 1],
    "siblings": [-1, -1],
    "tree": [-1, -1, 0, 0, 1],
    "late": [-1, 0, -1, 2, 1],
}


def drawn(proposal: Law, shape: Sequence[int]) -> list[tuple[DraftTree, float]]:
    """Every tree of this shape that can be drawn, siblings without replacement, and how often; a
    node for which nothing is left to draw ends its branch."""
    found: list[tuple[list[int], list[int], list[Floats], float]] = [([], [], [], 1.0)]
    for parent in shape:
        longer = []
        for tokens, parents, rows, weight in found:
            so_far = DraftTree.from_parents(tokens, parents)
            row = proposal(branch(so_far, parent)).copy()
            row[[t for t, p in zip(tokens, parents, strict=True) if p == parent]] = 0
            row = row / row.sum()
            for token in np.flatnonzero(row).tolist():
                longer.append(
                    ([*tokens, token], [*parents, parent], [*rows, row], weight * row[token])
                )
        found = longer
    return [
        (replace(DraftTree.from_parents(t, p), q_rows=np.array(r) if r else None), float(w))
        for t, p, r, w in found
    ]


def chi_square(seen: Mapping[Words, int], expected: Joint) -> float:
    """Probability of counts so far from these chances, or farther."""
    total = sum(seen.values())
    terms = [(seen.get(k, 0) - total * p) ** 2 / (total * p) for k, p in expected.items()]
    freedom = torch.tensor((len(terms) - 1) / 2, dtype=torch.float64)
    return float(torch.special.gammaincc(freedom, torch.tensor(sum(terms) / 2)))
