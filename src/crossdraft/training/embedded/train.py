"""Train one embedded model from scratch and write its folder.

Both models go through the project's own loop, so a killed training goes on from its last epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.base.progress import ProgressSink, silent
from crossdraft.base.result import machine, package_versions
from crossdraft.training.checkpoint import Progression
from crossdraft.training.embedded.course import EmbeddedCourse
from crossdraft.training.embedded.folder import write_weights
from crossdraft.training.embedded.material import Material, read_material
from crossdraft.training.embedded.plan import EmbeddedPlan
from crossdraft.training.embedded.side import Side
from crossdraft.training.embedded.sight import SightCourse
from crossdraft.training.epochs import EpochSink, run_epochs
from crossdraft.training.settings import TrainSettings
from crossdraft.vlm.model_spec import Role

#: Below the pair's folder: state and log of each training.
RUNS = "training"
#: In the model's folder: what happened in each epoch.
HISTORY = "history.json"


@dataclass(frozen=True)
class TrainedSide:
    """One trained model.

    Attributes:
        folder: of the model.
        sight: one record per pass of the tower's own lesson; times in milliseconds.
        history: one record per epoch of the whole model's.
        best_epoch: whose weights were kept, by validation loss.
        made: when and with what it was trained, on what: plain JSON.
    """

    folder: Path
    sight: tuple[dict[str, float], ...]
    history: tuple[dict[str, float], ...]
    best_epoch: int
    made: Mapping[str, Any]

    @property
    def best(self) -> dict[str, float]:
        return self.history[self.best_epoch - 1]


def _learn_to_see(
    side: Side, material: Material, settings: TrainSettings, run: Path, sink: ProgressSink
) -> Progression:
    """Leave the side's tower with the weights that saw best."""
    course = SightCourse(side, material, settings, len(material.train))
    progression = run_epochs(course, settings, folder=run, sink=sink)
    course.network.load_state_dict(progression.best_state)
    return progression


def train_side(
    role: Role,
    out: Path,
    scenes: Path,
    plan: EmbeddedPlan,
    *,
    sink: ProgressSink = silent,
    on_epoch: EpochSink = lambda _: None,
) -> TrainedSide:
    """Train one model; the weights of its best epoch are written to `out/<role>`.

    Args:
        out: the pair's folder; a training found there is resumed.
        scenes: dataset that brings answers.

    Raises:
        InputError: the dataset cannot be learned from, or `out` holds another training.
    """
    folder = _folder(out / role)
    side = Side.start(role, folder, plan.seed)
    lessons = plan.lessons
    material = read_material(
        side, scenes, val_share=lessons.val_share, most_val=lessons.most_val, seed=plan.seed,
        progress=sink,
    )  # fmt: skip
    settings = plan.settings[role]
    sight = _learn_to_see(
        side, material, plan.sight[role], _folder(out / RUNS / f"{role}-tower"), sink
    )
    course = EmbeddedCourse(side, material, settings, plan.pace[role])
    run = _folder(out / RUNS / role)
    progression = run_epochs(course, settings, folder=run, sink=sink, on_epoch=on_epoch)
    write_weights(folder, side.network, progression.best_state)
    curves = {"tower": sight.history, "epochs": progression.history}
    made = _known(folder, curves) or _made_now(side, material)
    write_json(folder / HISTORY, {"made": made, "best_epoch": progression.best_epoch, **curves})
    return TrainedSide(
        folder, tuple(sight.history), tuple(progression.history), progression.best_epoch, made
    )


def _made_now(side: Side, material: Material) -> dict[str, Any]:
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "threads": torch.get_num_threads(),
        "packages": package_versions(),
        "parameters": sum(weight.numel() for weight in side.network.parameters()),
        "drives": material.drives,
        "train_clips": len(material.train),
        "val_clips": len(material.val),
        "fingerprint": material.fingerprint,
    }


def _known(folder: Path, curves: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an earlier call has written, where this one has trained nothing."""
    path = folder / HISTORY
    if not path.is_file():
        return None
    before = Item(parse_json(read_text(path), path), path, "the history").value
    same = all(before.get(name) == curve for name, curve in curves.items())
    return dict(before["made"]) if same and isinstance(before.get("made"), dict) else None


def _folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot be made ({error.strerror})",
            where=path,
            expected="a folder that can be written",
        ) from error
    return path
