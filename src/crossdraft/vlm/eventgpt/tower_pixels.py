"""How a checkpoint of EventGPT wants its frames prepared, which its tower decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.vlm.config_file import read_json
from crossdraft.vlm.eventgpt.configuration import PUBLISHED_TOWER, EventGPTConfig, tower_folder
from crossdraft.vlm.hub_cache import fetch_again
from crossdraft.vlm.pixel_settings import PixelSettings


def pixel_settings_of(folder: Path, config: EventGPTConfig) -> PixelSettings:
    """How frames are prepared: as the checkpoint says, else as its tower does.

    Raises:
        InputError: a file that is damaged, or neither of them says anything and the tower is not
            of the published size.
    """
    tower = tower_folder(config.mm_visual_tower, folder)
    for place in (folder, tower):
        path = None if place is None else place / "preprocessor_config.json"
        if path is not None and path.is_file():
            return PixelSettings.from_config(read_json(path).value, path)
    vision: Any = config.vision_config
    side = PUBLISHED_TOWER["image_size"]
    if vision.image_size == side:
        return PixelSettings(side, (side, side))
    raise InputError(
        f"no preprocessor_config.json, and a tower for {vision.image_size} pixels",
        where=folder,
        expected="the settings that frames are prepared with, here or in the folder that "
        "mm_visual_tower in config.json names",
        hint=fetch_again(folder / "preprocessor_config.json"),
    )
