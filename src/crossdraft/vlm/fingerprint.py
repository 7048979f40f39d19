"""A checkpoint's fingerprint: 16 hex digits that tell two checkpoints apart without reading all
of 14 GB, so that what was extracted with one model is never continued with another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.vlm.hub_cache import find
from crossdraft.vlm.prompt_text import has_tokenizer
from crossdraft.vlm.safetensors_header import WeightFile
from crossdraft.vlm.weight_files import weight_files

#: Files that decide what a model reads and where its answers end.
_SMALL = (
    "config.json", "generation_config.json", "preprocessor_config.json",
    "video_preprocessor_config.json", "processor_config.json", "chat_template.json",
    "chat_template.jinja", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt",
)  # fmt: skip
#: Stretches that are read of a large weight file, and bytes of each.
_STRETCHES, _STRETCH_BYTES = 64, 1 << 16
#: Bytes that are read in the middle of each of its tensors: parts that were trained alone, such as
#: a projector, may be smaller than the distance of two stretches.
_TENSOR_BYTES = 1 << 12


def fingerprint_of(place: Path) -> str:
    """16 hex digits that stay the same wherever a checkpoint folder lies, and that differ where
    its model reads or says something else.

    They are of the configuration, the settings of generation, pixels and tokenizer (in the folder
    and in the folders in it), of names, shapes and number formats of all tensors, and of samples of
    the weights: 64 stretches of 64 KiB, evenly spread over each file, and 4 KiB in the middle of
    each tensor; files of up to 4 MiB are read whole. A model that was trained further differs in
    every tensor that was trained, so it has another fingerprint; a few weights of a large model,
    changed by hand, may not show. A model card, logs and the names of the folders do not count.

    Args:
        place: the folder, or the name of a model in the hub's cache; a folder with a tokenizer and
            no configuration has a fingerprint of its small files alone.

    Raises:
        InputError: no checkpoint, or its weight files are damaged or incomplete.
    """
    folder = find(place)
    digest = hashlib.sha256()
    try:
        for name, path in _small_files(folder):
            digest.update(f"{name}\0{sha256_of(path)}\n".encode())
        if (folder / "config.json").is_file() or not has_tokenizer(folder):
            for file in weight_files(folder):
                _take(file, digest.update)
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=folder) from error
    return digest.hexdigest()[:16]


def _small_files(folder: Path) -> list[tuple[str, Path]]:
    """The small files by their path below the folder, sorted."""
    found = [
        path
        for name in _SMALL
        for path in (folder / name, *folder.glob(f"*/{name}"))
        if path.is_file()
    ]
    return sorted((path.relative_to(folder).as_posix(), path) for path in found)


def _take(file: WeightFile, update: Callable[[bytes], None]) -> None:
    """Give what a weight file holds, or samples of it, to a digest."""
    tensors = {name: (tensor.dtype, tensor.shape) for name, tensor in file.tensors.items()}
    update(json.dumps(tensors, sort_keys=True).encode())
    with file.path.open("rb") as stream:
        for start, count in _stretches(file):
            stream.seek(start)
            update(stream.read(count))


def _stretches(file: WeightFile) -> Iterator[tuple[int, int]]:
    """First byte and number of bytes of what is read of a weight file."""
    size = file.path.stat().st_size
    if size <= _STRETCHES * _STRETCH_BYTES:
        yield 0, size
        return
    for number in range(_STRETCHES):
        yield number * (size - _STRETCH_BYTES) // (_STRETCHES - 1), _STRETCH_BYTES
    # Tensors lie behind the header in this order, without a gap.
    start = size - sum(tensor.nbytes for tensor in file.tensors.values())
    for tensor in file.tensors.values():
        count = min(tensor.nbytes, _TENSOR_BYTES)
        yield start + (tensor.nbytes - count) // 2, count
        start += tensor.nbytes
