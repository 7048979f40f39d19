"""Verification rules: what they emit is the target's own, for every tree.

Of rules that draw, the distribution of the first three tokens together is worked out exactly
(`exact.py`), and once by drawing. Decoys show that the tests can tell.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from crossdraft.base.tree import ROOT, DraftTree, Verification
from crossdraft.decoding import verify
from crossdraft.decoding.verify import Uniforms
from tests.decoding.engine import Floats, branch
from tests.decoding.exact import (
    LENGTH,
    SHAPES,
    Rule,
    Words,
    apart,
    chi_square,
    drawn,
    joint,
    law,
    of_decisions,
    on_grid,
    own,
    rows_of,
)
from tests.vlm.shadow import trees

#: Total variation of a decoy at least; what is exact is within 1e-9.
FAR = 1e-3


# --- greedy ---------------------------------------------------------------------------------


@given(tree=trees(9), seed=st.integers(0, 10**6))
def test_greedy_says_what_single_steps_would(tree: DraftTree, seed: int) -> None:
    """Few ids, so that paths are taken; whole numbers, so that logits tie."""
    rng = np.random.default_rng(seed)
    ids = sorted({*tree.tokens.tolist(), 3})
    logits = np.full((1 + len(tree), 60), -9.0)
    logits[:, ids] = rng.integers(0, 3, (1 + len(tree), len(ids)))
    found = verify.greedy(torch.from_numpy(logits), tree)
    here, path = ROOT, []
    while (node := tree.child(here, int(np.argmax(logits[here + 1])))) is not None:
        path.append(node)
        here = node
    assert found == Verification(tuple(path), int(np.argmax(logits[here + 1])))


def test_the_path_may_jump_over_nodes_and_passes_by_cousins() -> None:
    tree = DraftTree.from_parents([5, 6, 7, 7, 8, 8], [-1, -1, 0, 1, 2, 3])
    choices = [6, 0, 7, 0, 8, 0, 9]
    assert verify.walk(tree, choices.__getitem__) == Verification((1, 3, 5), 9)
    assert verify.walk(tree, [7, *choices[1:]].__getitem__) == Verification((), 7), (
        "a grandchild is no child"
    )
    assert verify.walk(DraftTree.empty(), [4].__getitem__) == Verification((), 4)


# --- rejection ------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "nothing"])
@pytest.mark.parametrize("seed", [1, 2])
def test_rejection_is_exact(shape: str, seed: int) -> None:
    target, proposal = law(seed, 3), law(100 + seed, 3, zeros=False)
    offers = drawn(proposal, SHAPES[shape][:4])
    found = joint(verify.rejection, target, offers, of_decisions)
    assert apart(found, own(target)) < 1e-9
    assert found.keys() <= own(target).keys(), "no token of probability 0"


def test_rows_need_not_sum_to_one() -> None:
    """As rounded ones do not: only their shares count."""
    target, offers = law(1, 3), drawn(law(101, 3, zeros=False), SHAPES["siblings"])

    def halved(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
        return verify.rejection(p / 2, tree, uniform)

    assert apart(joint(halved, target, offers, of_decisions), own(target)) < 1e-9


def test_rejection_takes_a_perfect_proposal_and_nothing_of_a_hopeless_one() -> None:
    p = law(3, 3, zeros=False)
    for tree, _ in drawn(p, SHAPES["chain"]):
        run = of_decisions(lambda numbers: verify.rejection(rows_of(p, tree), tree, numbers))  # noqa: B023
        assert all(path == (0, 1, 2) for (path, _), _ in run)
    tree = replace(DraftTree.chain([0]), q_rows=np.array([[1.0, 0.0]]))
    rows = torch.tensor([[0.0, 1.0], [0.5, 0.5]])
    for number in (0.0, 0.5, 1 - 2**-53):
        assert verify.rejection(rows, tree, lambda _: number) == Verification((), 1)  # noqa: B023


def test_each_decision_has_a_number_of_its_own() -> None:
    asked: list[int] = []

    def number(ahead: int) -> float:
        asked.append(ahead)
        return 0.999

    tree = replace(
        DraftTree.from_parents([0, 1, 2], [-1, -1, 0]),
        q_rows=np.array([[0.9, 0.1, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]]),
    )
    rows = torch.tensor([[0.1, 0.1, 0.8], [0.3, 0.3, 0.4], [0.3, 0.3, 0.4], [0.3, 0.3, 0.4]])
    assert verify.rejection(rows.double(), tree, number).path == ()
    assert asked == [0, 0, 0], "both siblings, then the token itself"


def test_where_nothing_is_left_the_target_itself_is_drawn_from() -> None:
    """p and q are equal, and rounding refuses the draft all the same."""
    tree = replace(DraftTree.chain([1]), q_rows=np.array([[0.25, 0.75]]))
    rows = torch.tensor([[0.25, 0.75], [0.5, 0.5]], dtype=torch.float64)
    for height, token in ((0.1, 0), (0.9, 1)):
        numbers = iter([1.0, height])
        found = verify.rejection(rows, tree, lambda _: next(numbers))  # noqa: B023
        assert found == Verification((), token)


@pytest.mark.parametrize("width", [3, 7])
def test_a_drafter_may_know_more_ids_than_the_head_or_fewer(width: int) -> None:
    row = np.zeros((1, width))
    row[0, 1] = 1.0
    tree = replace(DraftTree.chain([1]), q_rows=row)
    rows = torch.tensor([[0.1, 0.2, 0.3, 0.2, 0.2], [0.2] * 5])
    assert verify.rejection(rows, tree, lambda _: 0.1).path == (0,)
    assert verify.rejection(rows, tree, lambda _: 0.99) == Verification((), 4)


def test_a_tree_without_rows_was_drawn_from_nothing() -> None:
    with pytest.raises(ValueError, match="q_rows"):
        verify.rejection(torch.ones(2, 3), DraftTree.chain([1]), lambda _: 0.5)


def no_residual(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """Rejected drafts change nothing."""
    return _tried(p, tree, uniform, lambda left, _: left)


def unpaid(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """The residual takes only the rejected token away, not what q gave to all others."""
    return _tried(p, tree, uniform, lambda left, row: left * (row < row.max()))


def favourite(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """Drafts are taken where they are the likeliest, and else the target draws."""
    found = verify.greedy(p, tree)
    row = p[(found.path[-1] if found.path else ROOT) + 1]
    height = torch.tensor(uniform(len(found.path)) * float(row.sum()))
    return Verification(found.path, int(torch.searchsorted(row.cumsum(-1), height, right=True)))


def _tried(
    p: Tensor, tree: DraftTree, uniform: Uniforms, rest: Callable[[Tensor, Tensor], Tensor]
) -> Verification:
    """Rejection sampling with another residual."""
    rows = torch.as_tensor(tree.q_rows)
    path: list[int] = []
    here, node = ROOT, 0
    while True:
        left, taken = p[here + 1].double(), None
        for node in np.flatnonzero(tree.parents == here).tolist():
            token = int(tree.tokens[node])
            if uniform(len(path)) * float(rows[node, token]) < float(left[token]):
                taken = node
                break
            changed = rest(left, rows[node])
            left = changed / changed.sum() if float(changed.sum()) > 0 else left
        if taken is None:
            height = torch.tensor(uniform(len(path)) * float(left.sum()), dtype=torch.float64)
            token = int(torch.searchsorted(left.cumsum(-1), height, right=True))
            return Verification(tuple(path), token)
        path.append(taken)
        here = taken


@pytest.mark.parametrize("shape", ["chain", "siblings"])
@pytest.mark.parametrize("decoy", [no_residual, unpaid, favourite])
def test_decoys_of_rejection_are_told_apart(decoy: Rule, shape: str) -> None:
    target, proposal = law(1, 3, zeros=False), law(101, 3, zeros=False)
    offers = drawn(proposal, SHAPES[shape])
    assert apart(joint(verify.rejection, target, offers, of_decisions), own(target)) < 1e-9
    assert apart(joint(decoy, target, offers, of_decisions), own(target)) > FAR


def test_the_same_residual_is_exact_in_the_decoys_frame() -> None:
    """What the decoys differ in is what they are told apart by."""
    target, offers = law(1, 3), drawn(law(101, 3, zeros=False), SHAPES["siblings"])

    def right(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
        return _tried(p, tree, uniform, lambda left, row: (left - row).clamp_min(0))

    assert apart(joint(right, target, offers, of_decisions), own(target)) < 1e-9


@pytest.mark.parametrize("claim", ["flatter", "with replacement"])
def test_what_was_drawn_from_must_be_told_truly(claim: str) -> None:
    """Rows of another temperature, or of siblings as if the elder ones could come again."""
    target, proposal = law(1, 3, zeros=False), law(101, 3, zeros=False)
    told = []
    for tree, weight in drawn(proposal, SHAPES["siblings"]):
        rows = np.asarray(tree.q_rows)
        if claim == "flatter":
            rows = np.sqrt(rows) / np.sqrt(rows).sum(-1, keepdims=True)
        else:
            rows = np.repeat(rows[:1], len(rows), axis=0)
        told.append((replace(tree, q_rows=rows), weight))
    assert apart(joint(verify.rejection, target, told, of_decisions), own(target)) > FAR


def test_many_draws_of_a_tree_have_the_targets_distribution() -> None:
    """The same once more by chance alone: 100,000 drawn trees, the first three tokens together."""
    count, vocab = 100_000, 3
    target, proposal = law(7, vocab), law(8, vocab, zeros=False)
    rng = np.random.default_rng(1)
    offers = drawn(proposal, SHAPES["siblings"])
    which = rng.choice(len(offers), count, p=[weight for _, weight in offers]).tolist()
    numbers = rng.random((count, 6)).tolist()
    rows = [rows_of(target, tree) for tree, _ in offers]
    sums = cache(lambda said: target(said).cumsum().tolist())
    seen: dict[Words, int] = defaultdict(int)
    for tree_number, own_numbers in zip(which, numbers, strict=True):
        tree, left = offers[tree_number][0], iter(own_numbers)
        found = verify.rejection(rows[tree_number], tree, lambda _: next(left))  # noqa: B023
        said = (*(int(tree.tokens[node]) for node in found.path), int(found.token or 0))
        while len(said) < LENGTH:
            said = (*said, bisect_right(sums(said), next(left)))
        seen[said[:LENGTH]] += 1
    assert chi_square(seen, own(target)) > 1e-3
    assert seen.keys() <= own(target).keys()


# --- drafts that were not drawn -------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sampling_with_drafts_is_exact(shape: str, seed: int) -> None:
    """For each tree by itself, so for any proposal that was not made looking at the numbers."""
    target = law(seed, 3, parts=8)
    for tree, _ in drawn(law(50, 3, zeros=False), SHAPES[shape])[:6]:
        plain = replace(tree, q_rows=None)
        found = joint(verify.sampled, target, [(plain, 1.0)], on_grid(8))
        assert apart(found, own(target)) < 1e-12
        assert found.keys() <= own(target).keys()


def second_chance(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """A child is taken with its probability, and if not it may still be drawn."""
    path: list[int] = []
    here = ROOT
    while True:
        row = p[here + 1]
        for node in np.flatnonzero(tree.parents == here).tolist():
            if uniform(len(path)) < float(row[int(tree.tokens[node])]):
                path.append(node)
                here = node
                break
        else:
            height = torch.tensor(uniform(len(path)) * float(row.sum()), dtype=torch.float64)
            token = int(torch.searchsorted(row.cumsum(-1), height, right=True))
            return Verification(tuple(path), token)


def looking(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """Numbers that depend on the tree: low ones wherever something was drafted."""
    return verify.sampled(p, tree, lambda ahead: uniform(ahead) ** (2 if len(tree) else 1))


def test_decoys_of_sampling_are_told_apart() -> None:
    target = law(1, 3, zeros=False)
    tree = DraftTree.chain([int(target(()).argmax())])
    for decoy in (second_chance, favourite):
        assert apart(joint(decoy, target, [(tree, 1.0)], of_decisions), own(target)) > FAR
    eighths = law(1, 3, parts=8)
    found = joint(looking, eighths, [(tree, 1.0)], on_grid(8))
    assert apart(found, own(eighths)) > FAR


@given(tree=trees(9), other=trees(9), seed=st.integers(0, 10**6))
def test_numbers_alone_decide_what_is_said(tree: DraftTree, other: DraftTree, seed: int) -> None:
    """Two trees, the same numbers: the same words as far as both go."""
    rng = np.random.default_rng(seed)
    numbers = rng.random(12).tolist()
    favourites = [3, 4, 50, *range(7, 16)]

    def target(words: Words) -> Floats:
        chances = np.random.default_rng([seed, *words]).random(60) * 0.01
        chances[favourites[sum(words) % len(favourites)]] += 1
        return np.asarray(chances)

    said = []
    for one in (tree, other):
        found = verify.sampled(rows_of(target, one), one, lambda ahead: numbers[ahead])
        said.append((*(int(one.tokens[node]) for node in found.path), found.token))
    shared = min(map(len, said))
    assert said[0][:shared] == said[1][:shared]


@pytest.mark.parametrize("height", [0.0, 0.5, 1 - 2**-53])
@given(places=st.sets(st.integers(0, 19), min_size=1), seed=st.integers(0, 10**6))
def test_what_cannot_come_never_does(height: float, places: set[int], seed: int) -> None:
    """At the ends of the interval too, and of rows that do not sum to 1."""
    rng = np.random.default_rng(seed)
    row = np.zeros(20, np.float32)
    row[list(places)] = rng.random(len(places), np.float32) + 1e-6
    found = verify.sampled(torch.from_numpy(row)[None], DraftTree.empty(), lambda _: height)
    assert found.token in places
    tree = replace(DraftTree.chain([3]), q_rows=np.full((1, 20), 0.05))
    rows = torch.from_numpy(np.stack([row, row]))
    taken = verify.rejection(rows, tree, lambda _: height)
    assert taken.token in places
    assert not taken.path or 3 in places


# --- drafts that may not be drafted ---------------------------------------------------------


def below_three(ids: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    return np.asarray(ids < 3)


@pytest.mark.parametrize("shape", ["siblings", "late"])
def test_banned_drafts_leave_rejection_exact(shape: str) -> None:
    """Token 3 is drawn by the drafter, and said by the target, and never verified."""
    target, proposal = law(4, 4, zeros=False), law(104, 4, zeros=False)
    offers = drawn(proposal, SHAPES[shape][:3])
    ruled = [(verify.draftable(tree, below_three), weight) for tree, weight in offers]
    assert all((tree.tokens < 3).all() for tree, _ in ruled)
    assert any(len(tree) < len(full) for (tree, _), (full, _) in zip(ruled, offers, strict=True))
    assert apart(joint(_of_any, target, ruled, of_decisions), own(target)) < 1e-9
    left = [(tree.pruned(tree.tokens < 3), weight) for tree, weight in offers]
    assert apart(joint(_of_any, target, left, of_decisions), own(target)) > FAR, "not conditioned"


def _of_any(p: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """Rejection of drawn drafts; where none is left its tree is empty and has no rows."""
    if len(tree):
        return verify.rejection(p, tree, uniform)
    return verify.rejection(p, replace(tree, q_rows=np.zeros((0, p.shape[-1]))), uniform)


@given(tree=trees(9))
def test_nothing_stays_below_a_banned_draft(tree: DraftTree) -> None:
    kept = verify.draftable(tree, lambda ids: ids != 4)
    words = {branch(tree, node) for node in range(len(tree))}
    assert {branch(kept, n) for n in range(len(kept))} == {w for w in words if 4 not in w}
    assert kept.q_rows is None


# --- relaxed rules --------------------------------------------------------------------------


def test_top_k_takes_the_best_of_the_good_ones() -> None:
    logits = torch.tensor([[4.0, 3.0, 2.0, 1.0], [0.0, 1.0, 2.0, 3.0], [9.0, 0.0, 0.0, 0.0]])
    tree = DraftTree.from_parents([2, 1], [-1, -1])
    assert verify.top_k(logits, tree, 1) == Verification((), 0)
    assert verify.top_k(logits, tree, 2) == Verification((1,), 0)
    assert verify.top_k(logits, tree, 3) == Verification((1,), 0), "1 before 2"
    assert verify.top_k(logits, DraftTree.chain([2, 3]), 99) == Verification((0, 1), 0)


@given(tree=trees(9), seed=st.integers(0, 10**6))
def test_top_1_is_greedy(tree: DraftTree, seed: int) -> None:
    logits = torch.randn(
        1 + len(tree), 60, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    logits[:, [3, 4, 50, 7, 8, 9]] += 2
    assert verify.top_k(logits, tree, 1) == verify.greedy(logits, tree)


def test_typical_asks_more_of_a_draft_where_the_target_is_sure() -> None:
    sure = torch.tensor([[0.9, 0.08, 0.02]])
    unsure = torch.full((1, 3), 1 / 3)
    last = torch.tensor([[0.2, 0.3, 0.5]])
    tree = DraftTree.chain([1])

    def path(row: Tensor, epsilon: float, delta: float) -> tuple[int, ...]:
        found = verify.typical(torch.cat([row, last]), tree, epsilon, delta)
        assert found.token == (2 if found.path else int(row.argmax()))
        return found.path

    # Entropies 0.375 and 1.099: delta * exp(-entropy) is 0.687 and 0.333 of delta.
    assert path(sure, 0.09, 1.0) == ()
    assert path(sure, 0.07, 1.0) == (0,), "epsilon is enough"
    assert path(sure, 1.0, 0.11) == (0,), "0.0756 is below 0.08"
    assert path(sure, 1.0, 0.12) == (), "0.0825 is not"
    assert path(unsure, 1.0, 0.99) == (0,)
    assert path(sure, float(sure[0, 1]), 1.0) == (), "exactly the threshold is not above it"
