"""A tiny Video-LLaVA and a tiny EventGPT, the file that makes them a pair, and what the doctor
says of them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from crossdraft.bench.checks.check import Check
from crossdraft.bench.doctor import NAMES, Models, diagnose
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.target import Target
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava

QUESTION = "What is in this scene?"


@dataclasses.dataclass
class Mixed:
    """Models that are not those of their pair."""

    pair: ModelPair
    target: Target
    drafter: Target


def write_pair(folder: Path) -> Path:
    """Write both checkpoints and the pair's file, and return the file."""
    models = {"target": write_video_llava, "drafter": write_eventgpt}
    keys = {
        role: {"model": str(write(folder / role)), "device": "cpu"}
        for role, write in models.items()
    }
    file = folder / "tiny.yaml"
    file.write_text(json.dumps(keys))  # JSON is YAML
    return file


def checked(models: Models, *only: str, scene: Any = None) -> dict[tuple[str, str], Check]:
    """Every check that the doctor makes, by model and name."""
    found = list(diagnose(models, scene, QUESTION, only=only or NAMES))
    return {(check.model, check.name): check for check in found}


def red(models: Models, *only: str) -> set[tuple[str, str]]:
    """Model and name of the checks that fail."""
    return {key for key, check in checked(models, *only).items() if check.ok is False}
