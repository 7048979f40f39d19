"""The training loop: epochs, validation, early stopping, checkpoints. It only loops.

Loss and rollouts come from the drafter, the acceptance count from decoding. A run that was killed
goes on from its last finished epoch and ends bit for bit as if it had not been (on the same CPU
and thread count).
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from crossdraft.base.clock import now_ms
from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress, ProgressSink, silent
from crossdraft.drafters.checkpoint import TrainedOn, save_drafter
from crossdraft.drafters.trainable import TokenBatch, Trainable
from crossdraft.pairs.record import Pair
from crossdraft.training.checkpoint import Progression, load_state, save_state
from crossdraft.training.log import RunLog
from crossdraft.training.settings import TrainSettings
from crossdraft.training.validation import validate

STATE, BEST, FINAL = "state.safetensors", "best_model.safetensors", "final_model.safetensors"

#: Called after each epoch with its record.
EpochSink = Callable[[dict[str, float]], None]


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
    device = find_device(settings.device)
    drafter.build(train, settings.seed)
    drafter.network.to(device)
    weights = [w for w in drafter.network.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    fingerprint = _fingerprint(drafter, train, val, settings)
    progression = Progression()
    if folder is not None and (folder / STATE).exists():
        state, progression = load_state(folder / STATE, fingerprint, optimizer)
        drafter.network.load_state_dict(state)
    trained_on = TrainedOn.of([*train, *val], task)
    held_out = list(_batches(val, range(len(val)), drafter, settings, device))
    with RunLog(folder, progression.history) as log, _generators_restored():
        while not _finished(progression, settings):
            record = _epoch(drafter, train, held_out, optimizer, settings, progression.epoch, sink)
            progression.history.append(record)
            if _better(progression):
                progression.best_epoch = progression.epoch
                progression.best_state = _copy(drafter)
                if folder is not None and export:
                    save_drafter(drafter, folder / BEST, trained_on)
            if folder is not None:
                state = drafter.network.state_dict()
                save_state(folder / STATE, fingerprint, state, optimizer, progression)
            log.write(record)
            on_epoch(record)
    if folder is not None and export:
        save_drafter(drafter, folder / FINAL, trained_on)
    drafter.network.load_state_dict(progression.best_state)
    drafter.network.eval()
    history = tuple(progression.history)
    return Trained(history, progression.best_epoch, len(history) < settings.num_epochs)


def _epoch(
    drafter: Trainable,
    train: Sequence[Pair],
    held_out: Sequence[TokenBatch],
    optimizer: torch.optim.Optimizer,
    settings: TrainSettings,
    done: int,
    sink: ProgressSink,
) -> dict[str, float]:
    """One pass over the training pairs, then validation."""
    started_ms = now_ms()
    _seed_everything(settings.seed, done)
    order = torch.randperm(len(train)).tolist()
    steps = math.ceil(len(train) / settings.batch_size)
    drafter.network.train()
    loss, tokens, top1, top5 = 0.0, 0, 0, 0
    stage = f"epoch {done + 1}"
    for step, batch in enumerate(_batches(train, order, drafter, settings, drafter.device)):
        _set_rate(optimizer, settings, done * steps + step, steps)
        optimizer.zero_grad(set_to_none=True)
        said = drafter.loss(batch)
        value = float(said.value.detach())
        if not math.isfinite(value):
            raise InputError(
                f"the loss is {value} in epoch {done + 1}, step {step + 1}",
                hint="a smaller --learning-rate",
            )
        said.value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(drafter.network.parameters(), settings.clip_norm)
        optimizer.step()
        loss += value * said.tokens
        tokens, top1, top5 = tokens + said.tokens, top1 + said.top1, top5 + said.top5
        sink(Progress(stage, step + 1, steps))
    trained_ms = now_ms()
    seen = validate(drafter, held_out, settings.gamma)
    validated_ms = now_ms()
    return {
        "epoch": done + 1,
        "train_loss": loss / tokens,
        "train_top1": top1 / tokens,
        "train_top5": top5 / tokens,
        "val_loss": seen.loss,
        "val_top1": seen.top1,
        "val_top5": seen.top5,
        "val_tau": seen.tau,
        "learning_rate": _rate(settings, done * steps, steps),
        "train_ms": trained_ms - started_ms,
        "validation_ms": validated_ms - trained_ms,
        "samples_per_s": len(train) / (trained_ms - started_ms) * 1000,
    }


def _batches(
    pairs: Sequence[Pair],
    order: Sequence[int],
    drafter: Trainable,
    settings: TrainSettings,
    device: torch.device,
) -> Iterator[TokenBatch]:
    length = drafter.max_length
    pad_to = length if settings.padding == "full" else None
    for first in range(0, len(order), settings.batch_size):
        chosen = [pairs[place] for place in order[first : first + settings.batch_size]]
        yield TokenBatch.of(chosen, length, pad_to).to(device)


def _rate(settings: TrainSettings, step: int, steps_per_epoch: int) -> float:
    """Cosine from the given rate to zero over all steps."""
    share = step / (settings.num_epochs * steps_per_epoch)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * share))


def _set_rate(
    optimizer: torch.optim.Optimizer, settings: TrainSettings, step: int, steps_per_epoch: int
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = _rate(settings, step, steps_per_epoch)


def _better(progression: Progression) -> bool:
    """Whether the last epoch is the best: by tau, then top-1, then loss; the earlier wins a tie."""
    last = progression.history[-1]
    if not progression.best_epoch:
        return True
    return _merit(last) > _merit(progression.history[progression.best_epoch - 1])


def _merit(record: Mapping[str, float]) -> tuple[float, float, float]:
    return record["val_tau"], record["val_top1"], -record["val_loss"]


def _finished(progression: Progression, settings: TrainSettings) -> bool:
    waited = progression.epoch - progression.best_epoch
    return progression.epoch >= settings.num_epochs or waited >= settings.early_stopping


def _copy(drafter: Trainable) -> dict[str, Tensor]:
    state = drafter.network.state_dict()
    return {name: value.detach().clone() for name, value in state.items()}


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


def _check(train: Sequence[Pair], val: Sequence[Pair]) -> None:
    if not train:
        raise InputError("no pairs to train on")
    if not any(pair.target_tokens for pair in val):
        raise InputError("no pairs to validate on", hint="more clips, or a larger --val-split")


def _fingerprint(
    drafter: Trainable, train: Sequence[Pair], val: Sequence[Pair], settings: TrainSettings
) -> str:
    """Digest of everything that decides the outcome."""
    digest = hashlib.sha256()
    described = (drafter.name, sorted(drafter.options().items()), settings.model_dump_json())
    digest.update(repr(described).encode())
    for part in (train, val):
        for pair in part:
            row = (pair.clip, pair.question, pair.draft_tokens, pair.target_tokens)
            digest.update(repr(row).encode())
        digest.update(b"|")
    return digest.hexdigest()
