"""The ensemble: how trees merge, what is kept of them, and that it loses to none of its parts."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding.arrival import Arrival, RecordedStream
from crossdraft.decoding.replay import replay
from crossdraft.drafters import registry
from crossdraft.drafters.base import Budget, Context, CostCurve, Drafter, flat_cost
from crossdraft.drafters.calibration import Calibration
from crossdraft.drafters.drafter_text import DrafterText
from crossdraft.drafters.ensemble import EnsembleDrafter, Merged
from crossdraft.drafters.position import PositionDrafter
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.record import Pair
from tests.make import QUESTION, recorded_pairs

BIG = Budget.tree(1000, 50)


class Scripted(Drafter):
    """Proposes one fixed tree, cut to the budget's nodes, and keeps what it hears."""

    def __init__(self, name: str, tree: DraftTree) -> None:
        self.name = name
        self.tree = tree
        self.heard: list[Verification] = []

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return self.tree

    def observe(self, verification: Verification, rows: Any | None = None) -> None:
        self.heard.append(verification)


class Noise(Drafter):
    """Proposes tokens at random, and is sure of them."""

    name = "noise"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        rng = random.Random(repr(prefix))
        length = min(budget.nodes, budget.depth)
        tokens = [rng.randrange(5, 120) for _ in range(length)]
        return DraftTree.chain(tokens, [-0.01 * (i + 1) for i in range(length)])


@st.composite
def trees(draw: st.DrawFn) -> DraftTree:
    """Small trees over few tokens, so that two of them share paths."""
    tokens: list[int] = []
    parents: list[int] = []
    logq: list[float] = []
    known = draw(st.booleans())
    for _ in range(draw(st.integers(0, 10))):
        parent = draw(st.integers(-1, len(tokens) - 1))
        token = draw(st.integers(0, 3))
        if (parent, token) not in set(zip(parents, tokens, strict=True)):
            above = logq[parent] if parent != ROOT else 0.0
            tokens.append(token)
            parents.append(parent)
            logq.append(above - draw(st.floats(0, 4)) if known else 0.0)
    return DraftTree.from_parents(tokens, parents, logq)


budgets = st.one_of(
    st.builds(Budget.chain, st.integers(0, 6)),
    st.builds(Budget.tree, st.integers(0, 12), st.integers(1, 6)),
    st.builds(Budget.next_token, st.integers(1, 6)),
    st.builds(Budget, st.integers(0, 12), st.integers(1, 6), st.integers(1, 3)),
)
weights = st.one_of(st.none(), st.tuples(*[st.floats(-3, 3)] * 9))


def paths(tree: DraftTree) -> set[tuple[int, ...]]:
    return {tuple(tree.tokens[list(tree.path(node))].tolist()) for node in range(len(tree))}


def of_trees(*proposals: DraftTree) -> EnsembleDrafter:
    names = "abcdef"
    return begun(EnsembleDrafter([Scripted(n, t) for n, t in zip(names, proposals, strict=False)]))


def begun(drafter: EnsembleDrafter, cost: CostCurve = flat_cost) -> EnsembleDrafter:
    drafter.begin(Context(QUESTION, RecordedStream(()), cost))
    return drafter


def steep_cost(n: int) -> float:
    return 1.0 + 0.35 * (n - 1)


def same(one: DraftTree, other: DraftTree) -> bool:
    return paths(one) == paths(other) and np.array_equal(one.logq, other.logq)


@given(one=trees(), other=trees())
def test_collecting_proposes_every_path_once(one: DraftTree, other: DraftTree) -> None:
    ensemble = begun(of_trees(one, other), steep_cost)
    with ensemble.collect():
        tree = ensemble.propose([], BIG)
    assert paths(tree) == paths(one) | paths(other)
    assert len(tree) == len(paths(tree))
    assert not ensemble.collecting


@given(one=trees(), other=trees(), budget=budgets, learned=weights, cost=st.floats(0, 1))
def test_trees_keep_to_the_budget_and_are_pure(
    one: DraftTree,
    other: DraftTree,
    budget: Budget,
    learned: tuple[float, ...] | None,
    cost: float,
) -> None:
    ensemble = begun(of_trees(one, other), lambda n: 1 + cost * (n - 1))
    ensemble.calibration = Calibration(("a", "b"), learned)
    tree = ensemble.propose([], budget)
    assert same(tree, ensemble.propose([], budget))
    assert len(tree) <= budget.nodes
    for parent in {ROOT, *range(len(tree))}:
        assert (tree.parents == parent).sum() <= budget.branch
    assert paths(tree) <= paths(one) | paths(other)
    above = np.where(tree.parents == ROOT, 0.0, tree.logq[tree.parents])
    assert (tree.logq <= above).all(), "no node is likelier than its parent"
    assert (np.diff(tree.logq) <= 0).all(), "likeliest first"
    if budget.branch == 1:
        assert tree.parents.tolist() == list(range(-1, len(tree) - 1))


