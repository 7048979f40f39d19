"""The tuning as the loop asks for it: cross entropy of the target's answers, token by token.

Validation counts what the target would accept: chains that follow its words, proposed greedily.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.decoding.chains import chain_forwards
from crossdraft.drafters.trainable import Loss, hits
from crossdraft.training.tuning.lessons import Clip, Lessons
from crossdraft.training.tuning.reader import Asked, labels_of
from crossdraft.training.tuning.settings import TuneConfig
from crossdraft.training.tuning.students import Student

Batch = tuple[Asked, ...]


class TuneCourse:
    """A student, its lessons and its settings.

    Args:
        model: fingerprint of the model that is tuned.
    """

    def __init__(self, student: Student, lessons: Lessons, config: TuneConfig, model: str) -> None:
        self._student, self._lessons, self._config, self._model = student, lessons, config, model
        self.network = student.network
        self.samples = sum(len(clip.turns) for clip in lessons.train)
        self.steps = math.ceil(self.samples / config.settings.batch_size)

    def fingerprint(self) -> str:
        # Where the data lies decides nothing.
        described = self._config.model_dump_json(exclude={"scenes", "pairs"})
        return hashlib.sha256(
            repr((self._model, described, self._lessons.digest)).encode()
        ).hexdigest()

    def batches(self, epoch: int) -> Iterator[Batch]:
        """All answers once: clips in an order of this epoch's own, and the questions of each, so
        that answers about one picture share its reading."""
        clips = self._lessons.train
        order = [
            (place, number)
            for place in torch.randperm(len(clips)).tolist()
            for number in torch.randperm(len(clips[place].turns)).tolist()
        ]
        return self._grouped(clips, order)

    def loss(self, batch: Batch) -> Loss:
        logits = self._student.logits(batch)
        wanted = labels_of(batch).to(logits.device)
        return Loss(functional.cross_entropy(logits, wanted), *hits(logits.detach(), wanted))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and hits on held-out drives; `val_tau` of chains that start on the target's words,
        `val_match` the share of first tokens that are right."""
        value, counts, emitted, forwards = 0.0, [0, 0, 0], 0, 0
        clips = self._lessons.val
        order = [(place, n) for place, clip in enumerate(clips) for n in range(len(clip.turns))]
        for batch in self._grouped(clips, order):
            logits = self._student.logits(batch)
            wanted = labels_of(batch).to(logits.device)
            value += float(functional.cross_entropy(logits, wanted, reduction="sum"))
            counts = [a + b for a, b in zip(counts, hits(logits, wanted), strict=True)]
            said, passes = self._chains(batch, logits.argmax(-1).cpu())
            emitted, forwards = emitted + said, forwards + passes
        tokens, top1, top5 = counts
        return {
            "val_loss": value / tokens,
            "val_top1": top1 / tokens,
            "val_top5": top5 / tokens,
            "val_tau": emitted / forwards,
        }

    def merit(self, record: Mapping[str, float]) -> tuple[float, ...]:
        """By tau, then top-1, then loss."""
        return record["val_tau"], record["val_top1"], -record["val_loss"]

    def on_best(self) -> None:
        """Nothing: the state keeps the best weights."""

    def _grouped(self, clips: Sequence[Clip], order: Sequence[tuple[int, int]]) -> Iterator[Batch]:
        """Batches of so many answers, those of one clip together."""
        size = self._config.settings.batch_size
        for first in range(0, len(order), size):
            rows: dict[int, list[int]] = {}
            for place, number in order[first : first + size]:
                rows.setdefault(place, []).append(number)
            yield tuple((clips[place], tuple(numbers)) for place, numbers in rows.items())

    def _chains(self, batch: Batch, guesses: Tensor) -> tuple[int, int]:
        """Tokens of the answers, and target forwards that decode them. As long as a chain is
        right it has read what it was taught, so its words are the teacher-forced ones."""
        gamma = self._config.settings.gamma
        answers = [clip.turns[n].answer for clip, numbers in batch for n in numbers]
        lengths = np.array([len(answer) for answer in answers])
        target = np.full((len(answers), lengths.max()), -3)
        guessed = np.full((len(answers), lengths.max() + gamma), -1)
        rows = torch.split(guesses, lengths.tolist())
        for row, (answer, said) in enumerate(zip(answers, rows, strict=True)):
            target[row, : len(answer)] = answer
            guessed[row, : len(answer)] = said.numpy()
        proposals = np.lib.stride_tricks.sliding_window_view(guessed, gamma, axis=1)
        forwards = chain_forwards(proposals[:, : lengths.max()], target, lengths)
        return int(lengths.sum()), int(forwards.sum())
