"""The loop on a course whose figures are scripted: its rates, and whose weights it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from crossdraft.drafters.trainable import Loss
from crossdraft.training.epochs import run_epochs
from crossdraft.training.settings import TrainSettings
from crossdraft.training.steps import rate_at


def settings(**options: Any) -> TrainSettings:
    return TrainSettings(**{"num_epochs": 5, "learning_rate": 1.0, "device": "cpu", **options})


class Scripted:
    """One weight that falls step by step, and validation losses written down beforehand."""

    def __init__(self, losses: Sequence[float]) -> None:
        self.network: nn.Module = nn.Linear(1, 1, bias=False)
        self.steps = self.samples = 2
        self._losses = iter(losses)
        self.after: list[torch.Tensor] = []

    def fingerprint(self) -> str:
        return "scripted"

    def batches(self, _: int) -> Iterator[None]:
        yield from (None, None)

    def loss(self, _: None) -> Loss:
        return Loss(next(self.network.parameters()).sum(), 1, 1, 1)

    def validate(self) -> dict[str, float]:
        self.after.append(next(self.network.parameters()).detach().clone())
        return {"val_loss": next(self._losses)}

    def merit(self, record: Mapping[str, float]) -> tuple[float, ...]:
        return (-record["val_loss"],)

    def on_best(self) -> None:
        pass


def test_the_rate_rises_over_the_warm_up_and_falls_along_a_cosine() -> None:
    rates = [rate_at(settings(warmup=0.2), step, 4) for step in range(20)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[12] == pytest.approx(0.5), "half of what is left after the warm-up"
    assert all(one > other > 0 for one, other in pairwise(rates[4:]))
    plain = [rate_at(settings(), step, 4) for step in range(20)]
    assert (plain[0], plain[10]) == pytest.approx((1.0, 0.5))


def test_steps_are_made_at_the_rate_of_the_warm_up() -> None:
    lengths = []
    for warmup in (0.0, 0.2):
        course = Scripted([1.0] * 5)
        run_epochs(course, settings(warmup=warmup, weight_decay=0.0))
        lengths.append(float(course.after[0] - course.after[1]))
    fast, warm = lengths
    assert fast != pytest.approx(warm)


@pytest.mark.parametrize(
    ("losses", "best"),
    [([3.0, 1.0, 2.0, 1.5, 4.0], 2), ([3.0, 2.0, 2.0, 1.0, 1.0], 4), ([1.0, 2.0, 3.0, 4.0], 1)],
)
def test_weights_of_the_best_epoch_are_kept(losses: list[float], best: int) -> None:
    course = Scripted(losses)
    progression = run_epochs(course, settings(num_epochs=len(losses)))
    assert progression.best_epoch == best
    (kept,) = progression.best_state.values()
    assert torch.equal(kept, course.after[best - 1])
    assert not torch.equal(kept, course.after[-1]), "the network itself goes on"