@given(one=trees(), other=trees(), learned=weights)
def test_a_chain_takes_the_likeliest_child(
    one: DraftTree, other: DraftTree, learned: tuple[float, ...] | None
) -> None:
    ensemble = of_trees(one, other)
    ensemble.calibration = Calibration(("a", "b"), learned)
    whole = ensemble.propose([], BIG)
    node, expected = ROOT, []
    while len(children := np.flatnonzero(whole.parents == node)):
        node = int(children[0])
        expected.append(int(whole.tokens[node]))
    chain = ensemble.propose([], Budget(1000, 50, 1))
    assert chain.tokens.tolist() == expected


@given(one=trees(), other=trees(), truth=st.lists(st.integers(0, 3), max_size=6))
def test_judged_are_the_children_of_what_the_target_said(
    one: DraftTree, other: DraftTree, truth: list[int]
) -> None:
    merged = Merged.of([one, other])
    nodes, labels = merged.judged(truth)
    every = paths(one) | paths(other)
    reached = [tuple(truth[:n]) for n in range(len(truth)) if n == 0 or tuple(truth[:n]) in every]
    known = sorted(path for path in every if path[:-1] in reached)
    assert len(nodes) == len(known) == len(set(nodes))
    assert sum(labels) == sum(tuple(truth[: len(path)]) == path for path in known)


def test_a_node_names_the_source_that_is_surest_of_it() -> None:
    one = DraftTree.chain([7, 8], [math.log(0.9), math.log(0.1)])
    other = DraftTree.chain([7, 8, 9], [math.log(0.5), math.log(0.4), math.log(0.3)])
    tree = of_trees(one, other).propose([], BIG)
    named = {int(t): tree.source_names[s] for t, s in zip(tree.tokens, tree.sources, strict=True)}
    assert named == {7: "a", 8: "b", 9: "b"}


def test_ranked_candidates_are_never_cut_by_width() -> None:
    wide = DraftTree.from_parents([1, 2, 3, 4], [-1] * 4, np.log([0.4, 0.3, 0.2, 0.1]))
    ensemble = begun(of_trees(wide), lambda n: 10.0 * n)
    assert len(ensemble.propose([], Budget.tree(4, 2))) == 0
    assert ensemble.propose([], Budget.next_token(4)).tokens.tolist() == [1, 2, 3, 4]


def test_width_follows_cost_and_running_rate() -> None:
    chain = DraftTree.chain([1, 2, 3, 4], np.log([0.9, 0.6, 0.3, 0.1]))
    ensemble = begun(of_trees(chain), lambda n: 0.8 + 0.2 * n)
    assert len(ensemble.propose([], Budget.chain(4))) == 3, "0.1 is less than 0.2 costs"
    for _ in range(3000):
        ensemble.rate.add(4, 1.0)
    assert len(ensemble.propose([], Budget.chain(4))) == 1, "0.6 is less than 0.2 earns"


def test_rate_counts_tokens_and_cost_of_each_forward() -> None:
    ensemble = begun(of_trees(DraftTree.chain([1, 2, 3], np.log([0.9, 0.8, 0.7]))), lambda n: n / 2)
    with ensemble.collect():
        ensemble.propose([], BIG)
        ensemble.observe(Verification((0, 1), 5))
    kept = ensemble.rate.DECAY
    assert ensemble.rate.value == pytest.approx((kept + 3) / (kept + 2.0))
    ensemble.observe(Verification((0,), None))
    assert ensemble.rate.value == pytest.approx((kept + 3) / (kept + 2.0)), "nothing was asked"


def test_parts_hear_of_their_own_trees() -> None:
    one, other = DraftTree.chain([7, 8]), DraftTree.from_parents([5, 7, 8, 9], [-1, -1, 1, 2])
    ensemble = of_trees(one, other)
    a, b = ensemble.parts
    assert isinstance(a, Scripted) and isinstance(b, Scripted)

    def verify(answer: list[int], *, ends: bool) -> None:
        path = ensemble.propose([], BIG).follow(answer)
        end = None if ends and len(path) == len(answer) else answer[len(path)]
        ensemble.observe(Verification(path, end))

    verify([7, 8, 9, 4], ends=False)
    assert (a.heard.pop(), b.heard.pop()) == (
        Verification((0, 1), 9),
        Verification((1, 2, 3), 4),
    )
    verify([7, 8], ends=True)
    assert (a.heard.pop(), b.heard.pop()) == (
        Verification((0, 1), None),
        Verification((1, 2), None),
    )
    verify([5, 7], ends=False)
    assert (a.heard.pop(), b.heard.pop()) == (Verification((), 5), Verification((0,), 7))


