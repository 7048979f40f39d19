"""The weight files of a checkpoint folder: all there, all of one checkpoint, none a pickle.

A folder holds one safetensors file, or several and an index that says which tensor is in which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.vlm.config_file import read_json
from crossdraft.vlm.hub_cache import fetch_again
from crossdraft.vlm.safetensors_header import CONVERT, WeightFile, read_header

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_EXPECTED = f"{SINGLE}, or {INDEX} and the files it names"

_PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"}
#: What training leaves beside the weights.
_NO_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state).*")
_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")
#: Parts of distributed checkpoints, transformers' and torch's; transformers prefers the former to
#: everything else in the folder.
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-.*\.safetensors|.*\.distcp")


def weight_files(folder: Path) -> tuple[WeightFile, ...]:
    """The weight files that a folder is loaded from, whole and free of contradictions.

    Raises:
        InputError: none, an incomplete or damaged one, an index that does not fit them, a tensor
            in two of them, or weights in another format than safetensors.
    """
    names = sorted(path.name for path in folder.iterdir())
    if parts := [name for name in names if _DISTRIBUTED.fullmatch(name)]:
        raise InputError(
            f"a distributed training checkpoint ({named(parts)})",
            where=folder,
            expected=_EXPECTED,
            hint="load it where it was trained and save it there with save_pretrained",
        )
    if "adapter_config.json" in names:
        raise InputError(
            "an adapter (adapter_config.json), alone or beside a model",
            where=folder,
            expected="the weights of one whole model",
            hint="merge the adapter into its base model and save that",
        )
    # In this order: where both are there, transformers reads the single file.
    if SINGLE in names:
        files: tuple[WeightFile, ...] = (read_header(folder / SINGLE),)
    elif INDEX in names:
        files = _indexed(folder)
    else:
        raise _without_weights(folder, names)
    if not any(file.tensors for file in files):
        path = files[0].path
        raise InputError("the file holds no tensors", where=path, hint=fetch_again(path))
    return files


def named(names: Sequence[str], most: int = 3) -> str:
    """The first few names of many."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _indexed(folder: Path) -> tuple[WeightFile, ...]:
    """The files that the folder's index names."""
    index = folder / INDEX
    file_of = _weight_map(index)
    names = sorted(set(file_of.values()))
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        there = len(names) - len(missing)
        raise InputError(
            f"{named(missing)} missing: {there} of {len(names)} weight files are there",
            where=folder,
            expected=f"every file that {INDEX} names",
            hint=fetch_again(folder / missing[0]),
        )
    files = tuple(read_header(folder / name) for name in names)
    _refuse_lost(file_of, files, index)
    _refuse_doubled(files)
    return files


def _weight_map(index: Path) -> dict[str, str]:
    """The index: name of a tensor -> name of its file."""
    document = read_json(index, "the index")
    file_of = document.value.get("weight_map")
    if not isinstance(file_of, dict) or not file_of:
        raise document.error("has no weight_map", "the file of every tensor, by its name")
    for tensor, name in file_of.items():
        # A plain name: an index must not lead out of its folder.
        if not isinstance(name, str) or not re.fullmatch(r"[^/\\\0]+\.safetensors", name):
            raise document.error(
                f"weight_map sends {tensor!r} to {str(name)[:60]!r}",
                "the name of a .safetensors file in the same folder",
            )
    return file_of


def _refuse_lost(file_of: Mapping[str, str], files: Sequence[WeightFile], index: Path) -> None:
    """Refuse an index that names tensors which their file does not hold."""
    held = {file.path.name: file.tensors for file in files}
    lost = [f"{tensor} ({name})" for tensor, name in file_of.items() if tensor not in held[name]]
    if lost:
        raise InputError(
            f"{len(lost)} of {len(file_of)} tensors not in the file that the index names: "
            f"{named(lost)}",
            where=index,
            expected="index and weight files of the same checkpoint",
            hint="fetch the index and all weight files anew, from one place",
        )


def _refuse_doubled(files: Sequence[WeightFile]) -> None:
    """Refuse a tensor in two files: which of them counts would be chance."""
    seen: dict[str, Path] = {}
    for file in files:
        for tensor in file.tensors:
            if tensor in seen:
                raise InputError(
                    f"tensor {tensor!r} is there, and in {seen[tensor].name} too",
                    where=file.path,
                    expected="every tensor in one file",
                    hint="fetch the index and all weight files anew, from one place",
                )
            seen[tensor] = file.path


def _without_weights(folder: Path, names: Sequence[str]) -> InputError:
    """The error of a folder that has no weights in the one format that is read."""
    shards = [name for name in names if _SHARD.fullmatch(name)]
    pickles = [
        name
        for name in names
        if Path(name).suffix.lower() in _PICKLE_SUFFIXES and not _NO_WEIGHTS.match(name)
    ]
    if shards:
        found, hint = f"{INDEX} is missing beside {named(shards)}", fetch_again(folder / INDEX)
    elif pickles:
        found, hint = f"weights as pickles only, refused unopened: {named(pickles)}", CONVERT
    elif other := [name for name in names if Path(name).suffix.lower() == ".gguf"]:
        found = f"weights as GGUF only: {named(other)}"
        hint = "take the model's safetensors; transformers would unpack these to full size"
    else:
        found = f"no weights among {named(names, 6)}" if names else "an empty folder"
        hint = fetch_again(folder / SINGLE)
    return InputError(found, where=folder, expected=_EXPECTED, hint=hint)
