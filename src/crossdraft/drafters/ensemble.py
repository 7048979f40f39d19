"""`ensemble`: the proposals of several drafters, merged into one tree.

What each source claims is calibrated to what the target accepts (`calibration.py`), the likeliest
nodes of all sources share one budget, and the tree grows only while its tokens are worth the time
they take to verify (`width.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.drafters.base import Budget, Context, CostCurve, Drafter, flat_cost
from crossdraft.drafters.calibration import Calibration, Examples, Floats, Trust, sigmoid
from crossdraft.drafters.width import RunningRate, best_width, forward_costs
from crossdraft.pairs.record import Pair

#: Drafters of the plain name `ensemble`, as far as the registry has them.
DEFAULT_PARTS = ("suffix", "crossmodal")


@dataclass(frozen=True)
class Merged:
    """All proposed paths, each once; parents come before children.

    Attributes:
        trees: the proposals, one per source.
        tokens, parents, depth: [n] as in a DraftTree.
        steps: [n, sources] log probability of the step from the parent as each source gives it,
            NaN where the source does not propose the node.
        index: (parent, token) -> node.
    """

    trees: tuple[DraftTree, ...]
    tokens: list[int]
    parents: list[int]
    depth: Floats
    steps: Floats
    index: dict[tuple[int, int], int]

    @classmethod
    def of(cls, trees: Sequence[DraftTree]) -> Merged:
        """Merge by path: equal paths of several sources are one node."""
        tokens: list[int] = []
        parents: list[int] = []
        depth: list[int] = []
        index: dict[tuple[int, int], int] = {}
        places: list[list[int]] = []
        for tree in trees:
            here: list[int] = []
            for token, own in zip(tree.tokens.tolist(), tree.parents.tolist(), strict=True):
                parent = here[own] if own != ROOT else ROOT
                node = index.setdefault((parent, token), len(tokens))
                if node == len(tokens):
                    tokens.append(token)
                    parents.append(parent)
                    depth.append(1 if parent == ROOT else depth[parent] + 1)
                here.append(node)
            places.append(here)
        steps = np.full((len(tokens), len(trees)), np.nan)
        for source, (tree, place) in enumerate(zip(trees, places, strict=True)):
            if place:
                steps[place, source] = _step_logq(tree)
        return cls(tuple(trees), tokens, parents, np.array(depth, float), steps, index)

    def judged(self, truth: Sequence[int]) -> tuple[list[int], list[float]]:
        """Nodes whose parent the target's tokens `truth` reach and leave, and whether it went on
        to them (1 or 0). Beyond the last token nothing is known."""
        children: dict[int, list[int]] = {}
        for node, parent in enumerate(self.parents):
            children.setdefault(parent, []).append(node)
        nodes: list[int] = []
        labels: list[float] = []
        here = ROOT
        for token in truth:
            offered = children.get(here, [])
            nodes += offered
            labels += [float(self.tokens[node] == token) for node in offered]
            if (here, token) not in self.index:
                break
            here = self.index[here, token]
        return nodes, labels


class EnsembleDrafter(Drafter):
    """Merges the trees of its parts.

    Without a calibration each step counts as its most confident source claims. To calibrate: fit
    the parts on one share of the training pairs, replay the others inside `collect()`, call
    `calibrate()`, then go on with `with_parts(parts fitted on all training pairs)`.
    """

    def __init__(self, parts: Sequence[Drafter] | None = None, name: str = "ensemble") -> None:
        self.name = name
        self.parts = _default_parts() if parts is None else tuple(parts)
        self.rate = RunningRate()
        self.collecting = False
        self._calibration = Calibration(self.sources)
        self._trust = Trust(len(self.parts))
        self._examples = Examples()
        self._curve: CostCurve = flat_cost
        self._costs: Floats = np.ones(1)
        #: The last proposal, until it was verified.
        self._asked: tuple[Merged, DraftTree] | None = None

    @property
    def parts(self) -> tuple[Drafter, ...]:
        """The drafters that are merged; their names differ."""
        return self._parts

    @parts.setter
    def parts(self, parts: Sequence[Drafter]) -> None:
        names = tuple(part.name for part in parts)
        if not names or len(set(names)) < len(names):
            raise ValueError(f"an ensemble of {names}: one or more drafters, no two of one name")
        if hasattr(self, "_parts") and names != self.sources:
            raise ValueError(f"parts {names} instead of {self.sources}")
        self._parts = tuple(parts)
        self.needs = frozenset[str]().union(*(part.needs for part in parts))
        self.stops = all(part.stops for part in parts)

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the parts, in order."""
        return tuple(part.name for part in self._parts)

    @property
    def calibration(self) -> Calibration:
        """What the claims of the parts are worth. Setting one that was learned for other sources
        is an InputError: it may come from a user's file."""
        return self._calibration

    @calibration.setter
    def calibration(self, calibration: Calibration) -> None:
        if calibration.sources != self.sources:
            raise InputError(
                f"a calibration for {'+'.join(calibration.sources)}",
                expected="one for " + "+".join(self.sources),
                hint="calibrate this ensemble anew",
            )
        self._calibration = calibration
        # What was learned about the old one's mistakes says nothing about the new one's.
        self._trust = Trust(len(self.parts))

    def with_parts(self, parts: Sequence[Drafter]) -> EnsembleDrafter:
        """A fresh ensemble of other drafters of the same names that keeps the calibration.

        Raises:
            InputError: the names differ, or stand in another order.
        """
        fresh = EnsembleDrafter(parts, self.name)
        fresh.calibration = self.calibration
        return fresh

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Inside, the width rule is off and every verification becomes an example."""
        self.collecting = True
        try:
            yield
        finally:
            self.collecting = False

    def calibrate(self) -> Calibration:
        """Fit the calibration to what was collected; without an example it stays as it was."""
        if len(self._examples):
            self.calibration = Calibration.fit(self.sources, *self._examples.arrays())
        return self.calibration

    def fit(self, pairs: Sequence[Pair]) -> None:
        for part in self.parts:
            part.fit(pairs)

    def begin(self, context: Context) -> None:
        for part in self.parts:
            part.begin(context)
        self._asked = None
        if context.cost is not self._curve:
            self._curve, self._costs = context.cost, np.ones(1)

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        merged = Merged.of([part.propose(prefix, budget) for part in self.parts])
        acceptance = self._path_acceptance(merged)
        nodes = _likeliest(acceptance, merged.parents, budget)
        if not self.collecting and not _ranking_only(budget):
            costs = self._forward_costs(len(nodes))
            nodes = nodes[: best_width(acceptance[nodes], costs, self.rate.value)]
        tree = _tree(merged, nodes, acceptance, self.sources)
        self._asked = merged, tree
        return tree

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        """Learn what was accepted; each part hears it in terms of its own tree, with the rows of
        the whole pass. Of a pass that nobody was asked about, all there is goes to the parts."""
        if self._asked is None:
            for part in self.parts:
                part.observe(verification, rows)
            return
        (merged, tree), self._asked = self._asked, None
        truth = [int(tree.tokens[node]) for node in verification.path]
        ended = verification.token is None
        if verification.token is not None:
            truth.append(verification.token)
        self.rate.add(len(truth), float(self._curve(1 + len(tree))))
        nodes, labels = merged.judged(truth)
        steps, depth, accepted = merged.steps[nodes], merged.depth[nodes], np.array(labels)
        if nodes:
            self._trust.add(steps, sigmoid(self.calibration.logits(steps, depth)), accepted)
        if self.collecting:
            self._examples.add(steps, depth, accepted)
        for part, own in zip(self.parts, merged.trees, strict=True):
            path = own.follow(truth if ended else truth[:-1])
            part.observe(
                Verification(path, truth[len(path)] if len(path) < len(truth) else None), rows
            )

    def finish(self, answer: Sequence[int]) -> None:
        for part in self.parts:
            part.finish(answer)

    def _path_acceptance(self, merged: Merged) -> Floats:
        """[n] probability that the target takes the whole path to each node."""
        if not merged.tokens:
            return np.zeros(0)
        logits = self.calibration.logits(merged.steps, merged.depth, self._trust.shift())
        paths: list[float] = []
        for parent, step in zip(merged.parents, sigmoid(logits).tolist(), strict=True):
            paths.append(step if parent == ROOT else paths[parent] * step)
        return np.array(paths)

    def _forward_costs(self, nodes: int) -> Floats:
        """Costs of a forward with up to `nodes` drafts, asked from the curve once."""
        if len(self._costs) <= nodes:
            self._costs = forward_costs(self._curve, nodes)
        return self._costs


def _default_parts() -> tuple[Drafter, ...]:
    from crossdraft.drafters.registry import REGISTRY, create

    return tuple(create(name) for name in DEFAULT_PARTS if name in REGISTRY)


def _step_logq(tree: DraftTree) -> Floats:
    """[n] log probability of each step: the path's, less that of the parent's path."""
    above = np.where(tree.parents == ROOT, 0.0, tree.logq[tree.parents])
    steps: Floats = np.minimum(0.0, tree.logq - above)
    return steps


def _ranking_only(budget: Budget) -> bool:
    """Whether candidates for the next token alone are asked for (`Budget.next_token`).

    They rank tokens in a measure or for a user and cost no forward, so their number is no
    question of width. A chain of one cannot be told from them and is never cut either.
    """
    return budget.depth == 1 and budget.branch == budget.nodes


def _likeliest(acceptance: Floats, parents: Sequence[int], budget: Budget) -> NDArray[np.intp]:
    """Nodes of the best tree within the budget, likeliest first, parents before children.

    No node is likelier than its parent and a stable sort keeps parents first among equals, so any
    number of leading nodes is a tree.
    """
    order = np.argsort(-acceptance, kind="stable")
    if budget.branch >= budget.nodes:
        return order[: budget.nodes]
    room = {ROOT: budget.branch}
    kept: list[int] = []
    for node in order.tolist():
        if len(kept) == budget.nodes:
            break
        if room.get(parents[node], 0) > 0:
            room[parents[node]] -= 1
            room[node] = budget.branch
            kept.append(node)
    return np.array(kept, dtype=np.intp)


def _tree(
    merged: Merged, nodes: NDArray[np.intp], acceptance: Floats, names: tuple[str, ...]
) -> DraftTree:
    """The chosen nodes as a tree; a node of several sources names the most confident one."""
    place = {ROOT: ROOT}
    for new, node in enumerate(nodes.tolist()):
        place[node] = new
    tokens = [merged.tokens[node] for node in nodes.tolist()]
    parents = [place[merged.parents[node]] for node in nodes.tolist()]
    logq = np.log(np.maximum(acceptance[nodes], np.finfo(np.float32).tiny))
    steps = merged.steps[nodes]
    best = np.where(np.isnan(steps), -np.inf, steps).argmax(axis=1) if tokens else []
    tree = DraftTree.from_parents(tokens, parents, logq)
    return replace(tree, sources=np.asarray(best, np.int32), source_names=names)