def test_parts_hear_of_passes_that_nobody_was_asked_about() -> None:
    ensemble = of_trees(DraftTree.chain([7]), DraftTree.chain([8]))
    ensemble.observe(Verification((), 5))
    for part in ensemble.parts:
        assert isinstance(part, Scripted)
        assert part.heard == [Verification((), 5)]


def test_parts_hear_of_what_was_emitted_and_no_more() -> None:
    """A node that was too unlikely to be drafted, and turns out right, is the next token."""
    ensemble = begun(of_trees(DraftTree.chain([7, 8], np.log([0.9, 0.1]))), steep_cost)
    (part,) = ensemble.parts
    assert isinstance(part, Scripted)
    assert ensemble.propose([], BIG).tokens.tolist() == [7]
    ensemble.observe(Verification((0,), 8))
    assert part.heard == [Verification((0,), 8)]


def test_repeated_rejection_lowers_a_source_and_acceptance_raises_it() -> None:
    good, bad = DraftTree.chain([1], [math.log(0.5)]), DraftTree.chain([2], [math.log(0.6)])
    ensemble = of_trees(good, bad)
    first = ensemble.propose([], BIG)
    assert first.tokens.tolist() == [2, 1]
    for _ in range(30):
        ensemble.propose([], BIG)
        ensemble.observe(Verification((list(ensemble.propose([], BIG).tokens).index(1),), 9))
    last = ensemble.propose([], BIG)
    assert last.tokens.tolist() == [1, 2]
    assert last.logq[0] > first.logq[1] + 0.1
    assert last.logq[1] < first.logq[0] - 0.1


def test_a_new_calibration_starts_without_old_mistakes() -> None:
    ensemble = of_trees(DraftTree.chain([1], [math.log(0.5)]))
    first = ensemble.propose([], BIG)
    for _ in range(30):
        ensemble.propose([], BIG)
        ensemble.observe(Verification((), 9))
    assert not same(first, ensemble.propose([], BIG))
    ensemble.calibration = Calibration(("a",))
    assert same(first, ensemble.propose([], BIG))


def test_measures_between_forwards_teach_nothing() -> None:
    ensemble = of_trees(DraftTree.chain([1, 2], np.log([0.5, 0.3])))
    before = ensemble.propose([], BIG)
    for _ in range(20):
        ensemble.propose([1], Budget.next_token(5))
        begun(ensemble)
        ensemble.observe(Verification((), 9))
    assert same(before, ensemble.propose([], BIG))


def test_parts_are_replaced_and_the_calibration_stays() -> None:
    ensemble = EnsembleDrafter([SuffixDrafter(), PositionDrafter()], "suffix+position")
    calibration = Calibration(("suffix", "position"), (0.5,) * 9)
    ensemble.calibration = calibration
    fresh = ensemble.with_parts([SuffixDrafter(), PositionDrafter()])
    assert (fresh.calibration, fresh.name) == (calibration, "suffix+position")
    with pytest.raises(InputError, match="calibration for suffix\\+position"):
        EnsembleDrafter([SuffixDrafter()]).calibration = calibration
    with pytest.raises(InputError, match="calibration for"):
        ensemble.with_parts([PositionDrafter(), SuffixDrafter()])
    for wrong in ((), (SuffixDrafter(), SuffixDrafter()), (PositionDrafter(),)):
        with pytest.raises(ValueError, match=r"ensemble of|instead of"):
            ensemble.parts = wrong


def test_names_joined_by_plus_make_an_ensemble() -> None:
    drafter = registry.create("suffix+drafter-text")
    assert isinstance(drafter, EnsembleDrafter)
    assert drafter.sources == ("suffix", "drafter-text")
    assert drafter.name == "suffix+drafter-text"
    assert drafter.needs == {"draft_tokens"}
    assert not registry.create("suffix+position").needs
    for name in ("suffix+telepathy", "suffix+", "suffix+suffix"):
        with pytest.raises(InputError):
            registry.create(name)


