"""From what sources claim to what the target accepts.

Each node of a merged tree carries, per source, the probability that the source gives the step
from its parent, or nothing. A small logistic regression turns these into the probability that the
target takes the step. Steps multiply along a path, so no node is likelier than its parent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.fields import Item

Floats = NDArray[np.float64]

FORMAT = "crossdraft.calibration/1"
#: Claims are read no closer to 0 or 1 than this.
_NARROWEST = 1e-4
#: Weight of the prior that all weights are 0: strong enough to keep any data finite, and nothing
#: beside the thousands of steps of a validation set.
_RIDGE = 1.0
#: Acceptance of a step of unknown probability, before anything is known about its source.
_COLD = 0.5
#: No fit ends near it; a weight read from a file must leave sums of logits finite.
_LARGEST_WEIGHT = 1e9
#: Beyond this a logit is certain; exp stays finite.
_LARGEST_LOGIT = 30.0


def sigmoid(logit: Floats) -> Floats:
    """Probability of a logit, without overflow."""
    probability: Floats = 1.0 / (1.0 + np.exp(-np.clip(logit, -_LARGEST_LOGIT, _LARGEST_LOGIT)))
    return probability


def step_features(steps: Floats, depth: Floats) -> Floats:
    """What the regression sees of each step.

    Args:
        steps: [n, sources] log probability of the step as each source gives it, NaN where the
            source does not propose the node. 0 is certain, or unknown: sources without
            probabilities say 0 everywhere, and what that is worth is learned.
        depth: [n] depth of each node, 1 for children of the root.

    Returns:
        [n, 1 + 4 * sources]: one, then per source: proposed, proposed at log probability 0,
        logit of the claim, log depth where proposed. Two sources that agree add up.
    """
    proposed = ~np.isnan(steps)
    certain = proposed & (steps >= 0)
    claim = np.where(proposed, _claimed_logit(steps), 0.0)
    log_depth = proposed * np.log(depth)[:, None]
    blocks = np.stack((proposed, certain, claim, log_depth), axis=2)
    flat = blocks.reshape(len(steps), 4 * steps.shape[1])
    return np.concatenate((np.ones((len(steps), 1)), flat), axis=1)


def fit_logistic(features: Floats, labels: Floats, iterations: int = 50) -> Floats:
    """Weights of a logistic regression with a ridge prior, by Newton's method with halved steps.

    Args:
        features: [n, k].
        labels: [n] 0 or 1; all equal, or none at all, is no fault: the prior decides then.

    Returns:
        [k] weights, finite.
    """
    weights = np.zeros(features.shape[1])
    loss = _loss(features, labels, weights)
    for _ in range(iterations):
        p = sigmoid(features @ weights)
        gradient = features.T @ (p - labels) + _RIDGE * weights
        curvature = (features.T * (p * (1 - p))) @ features + _RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        for _ in range(20):
            tried = weights - step
            new_loss = _loss(features, labels, tried)
            if new_loss <= loss:
                break
            step = step / 2
        else:
            return weights
        weights, gained, loss = tried, loss - new_loss, new_loss
        if gained < 1e-9 * (1 + loss):
            break
    return weights


def _loss(features: Floats, labels: Floats, weights: Floats) -> float:
    """Negative log posterior: the log loss summed, plus the prior."""
    logit = features @ weights
    log_loss = np.logaddexp(0.0, logit) - labels * logit
    return float(log_loss.sum() + _RIDGE / 2 * (weights @ weights))


@dataclass(frozen=True)
class Calibration:
    """How far each source may be believed.

    Attributes:
        sources: their names, in the order of the columns of `steps`.
        weights: [1 + 4 * sources] of `step_features`, or None before anything was fitted: then
            each step has the highest probability that a source claims for it.
    """

    sources: tuple[str, ...]
    weights: tuple[float, ...] | None = None

    @classmethod
    def fit(
        cls, sources: Sequence[str], steps: Floats, depth: Floats, accepted: Floats
    ) -> Calibration:
        """Learn from steps whose parent was accepted.

        Args:
            steps, depth: as `step_features` takes them.
            accepted: [n] 1 where the target took the step, else 0.
        """
        weights = fit_logistic(step_features(steps, depth), accepted)
        return cls(tuple(sources), tuple(weights.tolist()))

    def logits(self, steps: Floats, depth: Floats, shift: Floats | None = None) -> Floats:
        """[n] logit of the probability that the target takes each step, its parent accepted.

        Args:
            steps, depth: as `step_features` takes them; every step has a source.
            shift: [sources] what the latest answers add to the logit of each source's steps; a
                step of several sources gets the mean.
        """
        shift = np.zeros(len(self.sources)) if shift is None else shift
        if self.weights is None:
            claim = np.where(steps >= 0, math.log(_COLD / (1 - _COLD)), _claimed_logit(steps))
            best: Floats = np.where(np.isnan(steps), -np.inf, claim + shift).max(axis=1)
            return best
        proposed = ~np.isnan(steps)
        mean_shift = (proposed @ shift) / np.maximum(1, proposed.sum(axis=1))
        logits: Floats = step_features(steps, depth) @ np.array(self.weights) + mean_shift
        return logits

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        weights = None if self.weights is None else list(self.weights)
        return {"format": FORMAT, "sources": list(self.sources), "weights": weights}

    @classmethod
    def from_json(cls, value: Any, where: Path) -> Calibration:
        """Read what `to_json` gave.

        Args:
            where: the file it stood in, for the message.

        Raises:
            InputError: not a calibration, or one whose weights do not fit its sources.
        """
        item = Item(value, where, "calibration")
        if item.text("format") != FORMAT:
            raise item.error(f"format is {item.value.get('format')!r}", FORMAT)
        sources: Any = item.value.get("sources")
        weights: Any = item.value.get("weights")
        if not _is_names(sources):
            raise item.error("sources is not a list of names", "names of drafters, no two equal")
        count = 1 + 4 * len(sources)
        if weights is not None and not _is_numbers(weights, count):
            raise item.error("weights do not fit the sources", f"null or {count} finite numbers")
        return cls(tuple(sources), None if weights is None else tuple(map(float, weights)))


class Trust:
    """What the latest answers say about each source beyond its calibration.

    Steps whose parent was accepted are counted as hits and misses of their sources, beside the
    hits and misses that were expected. Positions count rather than forwards, older ones less.
    """

    #: What one more verification leaves of those before it.
    DECAY = 0.99
    #: Hits and misses as expected that every source starts with, and always keeps.
    PRIOR = 10.0

    def __init__(self, sources: int) -> None:
        # [hit/miss, seen/expected, sources]
        self._counts = np.zeros((2, 2, sources))

    def add(self, steps: Floats, expected: Floats, accepted: Floats) -> None:
        """Count one verification.

        Args:
            steps: [n, sources] of nodes with an accepted parent, NaN where not proposed.
            expected: [n] acceptance as calibrated, without the shift.
            accepted: [n] 1 or 0.
        """
        proposed = (~np.isnan(steps)).astype(float)
        both = np.stack((accepted, expected))
        self._counts *= self.DECAY
        self._counts += np.stack((both, 1 - both)) @ proposed

    def shift(self) -> Floats:
        """[sources] what to add to the logit of each source's steps."""
        logs = np.log(self._counts + self.PRIOR)
        shift: Floats = (logs[0, 0] - logs[0, 1]) - (logs[1, 0] - logs[1, 1])
        return shift


