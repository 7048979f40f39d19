"""Linear probes: what was planted is found on other drives, what was not is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from crossdraft.evaluation import probe as module
from crossdraft.evaluation.bootstrap import Floats
from crossdraft.evaluation.probe import RIDGES, fit, probe

ROWS, HIDDEN, DRIVES = 48, 6, 6
NAMES = ("bus", "car", "truck")


def made(seed: int = 0) -> tuple[Floats, list[str], list[str]]:
    """Noise, labels and drives."""
    rng = np.random.default_rng(seed)
    labels = [NAMES[i] for i in rng.integers(0, len(NAMES), ROWS)]
    drives = [f"d{i * DRIVES // ROWS}" for i in range(ROWS)]
    return rng.normal(size=(ROWS, HIDDEN)), labels, drives


def planted(states: Floats, labels: list[str]) -> Floats:
    """The same states, moved along one direction per label."""
    directions = np.random.default_rng(9).normal(size=(len(NAMES), HIDDEN))
    return states + 10 * directions[[NAMES.index(label) for label in labels]]


def test_what_is_planted_is_found_on_drives_not_seen() -> None:
    states, labels, drives = made()
    found = probe(planted(states, labels), labels, drives)
    assert found is not None
    assert found.accuracy.value == 1.0
    assert (found.accuracy.low, found.accuracy.high) == (1.0, 1.0)
    assert found.majority == max(map(labels.count, NAMES)) / ROWS
    assert found.permuted < 0.6
    assert (found.rows, found.drives, len(found.ridges)) == (ROWS, DRIVES, 5)
    assert found.labels == {name: labels.count(name) for name in NAMES}
    assert found.to_json()["chance"] == max(found.majority, found.permuted)


def test_noise_stays_at_chance() -> None:
    found = probe(*made())
    assert found is not None and found.accuracy.value is not None
    assert found.accuracy.value < found.chance + 0.15


def test_states_that_know_the_drive_alone_tell_nothing_of_another_drive() -> None:
    # One label and one direction per drive: probes tested on rows of known drives would be right.
    drives = [f"d{i % DRIVES}" for i in range(ROWS)]
    labels = [NAMES[i % DRIVES % len(NAMES)] for i in range(ROWS)]
    found = probe(np.eye(DRIVES)[[i % DRIVES for i in range(ROWS)]], labels, drives)
    assert found is not None and found.accuracy.value is not None
    assert found.accuracy.value <= 0.5


def test_scale_and_a_state_that_never_changes_do_not_matter() -> None:
    states, labels, drives = made()
    states = planted(states, labels)
    states[:, 0] = 7.0
    plain = probe(states, labels, drives)
    scaled = probe(states * np.array([1, 1e-6, 1e6, 1, 1, 1]) + 1e3, labels, drives)
    assert plain is not None and scaled is not None
    assert plain.accuracy == scaled.accuracy
    assert plain.accuracy.value is not None and plain.accuracy.value > 0.9


def test_scaling_and_ridge_are_chosen_without_the_drives_that_are_tested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    states, labels, drives = made()
    guess, ridge = module._guess, module._ridge
    choosing, folds = [False], []

    def ridge_seen(*given: Any) -> float:
        choosing[0] = True
        folds.append((set[str](), set[str]()))
        chosen = ridge(*given)
        choosing[0] = False
        return chosen

    def guess_seen(*given: Any) -> Any:
        learned, tested = ({drives[row] for row in rows} for rows in given[2:4])
        assert not learned & tested
        folds[-1][0].update(learned | tested if choosing[0] else learned)
        folds[-1][1].update(() if choosing[0] else tested)
        return guess(*given)

    def fit_seen(rows: torch.Tensor, *given: Any) -> Any:
        torch.testing.assert_close(rows.mean(0), torch.zeros(HIDDEN).double())
        torch.testing.assert_close(rows.std(0, correction=0), torch.ones(HIDDEN).double())
        return fit(rows, *given)

    monkeypatch.setattr(module, "_ridge", ridge_seen)
    monkeypatch.setattr(module, "_guess", guess_seen)
    monkeypatch.setattr(module, "fit", fit_seen)
    assert probe(states, labels, drives) is not None
    assert len(folds) == 5
    for known, tested in folds:
        assert tested and not known & tested
        assert known | tested == set(drives)


def test_the_same_call_gives_the_same_numbers() -> None:
    assert probe(*made(), seed=3) == probe(*made(), seed=3)


def test_nothing_is_told_of_one_label_or_one_drive() -> None:
    states, labels, drives = made()
    assert probe(states, ["car"] * ROWS, drives) is None
    assert probe(states, labels, ["d"] * ROWS) is None


def test_two_drives_with_labels_of_their_own_are_no_error() -> None:
    found = probe(np.eye(4), ["a", "a", "b", "b"], ["d", "d", "e", "e"])
    assert found is not None
    assert found.accuracy.value == 0.0


@pytest.mark.parametrize("ridge", RIDGES)
def test_fit_is_at_the_bottom_of_its_loss(ridge: float) -> None:
    states, labels, _ = made()
    rows = torch.from_numpy(states)
    known = torch.tensor([NAMES.index(label) for label in labels])
    weight, bias = fit(rows, known, ridge, len(NAMES))
    given = torch.nn.functional.one_hot(known, len(NAMES)).double()
    wrong = ((rows @ weight + bias).softmax(1) - given) / ROWS
    assert (rows.T @ wrong + ridge * weight).abs().max() < 1e-4
    assert wrong.sum(0).abs().max() < 1e-4, "the bias is free"
