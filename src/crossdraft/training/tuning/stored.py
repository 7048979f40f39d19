"""A tuned model as a folder: the checkpoint it came from, with what was trained added to it.

All other weights are the stored ones, byte for byte, under their published names.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path, parse_json, read_text, write_json
from crossdraft.training.tuning.students import HEAD
from crossdraft.vlm.eventgpt.configuration import tower_folder
from crossdraft.vlm.eventgpt.conversion import RENAMED
from crossdraft.vlm.model_config import model_config
from crossdraft.vlm.weight_files import INDEX, named, weight_files

_EMBEDDINGS = "model.language_model.embed_tokens.weight"
#: Written by whoever made the checkpoint about itself, or written anew here.
_NOT_COPIED = {"history.json", "result.json", "config.json", INDEX}
_COPIED = {".json", ".model", ".txt", ".jinja"}
_PIXELS = "preprocessor_config.json"


def write_tuned(source: Path, out: Path, changes: Mapping[str, Tensor]) -> None:
    """Write the checkpoint `source` to `out`, changed.

    Args:
        changes: float32 by the names of the network's weights: what is added to them, in float32,
            before they are stored in the number format that they had. A head that was tied to the
            embeddings becomes one of its own.

    Raises:
        InputError: a weight that the checkpoint does not have, or has packed.
    """
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_file() and path.suffix in _COPIED and path.name not in _NOT_COPIED:
            _copy(path, out)
    config = parse_json(read_text(source / "config.json"), source / "config.json")
    assert isinstance(config, dict)
    _bring_tower(source, out, config)
    if HEAD in changes:
        config["tie_word_embeddings"] = False
    _write_weights(source, out, changes)
    write_json(out / "config.json", config)


def _bring_tower(source: Path, out: Path, config: dict[str, Any]) -> None:
    """What the checkpoint leaves to the folder of its tower, which may not be found from `out`:
    the tower's configuration, and how frames are prepared."""
    whole = model_config(source)
    if config.get("vision_config") is None:
        config["vision_config"] = whole.vision_config.to_dict()
    tower = tower_folder(whole.mm_visual_tower, source)
    if tower is not None and not (source / _PIXELS).is_file() and (tower / _PIXELS).is_file():
        _copy(tower / _PIXELS, out)


def _copy(path: Path, out: Path) -> None:
    with atomic_path(out / path.name) as part:
        shutil.copyfile(path, part)


def _write_weights(source: Path, out: Path, changes: Mapping[str, Tensor]) -> None:
    left = dict(changes)
    files = weight_files(source)
    stored = {network_name(name) for file in files for name in file.tensors}
    tied = HEAD in left and HEAD not in stored
    for file in files:
        with safe_open(file.path, framework="pt") as stream:
            tensors = {name: stream.get_tensor(name) for name in file.tensors}
            about: dict[str, str] = stream.metadata() or {"format": "pt"}
        for name in list(tensors):
            ours = network_name(name)
            if tied and ours == _EMBEDDINGS:
                tensors[HEAD] = _added(tensors[name], left.pop(HEAD), HEAD, source)
            if ours in left:
                tensors[name] = _added(tensors[name], left.pop(ours), name, source)
        with atomic_path(out / file.path.name) as part:
            save_file(tensors, part, metadata=about)
    if left:
        raise InputError(
            f"weights that the checkpoint does not have: {named(sorted(left))}", where=source
        )
    if (source / INDEX).is_file() and len(files) > 1:
        _write_index(source, out)


def _write_index(source: Path, out: Path) -> None:
    """Which tensor is in which of the files that were written."""
    index = parse_json(read_text(source / INDEX), source / INDEX)
    assert isinstance(index, dict)
    file_of: dict[str, str] = {}
    for name in sorted(set(index["weight_map"].values())):
        with safe_open(out / name, framework="pt") as stream:
            file_of |= dict.fromkeys(stream.keys(), name)
    write_json(out / INDEX, {**index, "weight_map": file_of})


def network_name(published: str) -> str:
    """What a stored weight is called in the network."""
    for theirs, ours in RENAMED.items():
        if published.startswith(theirs):
            return ours + published.removeprefix(theirs)
    return published


def _added(weight: Tensor, change: Tensor, name: str, source: Path) -> Tensor:
    if not weight.is_floating_point() or weight.shape != change.shape:
        raise InputError(
            f"{name} is stored as {list(weight.shape)} of {weight.dtype}",
            where=source,
            expected=f"floating-point numbers {list(change.shape)}: weights that are not packed",
            hint="tune the checkpoint before it is quantised",
        )
    # On a clone: a tied head must leave the embeddings as they are.
    return (weight.to(torch.float32) + change).to(weight.dtype)
