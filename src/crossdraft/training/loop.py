"""Fit a drafter to recorded pairs.

Loss and rollouts come from the drafter, the acceptance count from decoding, the epochs from
`epochs.py`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from crossdraft.base.ahead import ahead, closed
from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.drafters.checkpoint import TrainedOn, save_drafter
from crossdraft.drafters.trainable import Loss, TokenBatch, Trainable
from crossdraft.pairs.record import Pair
from crossdraft.pairs.thoughts import thoughts_of
from crossdraft.training.epochs import STATE, EpochSink, run_epochs
from crossdraft.training.settings import TrainSettings
from crossdraft.training.team import Alone
from crossdraft.training.validation import validate

__all__ = ["BEST", "FINAL", "STATE", "EpochSink", "Trained", "fit"]

#: Batches that are read ahead on an accelerator, where they carry states.
_AHEAD = 2
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
    team: Alone | None = None,
) -> Trained:
    """Train `drafter` on pairs and leave it with the weights of its best epoch.

    Args:
        train, val: pairs that share no clip; `val` decides when to stop and what is best.
        folder: where state, best and final model and the log go; a state found there is resumed.
        export: also write the models, not only the state.
        task: name that the checkpoints carry.
        team: the processes that train together; the first one writes.

    Raises:
        InputError: nothing to learn or validate on, no such device, a loss that is no number, or
            a state of another run.
    """
    _check(train, val)
    team = team or Alone()
    drafter.build(train, settings.seed)
    drafter.network.to(team.device(find_device(settings.device)))
    exported = folder if export else None
    trained_on = TrainedOn.of([*train, *val], task)
    course = _Course(drafter, train, val, settings, exported, trained_on, team)
    progression = run_epochs(
        course, settings, folder=folder, sink=sink, on_epoch=on_epoch, team=team
    )
    if exported is not None and team.first:
        save_drafter(drafter, exported / FINAL, trained_on)
    drafter.network.load_state_dict(progression.best_state)
    drafter.network.eval()
    history = tuple(progression.history)
    return Trained(history, progression.best_epoch, len(history) < settings.num_epochs)


@dataclass(frozen=True, eq=False)
class _Share:
    """What one process sees of a batch.

    Attributes:
        idle: the batch has fewer answers than there are processes: this one goes along with an
            answer that does not count.
    """

    batch: TokenBatch
    idle: bool = False


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
        team: Alone,
    ) -> None:
        self._drafter, self._train, self._val, self._settings = drafter, train, val, settings
        self._exported, self._trained_on, self._team = exported, trained_on, team
        self.network = drafter.network
        self.samples = len(train)
        self._together = settings.batch_size * team.world
        self.steps = math.ceil(len(train) / self._together)
        # States of all held-out answers would not fit; they are read anew each time.
        self._streamed = any(need.endswith("_states") for need in drafter.batch_needs)
        # On a CPU a thread that reads takes more than it gives: torch's threads of two callers
        # fight for the same cores, and steps took 1.7 times as long (2 cores, torch 2.13).
        self._ahead = self._streamed and drafter.device.type != "cpu"
        self._held_out = None if self._streamed else list(self._held_out_batches())

    def fingerprint(self) -> str:
        drafter, digest = self._drafter, hashlib.sha256()
        # Runs that were begun before there was a warm-up, say, go on.
        late = {
            name for name in ("warmup", "accumulate", "precision")
            if getattr(self._settings, name) == TrainSettings.model_fields[name].default
        }  # fmt: skip
        settings = self._settings.model_dump_json(exclude=late)
        described = (drafter.name, sorted(drafter.options().items()), settings)
        digest.update(repr(described).encode())
        if self._team.world > 1:
            digest.update(f"{self._team.world} processes".encode())
        for part in (self._train, self._val):
            for pair in part:
                row = (pair.clip, pair.question, pair.draft_tokens, pair.target_tokens)
                digest.update(repr(row).encode())
            digest.update(b"|")
            for pair in (part[0], part[-1]) if self._streamed else ():
                _add_thoughts(digest, pair)
        return digest.hexdigest()

    def batches(self, epoch: int) -> Iterator[_Share]:
        """One pass over the training pairs, in an order of this epoch's own, which all processes
        share."""
        order, team = torch.randperm(len(self._train)).tolist(), self._team
        if team.rank:
            # What is dropped out differs from process to process.
            torch.manual_seed(torch.initial_seed() + team.rank)
        shares = (self._share(order[first : first + self._together])
                  for first in range(0, len(order), self._together))  # fmt: skip
        return ahead(shares, _AHEAD) if self._ahead else shares

    def _share(self, together: Sequence[int]) -> _Share:
        mine = together[self._team.rank :: self._team.world]
        needs = self._drafter.loss_needs
        return _Share(self._batch(self._train, mine or together[:1], needs), idle=not mine)

    def loss(self, share: _Share) -> Loss:
        said = self._drafter.loss(share.batch.to(self._drafter.device))
        if not share.idle:
            return said
        return replace(said, value=said.value * 0.0, tokens=0, top1=0, top5=0)

    def validate(self) -> dict[str, float]:
        held_out = self._held_out_batches() if self._held_out is None else self._held_out
        with closed(held_out) as batches:
            seen = validate(self._drafter, batches, self._settings.gamma)
        return {
            "val_loss": seen.loss,
            "val_top1": seen.top1,
            "val_top5": seen.top5,
            "val_tau": seen.tau,
            **{f"val_{name}": value for name, value in seen.states.items()},
        }

    def merit(self, record: Mapping[str, float]) -> tuple[float, ...]:
        """By tau, then top-1, then loss."""
        return record["val_tau"], record["val_top1"], -record["val_loss"]

    def on_best(self) -> None:
        if self._exported is not None:
            save_drafter(self._drafter, self._exported / BEST, self._trained_on)

    def _held_out_batches(self) -> Iterator[TokenBatch]:
        size, device, needs = (
            self._settings.batch_size,
            self._drafter.device,
            self._drafter.batch_needs,
        )
        batches = (
            self._batch(self._val, range(first, min(first + size, len(self._val))), needs)
            for first in range(0, len(self._val), size)
        )
        with closed(ahead(batches, _AHEAD) if self._ahead else batches) as made:
            for batch in made:
                yield batch.to(device)

    def _batch(
        self, pairs: Sequence[Pair], chosen: Sequence[int], needs: frozenset[str]
    ) -> TokenBatch:
        length = self._drafter.max_length
        pad_to = length if self._settings.padding == "full" else None
        return TokenBatch.of([pairs[place] for place in chosen], length, pad_to, needs)


def _add_thoughts(digest: hashlib._Hash, pair: Pair) -> None:
    """States of one pair, and what the head says of one: other states, the same words differ."""
    thoughts = thoughts_of(pair)
    for kind in sorted(thoughts.kinds):
        digest.update(thoughts.states(kind).numpy().tobytes())
    if len(states := thoughts.states("target")):
        digest.update(thoughts.head.logits(states[:1]).float().numpy().tobytes())


def _check(train: Sequence[Pair], val: Sequence[Pair]) -> None:
    if not train:
        raise InputError("no pairs to train on")
    if not any(pair.target_tokens for pair in val):
        raise InputError("no pairs to validate on", hint="more clips, or a larger --val-split")
