"""What a verification pass costs, T(k)/T(1), and what width that advises.

`cost_measure.py` measures these curves, `cost_store.py` keeps them. Written as JSON they are a file
that `--cost-curve` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossdraft.base.acceptance import best_first_shape, expected_tokens
from crossdraft.base.fields import MAX_WHOLE, Item, shown
from crossdraft.base.files import parse_json, read_text
from crossdraft.vlm.cost_setup import Setup

Shape = Literal["chain", "tree"]
SHAPES: tuple[Shape, ...] = ("chain", "tree")

#: Quartiles further apart than this share of the median speak of a busy machine.
NOISY = 0.3

#: Acceptance that the table of advice covers.
ALPHAS = tuple(tenth / 10 for tenth in range(1, 10))


@dataclass(frozen=True)
class Cost:
    """One measured width.

    Attributes:
        tokens: tokens of the pass, the root included; of a tail: its drafts.
        ms: median of the pass; of a tail: of what it adds to the prefill.
        ratio: median over rounds of that time in plain steps of the same round.
        low, high: quartiles of the same.
    """

    tokens: int
    ms: float
    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class Advice:
    """The width to draft with.

    Attributes:
        alpha: acceptance it is for.
        gamma: drafts of a pass: length of the chain, or nodes of the tree; 0 is not to draft.
        tokens_per_pass: tokens it yields on average.
        cost: T(gamma + 1)/T(1).
        speedup: tokens per T(1), over plain decoding's one; drafting itself is free.
    """

    alpha: float
    gamma: int
    tokens_per_pass: float
    cost: float
    speedup: float


@dataclass(frozen=True)
class CostCurves:
    """T(k)/T(1) of one model on one device.

    Attributes:
        setup: what they hold for.
        chain, tree: by width, rising from 1 token.
        tail: what a chain of drafts on the prefill's tail adds to it, by number of drafts.
        step_ms: median of a plain decoding step.
        prefill_ms: median of a prefill of the question alone.
        repeats: rounds that the medians are of.
        date: day of the measurement, as 2026-01-31.
    """

    setup: Setup
    chain: tuple[Cost, ...]
    tree: tuple[Cost, ...]
    tail: tuple[Cost, ...]
    step_ms: float
    prefill_ms: float
    repeats: int
    date: str

    @property
    def widest(self) -> int:
        """Most tokens of a measured pass."""
        return self.tree[-1].tokens

    @property
    def noisy(self) -> int:
        """Passes whose quartiles lie further apart than `NOISY` of their median."""
        passes = (*self.chain, *self.tree)
        return sum(cost.high - cost.low > NOISY * cost.ratio for cost in passes)

    def of(self, shape: Shape) -> tuple[Cost, ...]:
        """The measured widths of one shape."""
        return self.chain if shape == "chain" else self.tree

    def cost(self, tokens: int, shape: Shape = "tree") -> float:
        """T(tokens)/T(1), levelled, a straight line between measured widths.

        Raises:
            ValueError: more tokens than were measured, or none.
        """
        if not 1 <= tokens <= self.widest:
            raise ValueError(f"{tokens} tokens; measured from 1 to {self.widest}")
        costs = self.of(shape)
        return float(np.interp(tokens, [cost.tokens for cost in costs], levelled(costs)))

    def advise(self, alpha: float, shape: Shape = "chain") -> Advice:
        """The number of drafts that yields most tokens per time if all passes have as many.

        A chain is expected to yield E(alpha, gamma) tokens, a tree what `best_first_shape` says.

        Raises:
            InputError: alpha is no probability.
        """
        if shape == "chain":
            tokens = np.array([expected_tokens(alpha, gamma) for gamma in range(self.widest)])
        else:
            odds = best_first_shape(alpha, self.widest - 1)[1]
            tokens = 1 + np.concatenate(([0.0], np.cumsum(odds)))
        costs = np.array([self.cost(1 + drafts, shape) for drafts in range(self.widest)])
        best = int(np.argmax(tokens / costs))  # the narrowest of equally good ones
        return Advice(
            alpha, best, float(tokens[best]), float(costs[best]), float(tokens[best] / costs[best])
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value; its `tokens` and `ratio` are those of trees, levelled.

        A chain is a tree, and no dearer than one of as many nodes: a reader that does not know
        the shape of its passes is not promised too much.
        """
        return {
            "tokens": [cost.tokens for cost in self.tree],
            "ratio": levelled(self.tree),
            **{name: [asdict(cost) for cost in getattr(self, name)] for name in _PARTS},
            "step_ms": self.step_ms,
            "prefill_ms": self.prefill_ms,
            "repeats": self.repeats,
            "date": self.date,
            "setup": asdict(self.setup),
            "fingerprint": self.setup.fingerprint,
        }