@pytest.mark.parametrize("outcome", ["nothing seen", "all rejected", "all accepted"])
def test_one_sided_validation_leaves_probabilities_sound(outcome: str) -> None:
    ensemble = of_trees(
        DraftTree.chain([1, 2, 3], np.log([0.9, 0.5, 0.2])), DraftTree.chain([1, 2])
    )
    with ensemble.collect():
        for _ in range(0 if outcome == "nothing seen" else 50):
            tree = ensemble.propose([], BIG)
            path = tree.follow([1, 2, 3]) if outcome == "all accepted" else ()
            ensemble.observe(Verification(path, 9))
    assert (ensemble.calibrate().weights is None) == (outcome == "nothing seen")
    tree = ensemble.propose([], BIG)
    assert np.isfinite(tree.logq).all()
    assert outcome != "all rejected" or np.exp(tree.logq[0]) < 0.1
    assert outcome != "all accepted" or np.exp(tree.logq[0]) > 0.9


def run(
    drafter: Drafter, pairs: Sequence[Pair], budget: Budget, cost: CostCurve = flat_cost
) -> tuple[float, float]:
    """tau and tau per cost, learning online."""
    tokens, forwards, spent = 0, 0, 0.0
    for pair in pairs:
        replayed = replay(drafter, pair, budget, Arrival(), cost)
        tokens, forwards = tokens + replayed.tokens, forwards + replayed.forwards
        spent += replayed.cost
        drafter.finish(pair.target_tokens)
    return tokens / forwards, tokens / spent


def calibrated(
    names: Sequence[type[Drafter]], train: Sequence[Pair], budget: Budget, cost: CostCurve
) -> EnsembleDrafter:
    """As an evaluation does it: fit, replay a validation block, calibrate, fit on everything."""
    half = len(train) // 2
    ensemble = EnsembleDrafter([make() for make in names])
    ensemble.fit(train[:half])
    with ensemble.collect():
        run(ensemble, train[half:], budget, cost)
    ensemble.calibrate()
    ensemble = ensemble.with_parts([make() for make in names])
    ensemble.fit(train)
    return ensemble


PAIRS = recorded_pairs(120, seed=3)
TRAIN, TEST = PAIRS[:80], PAIRS[80:]


@pytest.mark.parametrize("budget", [Budget.chain(5), Budget.tree(16, 6)], ids=["chain", "tree"])
@pytest.mark.parametrize("useless", [Noise, DrafterText], ids=["noise", "drafter-text"])
def test_a_useless_part_takes_nothing_from_a_good_one(
    useless: type[Drafter], budget: Budget
) -> None:
    alone = SuffixDrafter()
    alone.fit(TRAIN)
    tau, _ = run(alone, TEST, budget)
    together = calibrated([SuffixDrafter, useless], TRAIN, budget, flat_cost)
    assert run(together, TEST, budget)[0] >= 0.98 * tau > 1.5


def test_where_width_is_dear_it_gains_on_full_width() -> None:
    budget = Budget.tree(16, 6)
    alone = SuffixDrafter()
    alone.fit(TRAIN)
    _, full = run(alone, TEST, budget, steep_cost)
    together = calibrated([SuffixDrafter, Noise], TRAIN, budget, steep_cost)
    assert run(together, TEST, budget, steep_cost)[1] >= 1.2 * full


def test_calibration_tells_a_good_part_from_a_loud_one() -> None:
    budget = Budget.tree(6, 4)
    cold = EnsembleDrafter([PositionDrafter(), Noise()])
    cold.fit(TRAIN)
    warm = calibrated([PositionDrafter, Noise], TRAIN, budget, flat_cost)
    assert run(warm, TEST[:5], budget)[0] > run(cold, TEST[:5], budget)[0]


def test_same_pairs_give_the_same_calibration() -> None:
    one, other = (
        calibrated([SuffixDrafter, PositionDrafter], TRAIN[:40], Budget.tree(12, 5), flat_cost)
        for _ in range(2)
    )
    assert one.calibration == other.calibration


def test_recorded_answers_with_and_without_a_cost(real_answers: Path) -> None:
    """Beside positions, suffix loses nothing; where width costs, it gains on any fixed width."""
    pairs = read_pairs(real_answers).pairs
    train, test = pairs[:200], pairs[210:280]
    budget = Budget.tree(24, 8)
    alone = SuffixDrafter()
    alone.fit(train)
    tau, _ = run(alone, test, budget)
    names: list[type[Drafter]] = [SuffixDrafter, PositionDrafter]
    assert run(calibrated(names, train, budget, flat_cost), test, budget)[0] >= 0.995 * tau
    fixed = []
    for nodes in (3, 6, 12, 24):
        alone = SuffixDrafter()
        alone.fit(train)
        fixed.append(run(alone, test, Budget.tree(nodes, 8), measured_cost)[1])
    together = calibrated(names, train, budget, measured_cost)
    assert run(together, test, budget, measured_cost)[1] > max(fixed)


def measured_cost(n: int) -> float:
    return float(np.interp(n, [1, 6, 24, 61], [1.0, 1.1, 1.5, 2.4]))
