"""The training of one embedded model, as the loop asks for it.

Each step reads some clips with a few of their questions each. An epoch is a fixed number of clips,
not a pass over all: checkpoints come every few minutes whatever the size of the dataset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from crossdraft.drafters.trainable import IGNORE, Loss, hits
from crossdraft.training.embedded.clip_order import ClipOrder
from crossdraft.training.embedded.material import Clip, Material
from crossdraft.training.embedded.misread import Mention, misread, words_of
from crossdraft.training.embedded.packing import Packed, Turn, pack
from crossdraft.training.embedded.repaint import unasked
from crossdraft.training.embedded.side import Side
from crossdraft.training.settings import TrainSettings

#: Attributes whose words are watched on held-out drives.
WATCHED = ("road", "time", "vehicle", "colour", "motion")


@dataclass(frozen=True)
class Pace:
    """How a training is cut up.

    Attributes:
        clips_per_epoch: clips that an epoch reads; a multiple of the batch size.
        questions: of each clip, drawn anew whenever it is read.
        precision: of the products: `bfloat16` (weights and their updates stay in float32) or
            `float32`.
    """

    clips_per_epoch: int
    questions: int
    precision: str = "bfloat16"


@dataclass(frozen=True)
class Read:
    """One batch: packed rows, what the tower sees, and which words of them are watched.

    Attributes:
        seen: [batch, frames, states, tower's width].
        watched: by attribute the (row, position) whose label begins a word that names it.
    """

    packed: Packed
    seen: Tensor
    watched: Mapping[str, list[tuple[int, int]]]


class EmbeddedCourse:
    """One side, its material and its settings."""

    def __init__(
        self,
        side: Side,
        material: Material,
        settings: TrainSettings,
        pace: Pace,
    ) -> None:
        self.side, self.material, self.settings, self.pace = side, material, settings, pace
        self.network: torch.nn.Module = side.network
        self.steps = max(1, pace.clips_per_epoch // settings.batch_size)
        self.samples = self.steps * settings.batch_size
        self._order = ClipOrder(len(material.train), settings.seed)
        # The first hundred steps of a language model would wipe out what the tower has learned.
        side.tower.requires_grad_(False)
        turns = ((t, m) for c in material.train for t, m in zip(c.turns, c.mentions, strict=True))
        self._words = words_of(turns)

    def fingerprint(self) -> str:
        config = self.side.network.config.to_dict()
        # Which release of transformers writes it decides nothing.
        config.pop("transformers_version", None)
        described = (
            self.side.role, sorted(config.items(), key=lambda item: item[0]), asdict(self.pace),
            self.settings.model_dump_json(), self.material.digest,
        )  # fmt: skip
        return hashlib.sha256(repr(described).encode()).hexdigest()

    def batches(self, epoch: int) -> Iterator[Read]:
        """The clips of an epoch: where the last one stopped in an endless row of shuffled passes,
        so that all clips are read equally often."""
        clips, size = self.material.train, self.settings.batch_size
        first = epoch * self.samples
        for start in range(first, first + self.samples, size):
            chosen = [clips[self._order[number]] for number in range(start, start + size)]
            turns = [self._drawn(clip) for clip in chosen]
            hidden = [unasked(clip.left_out) for clip in chosen]
            yield self._read(chosen, turns, hidden)

    def loss(self, batch: Read) -> Loss:
        labels = batch.packed.labels
        logits = self._logits(batch, labels != IGNORE)
        wanted = labels[labels != IGNORE]
        return Loss(functional.cross_entropy(logits, wanted), *hits(logits.detach(), wanted))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss and hits on held-out drives, and how often the words that name what is seen are
        the first candidate when everything before them is right."""
        value, counts = 0.0, [0, 0, 0]
        right, asked = dict.fromkeys(WATCHED, 0), dict.fromkeys(WATCHED, 0)
        for batch in self._held_out():
            labels = batch.packed.labels
            counted = labels != IGNORE
            logits, wanted = self._logits(batch, counted), labels[counted]
            value += float(functional.cross_entropy(logits, wanted, reduction="sum"))
            counts = [a + b for a, b in zip(counts, hits(logits, wanted), strict=True)]
            hit = torch.zeros_like(counted)
            hit[counted] = logits.argmax(-1) == wanted
            for attribute, places in batch.watched.items():
                asked[attribute] += len(places)
                right[attribute] += sum(bool(hit[row, at]) for row, at in places)
        tokens, top1, top5 = counts
        seen = {"val_loss": value / tokens, "val_top1": top1 / tokens, "val_top5": top5 / tokens}
        named = {f"val_{a}": right[a] / asked[a] for a in WATCHED if asked[a]}
        return seen | named

    def merit(self, record: Mapping[str, float]) -> tuple[float, ...]:
        """By loss."""
        return (-record["val_loss"],)

    def on_best(self) -> None:
        """Nothing: the state keeps the best weights."""

    def _logits(self, batch: Read, where: Tensor) -> Tensor:
        """[n, vocab] float32 at chosen positions."""
        half = self.pace.precision == "bfloat16"
        device = self.side.network.device.type
        with torch.autocast(device, dtype=torch.bfloat16, enabled=half):
            states = self.side.states(batch.packed, batch.seen)
            network: Any = self.side.network
            logits: Tensor = network.lm_head(states[where])
        return logits.float()

    def _held_out(self) -> Iterator[Read]:
        """Validation clips, each with as many questions as in training, spread over all."""
        clips, size = self.material.val, self.settings.batch_size
        for start in range(0, len(clips), size):
            chosen = clips[start : start + size]
            yield self._read(chosen, [self._spread(c, start + i) for i, c in enumerate(chosen)])

    def _drawn(self, clip: Clip) -> list[int]:
        return torch.randperm(len(clip.turns))[: self.pace.questions].tolist()

    def _spread(self, clip: Clip, number: int) -> list[int]:
        turns = len(clip.turns)
        return [(number + turn * 3) % turns for turn in range(min(self.pace.questions, turns))]

    def _read(
        self,
        clips: Sequence[Clip],
        turns: Sequence[Sequence[int]],
        hidden: Sequence[frozenset[str]] | None = None,
    ) -> Read:
        """Some turns of some clips; to learn from where it is said what is `hidden` of each."""
        rows = list[list[Turn]]()
        watched: dict[str, list[tuple[int, int]]] = {attribute: [] for attribute in WATCHED}
        for row, (clip, chosen) in enumerate(zip(clips, turns, strict=True)):
            at = len(self.side.prefix)
            rows.append([])
            for number in chosen:
                turn, mentions = clip.turns[number], clip.mentions[number]
                for attribute, token in _first(mentions).items():
                    watched[attribute].append((row, at + len(turn.question) - 1 + token))
                at += len(turn.question) + len(turn.answer) - 1
                if hidden is not None and "colour" in clip.truth:
                    turn = misread(turn, mentions, self._words, hidden[row])
                rows[-1].append(turn)
        seen = self.side.seen(np.concatenate([clip.pictures for clip in clips]))
        by_clip = seen.reshape(len(clips), -1, *seen.shape[1:])
        return Read(pack(self.side.prefix, rows), by_clip, watched)


def _first(mentions: Sequence[Mention]) -> dict[str, int]:
    """Where the first mention of each watched attribute begins, in tokens."""
    return {m.attribute: m.start for m in reversed(mentions) if m.attribute in WATCHED}