class Examples:
    """Steps with a known outcome, for the calibration; the newest are kept."""

    MOST = 200_000

    def __init__(self) -> None:
        self._chunks: list[tuple[Floats, Floats, Floats]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def add(self, steps: Floats, depth: Floats, accepted: Floats) -> None:
        """Keep [n, sources], [n], [n]."""
        self._chunks.append((steps, depth, accepted))
        self._length += len(accepted)
        while self._length > self.MOST and len(self._chunks) > 1:
            self._length -= len(self._chunks.pop(0)[2])

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """Steps, depth and outcome of all, oldest first."""
        steps, depth, accepted = zip(*self._chunks, strict=True)
        return np.concatenate(steps), np.concatenate(depth), np.concatenate(accepted)


def _claimed_logit(steps: Floats) -> Floats:
    """Logit of claimed step probabilities, kept away from 0 and 1; NaN stays NaN."""
    claim = np.clip(np.exp(np.minimum(steps, 0.0)), _NARROWEST, 1 - _NARROWEST)
    logit: Floats = np.log(claim) - np.log1p(-claim)
    return logit


def _is_names(value: Any) -> bool:
    names = isinstance(value, list) and value and all(isinstance(name, str) for name in value)
    return bool(names) and len(set(value)) == len(value)


def _is_numbers(value: Any, count: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == count
        # A whole number may be too large for a float; NaN compares false.
        and all(type(x) in (int, float) and abs(x) < _LARGEST_WEIGHT for x in value)
    )
