"""From claims to acceptance: the regression, what it sees, and its file form."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.drafters.calibration import (
    Calibration,
    Examples,
    Floats,
    Trust,
    fit_logistic,
    sigmoid,
    step_features,
)

NAN = math.nan
WHERE = Path("calibration.json")


def log_loss(p: Floats, labels: Floats) -> float:
    return float(-np.mean(np.where(labels > 0, np.log(p), np.log1p(-p))))


def claims(rng: np.random.Generator, n: int) -> tuple[Floats, Floats]:
    """Steps of two sources, each silent now and then, and their depth."""
    steps = np.log(rng.uniform(0.02, 0.98, (n, 2)))
    steps[rng.random(n) < 0.3, 1] = NAN
    steps[np.flatnonzero(rng.random(n) < 0.3)[:, None], 0] = NAN
    steps[np.isnan(steps).all(axis=1), 0] = math.log(0.5)
    return steps, rng.integers(1, 9, n).astype(float)


def test_a_known_logistic_is_recovered() -> None:
    rng = np.random.default_rng(0)
    steps, depth = claims(rng, 30_000)
    features = step_features(steps, depth)
    true = rng.uniform(-1, 1, features.shape[1])
    p = sigmoid(features @ true)
    labels = (rng.random(len(p)) < p).astype(float)
    fitted = Calibration.fit(("a", "b"), steps, depth, labels)
    found = sigmoid(fitted.logits(steps, depth))
    assert np.abs(found - p).mean() < 0.01
    cold = sigmoid(Calibration(("a", "b")).logits(steps, depth))
    assert log_loss(found, labels) < log_loss(cold, labels) - 0.05
    assert log_loss(found, labels) < log_loss(p, labels) + 1e-3


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.floats(0.1, 20))
def test_newton_ends_where_the_gradient_is_zero(seed: int, n: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(0, scale, (n, 4)), (rng.random(n) < 0.5).astype(float)
    weights = fit_logistic(features, labels)
    gradient = features.T @ (sigmoid(features @ weights) - labels) + weights
    assert np.abs(gradient).max() < 1e-2 * scale * math.sqrt(n)


def test_a_newton_step_too_far_is_halved() -> None:
    """Features of very different size, where full steps from zero climb the loss."""
    rng = np.random.default_rng(567)
    n, k = rng.integers(3, 30), rng.integers(1, 4)
    features = rng.normal(0, 10 ** rng.uniform(-1, 2), (n, k)) * np.exp(rng.normal(0, 2, (n, 1)))
    labels = (rng.random(n) < rng.uniform(0.02, 0.5)).astype(float)
    weights = fit_logistic(features, labels)
    gradient = features.T @ (sigmoid(features @ weights) - labels) + weights
    assert np.abs(gradient).max() < 1e-3 * np.abs(features).max()


@pytest.mark.parametrize("labels", ["none", "rejected", "accepted"])
def test_one_sided_answers_give_finite_weights(labels: str) -> None:
    steps, depth = claims(np.random.default_rng(1), 0 if labels == "none" else 400)
    accepted = np.full(len(steps), float(labels == "accepted"))
    fitted = Calibration.fit(("a", "b"), steps, depth, accepted)
    some, deep = claims(np.random.default_rng(2), 50)
    p = sigmoid(fitted.logits(some, deep))
    assert np.isfinite(p).all()
    if labels != "none":
        assert ((p > 0.9) if labels == "accepted" else (p < 0.1)).mean() > 0.9


def test_before_any_fit_the_most_confident_source_counts() -> None:
    cold = Calibration(("a", "b"))
    steps = np.log([[0.3, 0.6], [0.7, 0.2], [0.25, 1.0]])
    steps = np.concatenate((steps, [[NAN, math.log(0.1)], [NAN, 0.0]]))
    p = sigmoid(cold.logits(steps, np.ones(5)))
    np.testing.assert_allclose(p, [0.6, 0.7, 0.5, 0.1, 0.5])


def test_claims_of_zero_and_one_stay_finite() -> None:
    steps = np.array([[-1e9, -1e9], [-1e-12, -1e-12], [0.0, NAN]])
    assert np.isfinite(step_features(steps, np.ones(3))).all()
    assert np.isfinite(Calibration(("a", "b")).logits(steps, np.ones(3))).all()


def test_a_source_without_probabilities_is_learned_by_depth() -> None:
    rng = np.random.default_rng(3)
    depth = rng.integers(1, 9, 20_000).astype(float)
    p = 1 / (1 + depth)
    labels = (rng.random(len(depth)) < p).astype(float)
    fitted = Calibration.fit(("words",), np.zeros((len(depth), 1)), depth, labels)
    asked = np.arange(1.0, 9.0)
    found = sigmoid(fitted.logits(np.zeros((8, 1)), asked))
    np.testing.assert_allclose(found, 1 / (1 + asked), atol=0.02)


def test_what_is_said_without_probability_is_told_from_certainty() -> None:
    """A source whose claims hold, but for those of log probability 0."""
    rng = np.random.default_rng(7)
    claim = rng.uniform(0.05, 0.95, 20_000)
    silent = rng.random(len(claim)) < 0.3
    labels = (rng.random(len(claim)) < np.where(silent, 0.25, claim)).astype(float)
    steps = np.where(silent, 0.0, np.log(claim))[:, None]
    fitted = Calibration.fit(("a",), steps, np.ones(len(claim)), labels)
    found = sigmoid(fitted.logits(np.log([[1.0], [0.9], [0.5], [0.1]]), np.ones(4)))
    np.testing.assert_allclose(found, [0.25, 0.9, 0.5, 0.1], atol=0.03)


def test_agreement_raises_what_either_says_alone() -> None:
    """Two sources that see different things: what both say is likelier than what one says."""
    rng = np.random.default_rng(4)
    right = rng.random(20_000) < 0.5
    proposed = rng.random((len(right), 2)) < np.where(right, 0.8, 0.3)[:, None]
    some = proposed.any(axis=1)
    steps = np.where(proposed, math.log(0.6), NAN)[some]
    fitted = Calibration.fit(("a", "b"), steps, np.ones(some.sum()), right[some].astype(float))
    claim = math.log(0.6)
    one, other, both = sigmoid(
        fitted.logits(np.array([[claim, NAN], [NAN, claim], [claim, claim]]), np.ones(3))
    )
    assert both > max(one, other) + 0.1


@pytest.mark.parametrize("fitted", [False, True])
def test_shift_moves_the_steps_of_its_source(fitted: bool) -> None:
    rng = np.random.default_rng(5)
    calibration = Calibration(("a", "b"))
    if fitted:
        steps, depth = claims(rng, 500)
        calibration = Calibration.fit(
            ("a", "b"), steps, depth, (rng.random(500) < 0.4).astype(float)
        )
    steps, depth = np.log([[0.5, NAN], [NAN, 0.5], [0.5, 0.4]]), np.ones(3)
    before = calibration.logits(steps, depth)
    after = calibration.logits(steps, depth, np.array([-2.0, 0.0]))
    assert after[0] == pytest.approx(before[0] - 2)
    assert after[1] == before[1]
    assert before[2] - 2 < after[2] < before[2]


def test_trust_compares_hits_and_misses_with_what_was_expected() -> None:
    trust = Trust(2)
    np.testing.assert_array_equal(trust.shift(), [0, 0])
    trust.add(np.array([[-1.0, NAN], [-1.0, -1.0]]), np.array([0.75, 0.5]), np.array([1.0, 0.0]))
    prior = Trust.PRIOR
    hits = np.log([(prior + 1) / (prior + 1.25), prior / (prior + 0.5)])
    misses = np.log([(prior + 1) / (prior + 0.75), (prior + 1) / (prior + 0.5)])
    np.testing.assert_allclose(trust.shift(), hits - misses)


def test_trust_forgets() -> None:
    trust, step, half = Trust(1), np.array([[-1.0]]), np.array([0.5])
    for _ in range(300):
        trust.add(step, half, np.zeros(1))
    assert trust.shift()[0] < -1
    for _ in range(600):
        trust.add(step, half, np.ones(1))
    assert trust.shift()[0] > 1, "the newest decide"


def test_the_newest_examples_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Examples, "MOST", 10)
    examples = Examples()
    for i in range(8):
        examples.add(np.full((3, 2), -float(i)), np.full(3, 1.0 + i), np.full(3, float(i % 2)))
    steps, depth, accepted = examples.arrays()
    assert len(examples) == len(steps) == 9
    assert depth.tolist() == [6.0] * 3 + [7.0] * 3 + [8.0] * 3
    assert accepted.tolist() == [1.0] * 3 + [0.0] * 3 + [1.0] * 3
    assert steps[0].tolist() == [-5.0, -5.0]


def test_json_brings_it_back() -> None:
    steps, depth = claims(np.random.default_rng(6), 300)
    for calibration in (
        Calibration(("a", "b")),
        Calibration.fit(("a", "b"), steps, depth, (depth > 3).astype(float)),
    ):
        text = json.dumps(calibration.to_json(), allow_nan=False)
        assert Calibration.from_json(json.loads(text), WHERE) == calibration


GOOD = Calibration(("a",), (0.1,) * 5).to_json()


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        {**GOOD, "format": "crossdraft.suffix/1"},
        {**GOOD, "format": 3},
        {**GOOD, "sources": []},
        {**GOOD, "sources": "a"},
        {**GOOD, "sources": ["a", "a"]},
        {**GOOD, "sources": [1]},
        {**GOOD, "weights": [0.1] * 4},
        {**GOOD, "weights": [0.1] * 4 + ["0.1"]},
        {**GOOD, "weights": [0.1] * 4 + [math.inf]},
        {**GOOD, "weights": [0.1] * 4 + [10**400]},
        {**GOOD, "weights": [0.1] * 4 + [True]},
        {**GOOD, "weights": 5},
    ],
    ids=lambda value: None,
)
def test_what_is_no_calibration_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="calibration"):
        Calibration.from_json(value, WHERE)
