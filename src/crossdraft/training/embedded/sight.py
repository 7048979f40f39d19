"""First lesson of a vision tower: to tell what is where, as the drive's ground truth says it.

The towers of the published models had learned to see (CLIP) long before a language model read them.
This stands in for that. Each patch of a single frame tells who is in it, and a learned query over
all patches tells what the whole frame shows. It costs a small part of what reading answers through
the language model does, and the heads are thrown away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from crossdraft.drafters.trainable import IGNORE, Loss, hits
from crossdraft.scenes.drive.world import WHOSE
from crossdraft.training.embedded.clip_order import ClipOrder
from crossdraft.training.embedded.folder import PIXELS
from crossdraft.training.embedded.material import Clip, Material
from crossdraft.training.embedded.repaint import unasked
from crossdraft.training.embedded.side import Side
from crossdraft.training.settings import TrainSettings
from crossdraft.vlm.pixels import preprocess

#: What a patch tells of whoever is in it, beside whether they are the first or the second.
OF_SOMEONE = ("vehicle", "colour", "motion", "side", "near")
OWNER = "owner"
_HEADS = 4

#: By name of a head, its values.
Values = Mapping[str, tuple[str, ...]]


class Sight(nn.Module):
    """A tower with heads.

    Args:
        tower: CLIP's; both models read its states before the last norm, the class token first.
        patch: what patches tell.
        whole: what the frame as a whole tells: one learned query for each looks over all states.
        width: of the tower.
    """

    def __init__(self, tower: nn.Module, patch: Values, whole: Values, width: int) -> None:
        super().__init__()
        self.tower = tower
        self.norm = nn.LayerNorm(width)
        self.of_patch = nn.ModuleList([nn.Linear(width, len(known)) for known in patch.values()])
        self.queries = nn.Parameter(0.02 * torch.randn(len(whole), width))
        self.look = nn.MultiheadAttention(width, _HEADS, batch_first=True)
        self.of_whole = nn.ModuleList([nn.Linear(width, len(known)) for known in whole.values()])

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """[frames, 3, height, width] -> [frames, patches, values] for each head of patches, then
        [frames, values] for each head of the whole."""
        states = self.norm(self.tower(pixels).last_hidden_state)
        queries = self.queries.expand(len(pixels), -1, -1)
        found, _ = self.look(queries, states, states, need_weights=False)
        patches = [head(states[:, 1:]) for head in self.of_patch]
        return patches + [head(found[:, i]) for i, head in enumerate(self.of_whole)]


@dataclass(frozen=True)
class Looked:
    """A batch of frames.

    Attributes:
        pixels: [frames, 3, height, width] float32.
        labels: by head, int64 [frames, patches] or [frames]; `IGNORE` where nothing is told.
    """

    pixels: Tensor
    labels: tuple[Tensor, ...]


class SightCourse:
    """The tower of one side, its clips and its settings.

    Args:
        clips_per_epoch: that an epoch reads, one frame of each.
    """

    def __init__(
        self, side: Side, material: Material, settings: TrainSettings, clips_per_epoch: int
    ) -> None:
        self.side, self.material, self.settings = side, material, settings
        self.steps = max(1, clips_per_epoch // settings.batch_size)
        self.samples = self.steps * settings.batch_size
        self._order = ClipOrder(len(material.train), settings.seed)
        self._patch, self._whole = _values(material.train)
        tower: Any = side.tower.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            width = tower.config.hidden_size
            self.network: nn.Module = Sight(tower, self._patch, self._whole, width)

    def fingerprint(self) -> str:
        described = (
            "sight", self.side.role, self.samples, self._patch, self._whole,
            self.settings.model_dump_json(), self.material.digest,
        )  # fmt: skip
        return hashlib.sha256(repr(described).encode()).hexdigest()

    def batches(self, epoch: int) -> Iterator[Looked]:
        first, size = epoch * self.samples, self.settings.batch_size
        for start in range(first, first + self.samples, size):
            clips = [self.material.train[self._order[n]] for n in range(start, start + size)]
            frames = [int(torch.randint(len(clip.pictures), ())) for clip in clips]
            yield self._looked(clips, frames, [unasked(clip.left_out) for clip in clips])

    def loss(self, batch: Looked) -> Loss:
        logits = self._logits(batch)
        value = self._loss(logits, batch.labels)
        counted = [hits(f.detach(), wanted) for f, wanted in zip(logits, batch.labels, strict=True)]
        tokens, top1, top5 = (sum(column) for column in zip(*counted, strict=True))
        return Loss(value, tokens, top1, top5)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Loss, and for each head the share that it tells rightly, on held-out drives."""
        clips, size = self.material.val, self.settings.batch_size
        names = (*self._patch, *(f"whole {name}" for name in self._whole))
        right, asked = [0] * len(names), [0] * len(names)
        total = 0.0
        for start in range(0, len(clips), size):
            chosen = clips[start : start + size]
            frames = [(start + i) % len(clip.pictures) for i, clip in enumerate(chosen)]
            batch = self._looked(chosen, frames)
            logits = self._logits(batch)
            total += float(self._loss(logits, batch.labels)) * len(chosen)
            for place, (found, wanted) in enumerate(zip(logits, batch.labels, strict=True)):
                count, top1, _ = hits(found, wanted)
                asked[place] += count
                right[place] += top1
        told = {
            f"val_{name}": right[place] / asked[place]
            for place, name in enumerate(names)
            if asked[place]
        }
        return {"val_loss": total / len(clips)} | told

    def merit(self, record: Mapping[str, float]) -> tuple[float, ...]:
        """By loss."""
        return (-record["val_loss"],)

    def on_best(self) -> None:
        """Nothing: the state keeps the best weights."""

    def _loss(self, logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
        """Patches count as much as the whole frame, though it has more heads."""
        of_patch = len(self._patch)
        patches = list(_losses(logits[:of_patch], labels[:of_patch]))
        whole = list(_losses(logits[of_patch:], labels[of_patch:]))
        told = [torch.stack(losses).mean() for losses in (patches, whole) if losses]
        return torch.stack(told).mean()

    def _logits(self, batch: Looked) -> list[Tensor]:
        with torch.autocast(batch.pixels.device.type, dtype=torch.bfloat16):
            found: list[Tensor] = self.network(batch.pixels)
        return [logits.float() for logits in found]

    def _looked(
        self,
        clips: Sequence[Clip],
        frames: Sequence[int],
        hidden: Sequence[frozenset[str]] | None = None,
    ) -> Looked:
        """One frame of each clip; `hidden`: of each, what is not asked for."""
        told = [
            {name: value for name, value in clip.truth.items() if name not in out}
            for clip, out in zip(clips, hidden or [frozenset()] * len(clips), strict=True)
        ]
        shown = np.stack([clip.pictures[f] for clip, f in zip(clips, frames, strict=True)])
        owners = torch.from_numpy(
            np.stack([clip.owners[f] for clip, f in zip(clips, frames, strict=True)])
        )
        labels = [owners]
        for name, known in self._patch.items():
            if name == OWNER:
                continue
            rows = [
                [IGNORE, *(_label(known, truth.get(whose + name)) for whose in WHOSE)]
                for truth in told
            ]
            labels.append(torch.tensor(rows).gather(1, owners))
        labels += [
            torch.tensor([_label(known, truth.get(name)) for truth in told])
            for name, known in self._whole.items()
        ]
        return Looked(preprocess(shown, PIXELS), tuple(labels))


def _losses(logits: Sequence[Tensor], labels: Sequence[Tensor]) -> Iterator[Tensor]:
    """Of each head that has something to tell; each counts alike, however often that is."""
    for found, wanted in zip(logits, labels, strict=True):
        told = wanted != IGNORE
        if told.any():
            yield functional.cross_entropy(found[told], wanted[told])


def _values(clips: Sequence[Clip]) -> tuple[Values, Values]:
    """What patches and what whole frames tell; what has one value teaches nothing."""
    found: dict[str, set[str]] = {}
    for clip in clips:
        for name, value in clip.truth.items():
            found.setdefault(name, set()).add(value)
    known = {name: tuple(sorted(values)) for name, values in sorted(found.items())}
    patch: dict[str, tuple[str, ...]] = {OWNER: ("nobody", "first", "second")}
    patch |= {name: known[name] for name in OF_SOMEONE if len(known.get(name, ())) > 1}
    whole = {name: values for name, values in known.items() if len(values) > 1}
    return patch, whole


def _label(known: Sequence[str], value: str | None) -> int:
    return known.index(value) if value in known else IGNORE
