"""Best-first trees equal sorting all paths by probability."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.drafters.base import Budget
from crossdraft.drafters.best_first import best_first_tree

weights = st.lists(st.floats(0.05, 0.95), min_size=3, max_size=3)


@given(st.lists(weights, min_size=3, max_size=3), st.integers(0, 15))
def test_tree_holds_the_most_probable_paths(rows: list[list[float]], nodes: int) -> None:
    ranked = [sorted(enumerate(row), key=lambda e: -e[1]) for row in rows]
    table = [[(token, math.log(p)) for token, p in row] for row in ranked]
    tree = best_first_tree(lambda path: table[len(path)], Budget.tree(nodes, 3), "t")
    every = sorted(
        (sum(math.log(rows[d][t]) for d, t in enumerate(path))
         for length in (1, 2, 3) for path in itertools.product(range(3), repeat=length)),
        reverse=True,
    )  # fmt: skip
    np.testing.assert_allclose(tree.logq, every[:nodes], rtol=1e-5)


def test_branch_limits_children() -> None:
    tree = best_first_tree(lambda _: [(1, -0.1), (2, -0.2), (3, -0.3)], Budget(9, 2, 2), "t")
    assert set(tree.tokens.tolist()) == {1, 2}
    assert len(tree) == 6
