"""Verification rules: which drafts of a tree the target takes, and what it says after them.

Pure functions of what a pass says and of the tree it ran over; `rules.py` binds their settings.
Row 0 of every tensor is the root, the last committed token, and row 1 + i is node i. All rules but
the two marked *lossy* leave the target's answer, or its distribution, as it is without drafting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from crossdraft.base.tree import ROOT, DraftTree, Verification

#: Gives the next uniform number of [0, 1) for the token of this many drafts further on.
Uniforms = Callable[[int], float]


def walk(tree: DraftTree, says: Callable[[int], int]) -> Verification:
    """Descend while a child carries what the target says at its parent.

    Whatever decides what the target says at a row (the largest logit, a draw from its
    distribution), this leaves it unchanged: at every place the token emitted is the target's own,
    and drafts only say at which places a pass can be spared. Of sampling, the distribution is the
    target's as long as the draw at a row does not depend on the tree.

    Args:
        says: what the target says behind a row; asked of the rows on the path alone.
    """
    path: list[int] = []
    here, wanted = ROOT, says(0)
    # Children stand behind their parent, so one reading of the nodes finds the whole path.
    for node, (token, parent) in enumerate(
        zip(tree.tokens.tolist(), tree.parents.tolist(), strict=True)
    ):
        if parent == here and token == wanted:
            path.append(node)
            here, wanted = node, says(node + 1)
    return Verification(tuple(path), wanted)


def greedy(logits: Tensor, tree: DraftTree) -> Verification:
    """Take what plain greedy decoding would say.

    Args:
        logits: [1 + n, vocab]; of equal logits the lowest id wins, as in `generate`.
    """
    if logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64):
        # Row by row and in one thread: waking others takes longer than looking at a few rows.
        rows = logits.detach().numpy()
        return walk(tree, lambda row: int(rows[row].argmax()))
    return walk(tree, logits.argmax(-1).tolist().__getitem__)


def sampled(probabilities: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """Draw what the target says at each row, and descend while a child carries it.

    Exact for any proposal that was not made looking at these draws, chain or tree: the token at
    every place is one draw from the target's own distribution there. Rows of one depth share their
    number, of which only one row is ever used; so the answer is a function of the numbers alone,
    whatever was drafted.

    Args:
        probabilities: [1 + n, vocab] of the target, warped; rows need not sum to exactly 1.
        uniform: one number for each depth.
    """
    depths = [0, *tree.depth.tolist()]
    numbers = [uniform(depth) for depth in range(max(depths) + 1)]
    heights = torch.tensor([numbers[depth] for depth in depths], dtype=torch.float64)
    return walk(tree, _inverse(probabilities, heights).tolist().__getitem__)


def rejection(probabilities: Tensor, tree: DraftTree, uniform: Uniforms) -> Verification:
    """Speculative sampling (Leviathan et al., 2023; Chen et al., 2023), of trees as in SpecInfer.

    Children of a node are tried in order. One that was drawn from q is taken with probability
    min(1, p/q); otherwise p becomes the residual max(0, p - q), normalised, for the next one, and
    what is left after the last child is drawn from. Exact where node i was drawn from
    `tree.q_rows[i]`, given its elder siblings: siblings drawn without replacement have the rows of
    what was left when they were drawn.

    Args:
        probabilities: [1 + n, vocab] of the target, warped. `q_rows` may be narrower or wider.
        uniform: is called anew for every decision at a depth, and gives another number each time.

    Raises:
        ValueError: the tree does not say what its nodes were drawn from.
    """
    if tree.q_rows is None:
        raise ValueError("a tree without q_rows: its nodes were drawn from nothing")
    offered = torch.as_tensor(tree.q_rows, device=probabilities.device).double()
    # A drafter may know fewer ids than the head has rows, or of more, which it has not drafted.
    offered = pad(offered, (0, probabilities.shape[-1] - offered.shape[-1]))
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(tree.parents.tolist()):
        children.setdefault(parent, []).append(node)
    path: list[int] = []
    here = ROOT
    while True:
        left = _normalised(probabilities[here + 1].double())
        taken = None
        for node in children.get(here, ()):
            token, row = int(tree.tokens[node]), offered[node]
            if uniform(len(path)) * float(row[token]) < float(left[token]):
                taken = node
                break
            rest = (left - row).clamp_min(0)
            # Nothing is left where p and q are equal but for rounding: p itself is as good.
            left = _normalised(rest) if float(rest.sum()) > 0 else left
        if taken is None:
            height = torch.tensor([uniform(len(path))], dtype=torch.float64)
            return Verification(tuple(path), int(_inverse(left[None], height)[0]))
        path.append(taken)
        here = taken


def top_k(logits: Tensor, tree: DraftTree, k: int) -> Verification:
    """*Lossy.* Take the child that the target likes best, if it is among its first `k` tokens.

    The answer is no longer the target's own: it depends on what was drafted.

    Args:
        logits: [1 + n, vocab].
    """
    best = logits.topk(min(k, logits.shape[-1]), dim=-1).indices
    acceptable = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, best, True)
    return _relaxed(logits, tree, acceptable)


def typical(probabilities: Tensor, tree: DraftTree, epsilon: float, delta: float) -> Verification:
    """*Lossy.* Typical acceptance (Cai et al., 2024, Medusa): take the likeliest child whose
    probability exceeds min(epsilon, delta * exp(-entropy)).

    The answer is no longer the target's own: it depends on what was drafted.

    Args:
        probabilities: [1 + n, vocab] of the target, warped.
    """
    entropy = torch.special.entr(probabilities.double()).sum(-1, keepdim=True)
    threshold = (delta * torch.exp(-entropy)).clamp_max(epsilon)
    return _relaxed(probabilities, tree, probabilities > threshold)


def draftable(
    tree: DraftTree, allowed: Callable[[NDArray[np.integer[Any]]], NDArray[np.bool_]]
) -> DraftTree:
    """The tree without tokens that may not be drafted, and without what hangs below them.

    What nodes were drawn from is conditioned on their being allowed, else rejection sampling would
    not be exact any more.

    Args:
        allowed: [n] ids -> [n] whether each may be drafted.
    """
    kept = tree.pruned(allowed(tree.tokens))
    if kept.q_rows is None:
        return kept
    rows = torch.as_tensor(kept.q_rows).double()
    ids = torch.from_numpy(allowed(np.arange(rows.shape[-1]))).to(rows.device)
    return replace(kept, q_rows=_normalised(rows * ids))


def _relaxed(scores: Tensor, tree: DraftTree, acceptable: Tensor) -> Verification:
    """Descend to the acceptable child with the highest score; the root's best where none is."""
    path: list[int] = []
    here = ROOT
    parents, tokens = tree.parents, tree.tokens.tolist()
    while True:
        row = here + 1
        ready = [n for n in np.flatnonzero(parents == here).tolist() if acceptable[row, tokens[n]]]
        if not ready:
            return Verification(tuple(path), int(scores[row].argmax()))
        here = max(ready, key=lambda node: float(scores[row, tokens[node]]))
        path.append(here)


def _inverse(probabilities: Tensor, heights: Tensor) -> Tensor:
    """[rows] the token at which each row's cumulative probability passes its height.

    Args:
        probabilities: [rows, vocab], not normalised.
        heights: [rows] in [0, 1).
    """
    reached = probabilities.double().cumsum(-1)
    wanted = heights.to(reached.device)[:, None] * reached[:, -1:]
    # The first token whose sum is above: never one of probability 0.
    found = torch.searchsorted(reached, wanted, right=True)[:, 0]
    return found.clamp_max(probabilities.shape[-1] - 1)


def _normalised(row: Tensor) -> Tensor:
    return row / row.sum(-1, keepdim=True)
