"""A tiny Video-LLaVA and a tiny EventGPT, and the file that makes them a pair."""

from __future__ import annotations

import json
from pathlib import Path

from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava


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
