"""The loop itself: epochs, validation, early stopping, checkpoints. It only loops.

What is trained, on what, and what is best comes from a `Course`. A run that was killed goes on from
its last finished epoch and ends bit for bit as if it had not been (on the same CPU and thread
count).
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.drafters.trainable import Loss
from crossdraft.training.checkpoint import Progression, load_state, save_state
from crossdraft.training.log import RunLog
from crossdraft.training.settings import TrainSettings
from crossdraft.training.steps import Steps
from crossdraft.training.team import Alone

STATE = "state.safetensors"

#: Called after each epoch with its record.
EpochSink = Callable[[dict[str, float]], None]
Batch = TypeVar("Batch")


class Course(Protocol[Batch]):
    """What the loop asks of a training.

    Attributes:
        network: what is trained, on its device.
        steps: batches of one epoch, in this process.
        samples: of one epoch in all processes, for the log.
    """

    network: nn.Module
    steps: int
    samples: int

    def fingerprint(self) -> str:
        """Digest of everything that decides the outcome, settings included."""
        ...

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Batches of an epoch, counted from 0; all generators have just been seeded for it."""
        ...

    def loss(self, batch: Batch) -> Loss:
        """Loss and hits of one batch, with its graph."""
        ...

    def validate(self) -> dict[str, float]:
        """Figures of held-out data, their names beginning with `val_`."""
        ...

    def merit(self, record: dict[str, float]) -> tuple[float, ...]:
        """What makes one epoch better than another; the earlier one wins a tie."""
        ...

    def on_best(self) -> None:
        """The epoch that has just ended is the best so far."""
        ...


def run_epochs(
    course: Course[Batch],
    settings: TrainSettings,
    *,
    folder: Path | None = None,
    sink: ProgressSink = silent,
    on_epoch: EpochSink = lambda _: None,
    team: Alone | None = None,
) -> Progression:
    """Train, and leave the network with the weights of the last epoch.

    Args:
        folder: where state and log go; a state found there is resumed. All processes see it.
        team: who trains together; this process alone if it is not said.

    Returns:
        History, and the weights of the best epoch.

    Raises:
        InputError: a loss that is no number, or a state of another run.
    """
    weights = [weight for weight in course.network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    team = team or Alone()
    fingerprint = course.fingerprint()
    progression = Progression()
    if folder is not None and (folder / STATE).exists():
        state, progression = load_state(folder / STATE, fingerprint, optimizer)
        course.network.load_state_dict(state)
    # Nobody begins to write before all have read.
    _refuse_apart(team, progression.epoch, folder)
    steps = Steps(course, optimizer, settings, team)
    log_folder = folder if team.first else None
    with RunLog(log_folder, progression.history) as log, _generators_restored():
        while not _finished(progression, settings):
            record = _epoch(course, steps, settings, progression.epoch, sink)
            progression.history.append(record)
            better = _better(course, progression)
            if better:
                progression.best_epoch = progression.epoch
                progression.best_state = _copy(course.network)
            if not team.first:
                continue
            if better:
                course.on_best()
            if folder is not None:
                state = course.network.state_dict()
                save_state(folder / STATE, fingerprint, state, optimizer, progression)
            log.write(record)
            on_epoch(record)
    return progression


def _refuse_apart(team: Alone, epoch: int, folder: Path | None) -> None:
    """Refuse processes that have not read the same state."""
    if team.sums([epoch]) != [epoch * team.world]:
        raise InputError(
            "processes of this training see different states of it",
            where=folder,
            expected="a folder that all of them see",
        )


def _epoch(
    course: Course[Batch],
    steps: Steps[Batch],
    settings: TrainSettings,
    done: int,
    sink: ProgressSink,
) -> dict[str, float]:
    """One epoch of steps, then validation by the first process."""
    started_ms = now_ms()
    _seed_everything(settings.seed, done)
    course.network.train()
    seen = steps.epoch(done, sink)
    trained_ms = now_ms()
    course.network.eval()
    record = {"epoch": done + 1, **seen.record()}
    if steps.team.first:
        record |= course.validate()
        validated_ms = now_ms()
        record |= {
            "learning_rate": steps.rate(done * steps.per_epoch),
            "train_ms": trained_ms - started_ms,
            "validation_ms": validated_ms - trained_ms,
            "samples_per_s": course.samples / (trained_ms - started_ms) * 1000,
        }
    return steps.team.told(record)


def _better(course: Course[Batch], progression: Progression) -> bool:
    """Whether the last epoch is the best."""
    last = progression.history[-1]
    if not progression.best_epoch:
        return True
    return course.merit(last) > course.merit(progression.history[progression.best_epoch - 1])


def _finished(progression: Progression, settings: TrainSettings) -> bool:
    waited = progression.epoch - progression.best_epoch
    return progression.epoch >= settings.num_epochs or waited >= settings.early_stopping


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def _seed_everything(seed: int, epoch: int) -> None:
    """Seed every generator for one epoch: what it draws depends on nothing before it."""
    mixed = int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=4).digest())
    torch.manual_seed(mixed)
    random.seed(mixed)
    np.random.seed(mixed)


class _generators_restored:  # noqa: N801
    """Leave torch's, numpy's and Python's generators as they were found."""

    def __enter__(self) -> None:
        self._found = (torch.get_rng_state(), np.random.get_state(), random.getstate())

    def __exit__(self, *_: object) -> None:
        torch.set_rng_state(self._found[0])
        np.random.set_state(self._found[1])
        random.setstate(self._found[2])
