"""EventGPT out of a checkpoint folder: model, prompts and event frames behind one door."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from crossdraft.base.errors import InputError
from crossdraft.vlm.eventgpt.configuration import ARCHITECTURES, FRAMES
from crossdraft.vlm.eventgpt.modeling import EventGPTForConditionalGeneration
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.hub_cache import find
from crossdraft.vlm.load_model import load_model
from crossdraft.vlm.precision import Precision
from crossdraft.vlm.target import Target
from crossdraft.vlm.weight_files import named, weight_files

#: Beginnings of the tower's names: published, and in a CLIP of its own.
_TOWER = "model.visual_tower."
_CLIP = "vision_model."


def load_eventgpt(
    path: Path | str,
    *,
    dtype: str | torch.dtype | Precision = "auto",
    device: torch.device | str | Mapping[str, int | str] = "cpu",
    template: str = "official",
    frames: int = FRAMES,
    window: str = "last:50ms",
    canvas: str = "sensor",
    overlap: str = "last",
    keep: str = "all",
    tokenizer: Path | str | None = None,
    tower: Path | str | None = None,
    **target_options: Any,
) -> Target:
    """Load a checkpoint in the layout that EventGPT's authors publish.

    Args:
        path: its folder, or a name in the hub's cache.
        dtype, device: as `load_model`.
        template, frames, window, canvas, overlap, keep, tokenizer: as
            `EventGPTPrompts.from_folder`.
        tower: folder of a CLIP whose tower a checkpoint without one takes. A checkpoint that has
            its own keeps it: it was trained along.
        target_options: of `Target`.

    Raises:
        InputError: as `load_model` and `EventGPTPrompts`; no tower, or two.
    """
    place = find(path)
    # Prompts first: what is wrong with small files is said before the large ones are read.
    prompts = EventGPTPrompts.from_folder(
        place,
        template=template,
        frames=frames,
        window=window,
        canvas=canvas,
        overlap=overlap,
        keep=keep,
        tokenizer=tokenizer,
        device="cpu",
    )
    _check_tower(place, tower)
    kind = EventGPTForConditionalGeneration if tower is None else _WithoutTower
    model = load_model(place, kind, architectures=ARCHITECTURES, dtype=dtype, device=device)
    if tower is not None:
        _fill_tower(model, find(tower))
        model.__class__ = EventGPTForConditionalGeneration  # whole now, and saved under that name
    model.model.fuse()
    target = Target(model, prompts, **target_options)
    prompts.device = target.device
    return target


class _WithoutTower(EventGPTForConditionalGeneration):  # type: ignore[no-untyped-call]
    """EventGPT whose checkpoint leaves the tower's weights to be filled in."""

    _keys_to_ignore_on_load_missing = [r"vision_tower\."]  # noqa: RUF012 - as transformers has it


def _check_tower(folder: Path, tower: Path | str | None) -> None:
    stored = any(
        name.startswith((_TOWER, "model.vision_tower."))
        for file in weight_files(folder)
        for name in file.tensors
    )
    if not stored and tower is None:
        raise InputError(
            "the weight files hold no vision tower",
            where=folder,
            expected=f"tensors {_TOWER}…, as published",
            hint="take all weight files, or name the CLIP that it was trained with: tower=FOLDER",
        )
    if stored and tower is not None:
        raise InputError(
            f"a tower is given ({tower}), and the checkpoint has one",
            where=folder,
            expected="the checkpoint's own, which was trained with the rest",
            hint="leave tower out",
        )


def _fill_tower(model: EventGPTForConditionalGeneration, folder: Path) -> None:
    """Copy the vision tower of a CLIP checkpoint."""
    empty = model.model.vision_tower
    wanted = empty.state_dict()
    found: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        with safe_open(file.path, framework="pt") as stream:
            for name in file.tensors:
                key = name.removeprefix(_CLIP)
                if key in wanted:
                    found[key] = stream.get_tensor(name)
    lost = sorted(wanted.keys() - found.keys())
    other = [key for key, tensor in found.items() if tensor.shape != wanted[key].shape]
    if lost or other:
        raise InputError(
            f"no tower of this model: {len(lost)} tensors missing, {len(other)} of other shapes "
            f"({named(lost or other)})",
            where=folder,
            expected="the CLIP that config.json describes",
        )
    empty.load_state_dict(found)
