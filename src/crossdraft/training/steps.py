"""The steps of an epoch: loss, gradient, clipping, the optimizer, over all processes of a team.

Batches of several processes and of several accumulated pieces count by their tokens, as if they
were one batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import Tensor, nn

from crossdraft.base.ahead import closed
from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress, ProgressSink
from crossdraft.drafters.trainable import Loss
from crossdraft.training.settings import TrainSettings
from crossdraft.training.team import Alone

if TYPE_CHECKING:
    from crossdraft.training.epochs import Course

Batch = TypeVar("Batch")
#: Tokens that a sum of losses is divided by before its gradient is taken, so that gradients keep
#: their size in any number format.
_NOMINAL = 1024.0


@dataclass
class Seen:
    """Sums over what an epoch has trained on."""

    loss: float = 0.0
    tokens: float = 0.0
    top1: float = 0.0
    top5: float = 0.0
    cosine: float = 0.0
    counted: bool = True
    with_cosine: bool = False

    def add(self, said: Loss, value: float) -> None:
        """One batch more."""
        self.loss += value * said.tokens
        self.tokens += said.tokens
        if said.top1 is None or said.top5 is None:
            self.counted = False
        else:
            self.top1, self.top5 = self.top1 + said.top1, self.top5 + said.top5
        if said.cosine is not None:
            self.with_cosine = True
            self.cosine += said.cosine * said.tokens

    def record(self) -> dict[str, float]:
        """Means by their names in a record; what was not counted is left out."""
        found = {"train_loss": self.loss / self.tokens}
        if self.counted:
            found["train_top1"] = self.top1 / self.tokens
            found["train_top5"] = self.top5 / self.tokens
        if self.with_cosine:
            found["train_cos_sim"] = self.cosine / self.tokens
        return found


class _WithLoss(nn.Module, Generic[Batch]):
    """A network whose forward is the loss: what is shared between processes hooks into forwards."""

    def __init__(self, course: Course[Batch]) -> None:
        super().__init__()
        self.network = course.network
        self._course = course
        self.said: Loss | None = None

    def forward(self, batch: Batch) -> Tensor:
        self.said = self._course.loss(batch)
        return self.said.value


class Steps(Generic[Batch]):
    """Takes the steps of a training.

    Attributes:
        per_epoch: steps of one epoch.
        team: who trains together.
    """

    def __init__(
        self,
        course: Course[Batch],
        optimizer: torch.optim.Optimizer,
        settings: TrainSettings,
        team: Alone,
    ) -> None:
        self._course, self._optimizer, self._settings, self.team = course, optimizer, settings, team
        self._with_loss = _WithLoss(course)
        self._joined = team.joined(self._with_loss)
        self.per_epoch = math.ceil(course.steps / settings.accumulate)
        # Alone and one batch a step, a mean is a mean.
        self._simple = team.world == 1 and settings.accumulate == 1

    def epoch(self, done: int, sink: ProgressSink) -> Seen:
        """Take all steps of an epoch.

        Args:
            done: epochs before it.

        Raises:
            InputError: a loss that is no number.
        """
        seen, stage, step = Seen(), f"epoch {done + 1}", 0
        with closed(self._course.batches(done)) as batches:
            while pieces := list(islice(batches, self._settings.accumulate)):
                self._set_rate(done * self.per_epoch + step)
                self._optimizer.zero_grad(set_to_none=True)
                self._step(iter(pieces), len(pieces), seen, done, step)
                step += 1
                sink(Progress(stage, step, self.per_epoch))
        totals = [seen.loss, seen.tokens, seen.top1, seen.top5, seen.cosine]
        seen.loss, seen.tokens, seen.top1, seen.top5, seen.cosine = self.team.sums(totals)
        return seen

    def _step(self, pieces: Iterator[Batch], count: int, seen: Seen, done: int, step: int) -> None:
        tokens, wrong = 0.0, 0.0
        for number, batch in enumerate(pieces, start=1):
            last = number == count
            with nullcontext() if last else self.team.unshared(self._joined):
                with self._autocast():
                    loss = self._joined(batch)
                said = self._with_loss.said
                assert said is not None
                value = float(loss.detach())
                if not math.isfinite(value):
                    wrong = 1.0
                    # Gradients are shared in backward, and nobody may be missing there.
                    if self._simple:
                        self._refuse(value, done, step)
                if not self._simple:
                    loss = loss * (said.tokens / _NOMINAL)
                loss.backward()
            tokens += said.tokens
            seen.add(said, value)
        # What is frozen may still hold gradients of an earlier training.
        learnt = [weight for group in self._optimizer.param_groups for weight in group["params"]]
        if not self._simple:
            tokens, wrong = self.team.sums([tokens, wrong])
            if wrong:
                self._refuse(float("nan"), done, step)
            _scale(learnt, _NOMINAL * self.team.world / max(1.0, tokens))
        torch.nn.utils.clip_grad_norm_(learnt, self._settings.clip_norm)
        self._optimizer.step()

    def _refuse(self, value: float, done: int, step: int) -> None:
        raise InputError(
            f"the loss is {value} in epoch {done + 1}, step {step + 1}",
            hint="a smaller --learning-rate",
        )

    def _autocast(self) -> torch.autocast | nullcontext[None]:
        if self._settings.precision == "fp32":
            return nullcontext()
        device = next(self._course.network.parameters()).device
        return torch.autocast(device.type, torch.bfloat16)

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from the training's first."""
        return rate_at(self._settings, step, self.per_epoch)

    def _set_rate(self, step: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate(step)


def rate_at(settings: TrainSettings, step: int, per_epoch: int) -> float:
    """A straight rise over the warm-up, then a cosine to zero over all steps that are left."""
    steps = settings.num_epochs * per_epoch
    rise = round(settings.warmup * steps)
    if step < rise:
        return settings.learning_rate * (step + 1) / rise
    share = (step - rise) / (steps - rise)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _scale(weights: list[Tensor], factor: float) -> None:
    """Multiply all gradients."""
    for weight in weights:
        if weight.grad is not None:
            weight.grad.mul_(factor)
