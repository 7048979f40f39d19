"""The state of a training between two epochs: one safetensors file, written atomically.

Every epoch seeds its own generators from the run's seed and its number, so no generator state has
to be kept: weights, optimizer and history are all that the next epoch depends on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path
from crossdraft.base.safe_load import load_tensors

FORMAT = "crossdraft.training/1"


@dataclass
class Progression:
    """How far a training has come.

    Attributes:
        history: one record per finished epoch.
        best_epoch: number of the best epoch so far, 0 before the first.
        best_state: weights of the best epoch.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    best_state: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)


def save_state(
    path: Path,
    fingerprint: str,
    network: Mapping[str, Tensor],
    optimizer: Optimizer,
    progression: Progression,
) -> None:
    """Write everything that the next epoch depends on.

    Args:
        fingerprint: of configuration and data; a resumed run must have the same.
    """
    from safetensors.torch import save_file

    tensors = {f"network.{name}": value for name, value in network.items()}
    tensors |= {f"best.{name}": value for name, value in progression.best_state.items()}
    for number, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in values.items()}
    about = {
        "format": FORMAT,
        "fingerprint": fingerprint,
        "history": json.dumps(progression.history),
        "best_epoch": str(progression.best_epoch),
    }
    # Cloned: safetensors refuses tensors that share memory, as a tied head does.
    owned = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(owned, temporary, metadata=about)


def load_state(
    path: Path, fingerprint: str, optimizer: Optimizer
) -> tuple[dict[str, Tensor], Progression]:
    """Read what `save_state` wrote and fill the optimizer.

    Returns:
        The network's state and the progression.

    Raises:
        InputError: damaged, or written by a run with another configuration or other data.
    """
    from safetensors import safe_open

    tensors = load_tensors(path)
    assert isinstance(tensors, dict)
    with safe_open(path, framework="pt") as stored:
        about: dict[str, str] = stored.metadata() or {}
    if about.get("format") != FORMAT:
        raise InputError("not the state of a training", where=path)
    if about["fingerprint"] != fingerprint:
        raise InputError(
            "this training was started with other options, other data or another version",
            where=path.parent,
            expected="the same call as before",
            hint="name another folder with --out, or delete this one",
        )
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
    for name, value in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = value
    filled = optimizer.state_dict()
    filled["state"] = _by_parameter(parts["optimizer"])
    optimizer.load_state_dict(filled)
    progression = Progression(json.loads(about["history"]), int(about["best_epoch"]), parts["best"])
    return parts["network"], progression


def _by_parameter(flat: Mapping[str, Tensor]) -> dict[int, dict[str, Any]]:
    grouped: dict[int, dict[str, Any]] = {}
    for name, value in flat.items():
        number, _, entry = name.partition(".")
        grouped.setdefault(int(number), {})[entry] = value
    return grouped
