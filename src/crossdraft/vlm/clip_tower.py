"""CLIP vision towers in configurations: what both models' prompts must know of theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.vlm.pixel_settings import PixelSettings


def states_per_frame(vision: Any, settings: PixelSettings, where: Path | None) -> int:
    """States of one frame: its patches and the class token.

    Args:
        vision: the tower's configuration.
        settings: how its frames are prepared.
        where: the checkpoint's folder, for errors.

    Raises:
        InputError: no CLIP tower, or frames are prepared for another size.
    """
    if vision.model_type != "clip_vision_model":
        raise InputError(
            f"a vision tower of type {vision.model_type}", where=where, expected="clip_vision_model"
        )
    side, patch = vision.image_size, vision.patch_size
    if type(side) is not int or type(patch) is not int or not 0 < patch <= side:
        raise InputError(
            f"frames of {side!r} pixels in patches (patch_size) of {patch!r}",
            where=where,
            expected="two whole numbers of pixels, the patch no larger than the frame",
        )
    if settings.crop != (side, side):
        raise InputError(
            f"frames are cut to {settings.crop[0]}x{settings.crop[1]} pixels",
            where=where,
            expected=f"{side}x{side}, as the tower's configuration says",
        )
    return (side // patch) ** 2 + 1
