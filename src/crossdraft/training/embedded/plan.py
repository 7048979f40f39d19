"""What the training of the embedded pair is asked to do: data, steps, rates; and the short form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from crossdraft.training.embedded.course import Pace
from crossdraft.training.settings import TrainSettings
from crossdraft.vlm.model_spec import Role


@dataclass(frozen=True)
class Lessons:
    """Data of both models.

    Attributes:
        drives, clips_per_drive: training scenes.
        test_drives, test_clips: drives to score on, and clips of each.
        val_share: of the training clips, held out by whole drives.
        most_val: clips that validation reads after each epoch.
        max_new_tokens: longest answer when both models are scored.
    """

    drives: int = 480
    clips_per_drive: int = 10
    test_drives: int = 20
    test_clips: int = 10
    val_share: float = 0.05
    most_val: int = 96
    max_new_tokens: int = 80


@dataclass(frozen=True)
class EmbeddedPlan:
    """A whole training.

    Attributes:
        seed: of the drives, of the weights and of the order in which clips are read.
        sight: of the loop while the tower learns to see, by model; an epoch is a pass.
        settings: of the loop while the whole model learns to answer.
        pace: how that is cut up.
        smoke: whether it is the short form.
    """

    seed: int
    lessons: Lessons
    sight: Mapping[Role, TrainSettings]
    settings: Mapping[Role, TrainSettings]
    pace: Mapping[Role, Pace]
    smoke: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "seed": self.seed,
            "smoke": self.smoke,
            "lessons": self.lessons.__dict__,
            **{
                role: {
                    "sight": self.sight[role].model_dump(),
                    **self.pace[role].__dict__,
                    **self.settings[role].model_dump(),
                }
                for role in self.settings
            },
        }


def full_plan(seed: int) -> EmbeddedPlan:
    """The training of the shipped pair."""
    passes: dict[Role, int] = {"target": 42, "drafter": 64}
    epochs: dict[Role, int] = {"target": 11, "drafter": 12}
    return EmbeddedPlan(
        seed,
        Lessons(),
        MappingProxyType({role: _settings(seed, n, 64) for role, n in passes.items()}),
        MappingProxyType({role: _settings(seed, n, 8) for role, n in epochs.items()}),
        MappingProxyType({"target": Pace(800, 4), "drafter": Pace(1200, 4)}),
    )


def smoke_plan(seed: int) -> EmbeddedPlan:
    """A few steps on a few clips: shows that everything works, and learns nothing."""
    roles: tuple[Role, ...] = ("target", "drafter")
    return EmbeddedPlan(
        seed,
        Lessons(3, 2, 2, 1, val_share=0.3, most_val=2, max_new_tokens=12),
        MappingProxyType({role: _settings(seed, 1, 2) for role in roles}),
        MappingProxyType({role: _settings(seed, 2, 2) for role in roles}),
        MappingProxyType({role: Pace(4, 2) for role in roles}),
        smoke=True,
    )


def _settings(seed: int, epochs: int, batch_size: int) -> TrainSettings:
    return TrainSettings(
        num_epochs=epochs, batch_size=batch_size, learning_rate=1e-3, weight_decay=0.05,
        warmup=0.05, early_stopping=epochs, seed=seed, device="cpu",
    )  # fmt: skip
