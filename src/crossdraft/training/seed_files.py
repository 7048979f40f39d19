"""A training of the ladder in the seed study's files: `history.json` and `config.json`.

Same names, same shapes, so that whatever reads those reads these. What the study wrote as constants
comes from the data here; what it could not know is beside it under names of our own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossdraft.base.files import write_json
from crossdraft.drafters.states import StateDrafter
from crossdraft.drafters.trainable import Trainable

HISTORY, CONFIG = "history.json", "config.json"
_SIZES = ("bottleneck_dim", "num_blocks", "num_heads", "num_layers", "ffn_dim")


def write_seed_files(drafter: Trainable, result: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write both files beside the result, for drafters that predict states.

    Args:
        result: the content of result.json.

    Returns:
        The files written, none for other drafters.
    """
    if not isinstance(drafter, StateDrafter):
        return []
    write_json(folder / HISTORY, history_lists(result["history"]))
    write_json(folder / CONFIG, _config(drafter, result))
    return [folder / HISTORY, folder / CONFIG]


def history_lists(history: list[dict[str, float]]) -> dict[str, list[float | None]]:
    """One list per figure, one entry per epoch; None where an epoch has no such figure."""
    names = dict.fromkeys(name for record in history for name in record)
    return {name: [record.get(name) for record in history] for name in names}


def _config(drafter: StateDrafter, result: Mapping[str, Any]) -> dict[str, Any]:
    config, data = result["config"], result["data"]
    settings, options = config["settings"], drafter.options()
    widths = drafter.describe().get("widths", {})
    return {
        "task": result["task"],
        "vlm_only": not drafter.reads("own") - {"target_states"},
        "adapter": {
            "level": getattr(drafter, "level", None),
            "name": getattr(drafter, "seed_name", drafter.name),
            "hidden_dim": widths.get("hidden"),
            **{size: options.get(size) for size in _SIZES},
            "params": drafter.parameters,
        },
        "data": {
            "train_path": config["pairs"],
            "val_path": config["val_pairs"],
            "train_samples": data["train_pairs"],
            "val_samples": data["val_pairs"],
            "questions_per_sample": round(data["train_pairs"] / max(1, data["train_clips"]), 2),
            "alignment": drafter.alignment,
        },
        "training": {
            "epochs": settings["num_epochs"],
            "batch_size": settings["batch_size"],
            "learning_rate": settings["learning_rate"],
            "early_stopping": settings["early_stopping"],
            "optimizer": "AdamW",
            "scheduler": "cosine by step",
            "loss": options.get("loss"),
        },
        "timestamp": result["provenance"]["created"],
        "best_val_loss": min(record["val_loss"] for record in result["history"]),
        "best_epoch": result["best_epoch"],
    }