_PARTS = ("chain", "tree", "tail")


def levelled(costs: Sequence[Cost]) -> list[float]:
    """Ratios that never fall, beginning with 1. Where a wider pass was faster, by noise or by a
    kernel that likes its width, it is priced as the dearer narrower one."""
    return list(accumulate((cost.ratio for cost in costs), max))


def read_cost_curves(path: Path) -> CostCurves:
    """Read what `CostCurves.to_json` has written.

    Raises:
        InputError: not such a file, or values that no measurement gives.
    """
    return cost_curves_from(parse_json(read_text(path), path), path)


def cost_curves_from(value: Any, where: Path) -> CostCurves:
    """The same from a JSON value; fields that are not of a curve are ignored.

    Raises:
        InputError: naming the field.
    """
    top = Item(value, where, "cost curve")
    chain, tree, tail = (_costs(top, name) for name in _PARTS)
    for name, costs in (("chain", chain), ("tree", tree)):
        if not costs or costs[0].tokens != 1 or costs[0].ratio != 1:
            raise top.error(f"{name} does not begin with one token", "a ratio of 1 for one token")
        if any(cost.ratio <= 0 for cost in costs):
            raise top.error(f"{name} has a ratio of 0 or less", "positive ratios")
    if [cost.tokens for cost in chain] != [cost.tokens for cost in tree]:
        raise top.error("chain and tree have different widths")
    step_ms = _number(top, "step_ms")
    if step_ms <= 0:
        raise top.error(f"step_ms is {step_ms}", "a time above 0")
    return CostCurves(
        _setup(top.sub("setup")),
        chain,
        tree,
        tail,
        step_ms,
        _number(top, "prefill_ms"),
        _whole(top, "repeats"),
        _text(top, "date"),
    )


def _costs(top: Item, name: str) -> tuple[Cost, ...]:
    rows = top.value.get(name)
    if not isinstance(rows, list):
        raise top.error(f"{name} is no list", "a list of measured widths")
    costs = []
    for place, row in enumerate(rows):
        item = Item(row, top.where, f"{top.name}.{name}[{place}]")
        ratio, low, high = (_number(item, key) for key in ("ratio", "low", "high"))
        if not low <= ratio <= high:
            raise item.error(f"ratio {ratio} outside of {low} to {high}", "low <= ratio <= high")
        costs.append(Cost(_whole(item, "tokens"), _number(item, "ms"), ratio, low, high))
    if any(cost.tokens < 1 for cost in costs) or any(
        a.tokens >= b.tokens for a, b in pairwise(costs)
    ):
        raise top.error(f"the widths of {name} do not rise", "rising numbers of tokens")
    return tuple(costs)


def _setup(item: Item) -> Setup:
    readers: Mapping[str, Callable[[Item, str], Any]] = {
        "str": _text, "int": _whole, "bool": _flag,
    }  # fmt: skip
    return Setup(**{f.name: readers[str(f.type)](item, f.name) for f in fields(Setup)})


def _number(item: Item, key: str) -> float:
    value: Any = item.value.get(key)
    if type(value) not in (int, float) or not abs(value) <= MAX_WHOLE:
        raise item.error(f"{key} is {shown(value)}", "a finite number")
    return float(value)


def _whole(item: Item, key: str) -> int:
    value = item.value.get(key)
    if type(value) is not int or not 0 <= value <= MAX_WHOLE:
        raise item.error(f"{key} is {shown(value)}", "a whole number, 0 or more")
    return value


def _text(item: Item, key: str) -> str:
    value = item.value.get(key)
    if not isinstance(value, str):
        raise item.error(f"{key} is {shown(value)}", "text")
    return value


def _flag(item: Item, key: str) -> bool:
    value = item.value.get(key)
    if not isinstance(value, bool):
        raise item.error(f"{key} is {shown(value)}", "true or false")
    return value
