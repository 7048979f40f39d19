"""Fit a drafter to recorded pairs.

Loss and rollouts come from the drafter, the acceptance count from decoding, the epochs from
`epochs.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.drafters.checkpoint import TrainedOn, save_drafter
from crossdraft.drafters.trainable import Loss, TokenBatch, Trainable
from crossdraft.pairs.record import Pair
from crossdraft.training.epochs import STATE, EpochSink, run_epochs
from crossdraft.training.settings import TrainSettings
from crossdraft.training.validation import validate

__all__ = ["BEST", "FINAL", "STATE", "EpochSink", "Trained", "fit"]

BEST, FINAL = "best_model.safetensors", "final_model.safetensors"


@dataclass(frozen=True)
class Trained:
    """How a training went; the drafter itself holds the weights of its best epoch.

    Attributes:
        history: one record per epoch; times in milliseconds.
        best_epoch: number of the best one, by validation tau, then top-1, then loss.
        stopped_early: no better epoch came within the patience.
    """

    history: tuple[dict[str, float], ...]
    best_epoch: int
    stopped_early: bool

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch - 1]


def fit(
    drafter: Trainable,
    train: Sequence[Pair],
    val: Sequence[Pair],
    settings: TrainSettings,
    *,
    folder: Path | None = None,
    export: bool = True,
    task: str = "",
    sink: ProgressSink = silent,
    on_epoch: EpochSink = lambda _: None,
) -> Trained:
    """Train `drafter` on pairs and leave it with the weights of its best epoch.

    Args:
        train, val: pairs that share no clip; `val` decides when to stop and what is best.
        folder: where state, best and final model and the log go; a state found there is resumed.
        export: also write the models, not only the state.
        task: name that the checkpoints carry.

    Raises:
        InputError: nothing to learn or validate on, no such device, a loss that is no number, or
            a state of another run.
    """
    _check(train, val)
    drafter.build(train, settings.seed)
    drafter.network.to(find_device(settings.device))
    exported = folder if export else None
    trained_on = TrainedOn.of([*train, *val], task)
    course = _Course(drafter, train, val, settings, exported, trained_on)
    progression = run_epochs(course, settings, folder=folder, sink=sink, on_epoch=on_epoch)
    if exported is not None:
        save_drafter(drafter, exported / FINAL, trained_on)
    drafter.network.load_state_dict(progression.best_state)
    drafter.network.eval()
    history = tuple(progression.history)
    return Trained(history, progression.best_epoch, len(history) < settings.num_epochs)


class _Course:
    """A drafter and its pairs, as the loop asks for them."""

    def __init__(
        self,
        drafter: Trainable,
        train: Sequence[Pair],
        val: Sequence[Pair],
        settings: TrainSettings,
        exported: Path | None,
        trained_on: TrainedOn,
    ) -> None:
        self._drafter, self._train, self._val, self._settings = drafter, train, val, settings
        self._exported, self._trained_on = exported, trained_on
        self.network = drafter.network
        self.samples = len(train)
        self.steps = math.ceil(len(train) / settings.batch_size)
        self._held_out = list(self._batches(val, range(len(val))))

    def fingerprint(self) -> str:
        drafter, digest = self._drafter, hashlib.sha256()
        # Runs that were begun before there was a warm-up go on.
        late = {"warmup"} if not self._settings.warmup else set()
        settings = self._settings.model_dump_json(exclude=late)
        described = (drafter.name, sorted(drafter.options().items()), settings)
        digest.update(repr(described).encode())
        for part in (self._train, self._val):
            for pair in part:
                row = (pair.clip, pair.question, pair.draft_tokens, pair.target_tokens)
                digest.update(repr(row).encode())
            digest.update(b"|")
        return digest.hexdigest()

    def batches(self, epoch: int) -> Iterator[TokenBatch]:
        """One pass over the training pairs, in an order of this epoch's own."""
        return self._batches(self._train, torch.randperm(len(self._train)).tolist())

    def loss(self, batch: TokenBatch) -> Loss:
        return self._drafter.loss(batch)

    def validate(self) -> dict[str, float]:
        seen = validate(self._drafter, self._held_out, self._settings.gamma)
        return {
            "val_loss": seen.loss,
            "val_top1": seen.top1,
            "val_top5": seen.top5,
            "val_tau": seen.tau,
        }

    def merit(self, record: Mapping[str, float]) -> tuple[float, ...]:
        """By tau, then top-1, then loss."""
        return record["val_tau"], record["val_top1"], -record["val_loss"]

    def on_best(self) -> None:
        if self._exported is not None:
            save_drafter(self._drafter, self._exported / BEST, self._trained_on)

    def _batches(self, pairs: Sequence[Pair], order: Sequence[int]) -> Iterator[TokenBatch]:
        length = self._drafter.max_length
        pad_to = length if self._settings.padding == "full" else None
        for first in range(0, len(order), self._settings.batch_size):
            chosen = [pairs[place] for place in order[first : first + self._settings.batch_size]]
            yield TokenBatch.of(chosen, length, pad_to).to(self._drafter.device)


def _check(train: Sequence[Pair], val: Sequence[Pair]) -> None:
    if not train:
        raise InputError("no pairs to train on")
    if not any(pair.target_tokens for pair in val):
        raise InputError("no pairs to validate on", hint="more clips, or a larger --val-split")
