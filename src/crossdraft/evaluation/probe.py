"""Linear probes: what a straight line through a model's hidden states can tell of the scene.

A probe (Alain and Bengio, 2016) that finds an attribute shows that the states carry it; one that
stays at chance on states that carry other attributes shows what they lack. Multinomial logistic
regression with a ridge, tested on drives that it has not seen, beside the same with labels permuted
(the idea of control tasks, Hewitt and Liang, 2019).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossdraft.base.result import Estimate
from crossdraft.evaluation.bootstrap import BlockBootstrap, Floats
from crossdraft.scenes.drives import balanced

#: Ridges to choose from, on the scale of the mean loss of a row; the strongest first.
RIDGES = (1.0, 0.1, 0.01)
_FOLDS, _PERMUTATIONS, _RESAMPLES = 5, 5, 2000
_STEPS, _SLOPE = 100, 1e-5
#: One group of drives in so many is set aside to choose the ridge.
_SET_ASIDE = 4


@dataclass(frozen=True)
class Probed:
    """What a probe has found.

    Attributes:
        accuracy: share of rows told right, each by a probe that has not seen its drive.
        majority: share of the most frequent label: what is right without looking.
        permuted: mean accuracy with labels permuted among the rows.
        rows, drives: how many there were.
        labels: every label and its rows.
        ridges: chosen in each fold.
    """

    accuracy: Estimate
    majority: float
    permuted: float
    rows: int
    drives: int
    labels: dict[str, int]
    ridges: tuple[float, ...]

    @property
    def chance(self) -> float:
        """What no knowledge gives, by the more generous of the two counts."""
        return max(self.majority, self.permuted)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "accuracy": self.accuracy.to_json(),
            "majority": self.majority,
            "permuted": self.permuted,
            "chance": self.chance,
            "rows": self.rows,
            "drives": self.drives,
            "labels": self.labels,
            "ridges": list(self.ridges),
        }


def probe(
    states: Floats, labels: Sequence[str], drives: Sequence[str], seed: int = 0
) -> Probed | None:
    """Fit and test probes over folds of drives.

    The ridge is chosen in each fold on drives of its training part that were set aside; the
    permuted labels are learned with the ridge of the true ones.

    Args:
        states: [rows, hidden].
        labels: [rows].
        drives: [rows] the drive that each row comes from.
        seed: of the permutations and the bootstrap.

    Returns:
        None where nothing can be told: fewer than two labels or two drives.
    """
    counted = Counter(labels)
    if len(counted) < 2 or len(set(drives)) < 2:
        return None
    names = sorted(counted)
    known = np.array([names.index(label) for label in labels], np.int64)
    shuffles = [known, *_permuted(known, seed)]
    right = np.zeros((len(shuffles), len(known)))
    ridges = []
    for train, test in _folds(drives):
        ridges.append(_ridge(states, known, drives, train, len(names)))
        for place, target in enumerate(shuffles):
            guessed = _guess(states, target, train, test, ridges[-1], len(names))
            right[place, test] = guessed == target[test]
    groups = [np.flatnonzero(np.array(drives) == drive).tolist() for drive in sorted(set(drives))]
    (accuracy,) = BlockBootstrap(groups, _RESAMPLES, seed).ratio(
        right[0][:, None], np.ones((len(known), 1))
    )
    return Probed(
        accuracy,
        max(counted.values()) / len(known),
        float(right[1:].mean()),
        len(known),
        len(groups),
        {name: counted[name] for name in names},
        tuple(ridges),
    )


def _permuted(known: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(known) for _ in range(_PERMUTATIONS)]


Rows = NDArray[np.int64]


def _folds(drives: Sequence[str]) -> Iterator[tuple[Rows, Rows]]:
    """Rows to train on and rows to test on, every drive tested once."""
    groups = balanced(Counter(drives), min(_FOLDS, len(set(drives))))
    for group in groups:
        tested = np.array([drive in group for drive in drives])
        yield np.flatnonzero(~tested), np.flatnonzero(tested)


def _ridge(states: Floats, known: Rows, drives: Sequence[str], rows: Rows, labels: int) -> float:
    """The ridge that tells most on drives set aside; of equal ones the strongest."""
    lengths = Counter(drives[row] for row in rows)
    if len(lengths) < 2:
        return RIDGES[len(RIDGES) // 2]
    aside = balanced(lengths, min(_SET_ASIDE, len(lengths)))[0]
    held = np.array([drives[row] in aside for row in rows])
    train, test = rows[~held], rows[held]

    def told(ridge: float) -> int:
        return int((_guess(states, known, train, test, ridge, labels) == known[test]).sum())

    return max(RIDGES, key=told)


def _guess(
    states: Floats, known: Rows, train: Rows, test: Rows, ridge: float, labels: int
) -> NDArray[np.int64]:
    """[test] labels that a probe fitted on the train rows gives."""
    mean, spread = states[train].mean(0), states[train].std(0)
    scaled = torch.from_numpy((states - mean) / np.where(spread > 0, spread, 1.0))
    weight, bias = fit(scaled[train], torch.from_numpy(known[train]), ridge, labels)
    guessed: NDArray[np.int64] = (scaled[test] @ weight + bias).argmax(1).numpy()
    return guessed


def fit(rows: Tensor, known: Tensor, ridge: float, labels: int) -> tuple[Tensor, Tensor]:
    """Least mean cross-entropy plus ridge / 2 times the squared weights, the bias left free.

    Args:
        rows: [n, hidden] float64.
        known: [n] labels as numbers from 0.
        labels: how many there are.

    Returns:
        [hidden, labels] weights and [labels] biases.
    """
    weight = torch.zeros(rows.shape[1], labels, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(labels, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_grad=_SLOPE, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        solver.zero_grad()
        value = torch.nn.functional.cross_entropy(rows @ weight + bias, known)
        value = value + ridge / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        solver.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()
