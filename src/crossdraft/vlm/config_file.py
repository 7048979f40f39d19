"""Small files of a checkpoint: read whole or refused by name. config.json is also refused where it
leads to code or to other weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text
from crossdraft.vlm.hub_cache import EXPECTED, download_command
from crossdraft.vlm.safetensors_header import refuse_pointer


def read_json(path: Path, name: str = "the configuration") -> Item:
    """The object in a JSON file of a checkpoint.

    transformers takes some damaged files for missing ones, and does not say which file it means.

    Args:
        name: of the object, for errors.

    Raises:
        InputError: no such file, a Git LFS pointer, damaged, or no object.
    """
    refuse_pointer(path)
    return Item(parse_json(read_text(path), path), path, name)


def read_config(folder: Path) -> tuple[Mapping[str, Any], tuple[str, ...], str]:
    """config.json of a checkpoint, and of it the architectures and the family.

    Raises:
        InputError: missing, no configuration, or one that leads to code or other weights.
    """
    path = folder / "config.json"
    if not path.is_file():
        hint = "is the model in a folder inside this one?"
        if (command := download_command(folder)) is not None:
            hint = f"fetch the whole model: {command}"
        raise InputError("no config.json", where=folder, expected=EXPECTED, hint=hint)
    config = read_json(path)
    _refuse_redirections(config)
    architectures = config.value.get("architectures")
    if not _class_names(architectures):
        raise config.error(
            "names no architectures", 'a list of classes such as ["LlamaForCausalLM"]'
        )
    model_type = config.text("model_type")
    if not model_type:
        raise config.error("names no model_type", "the model's family, such as llama")
    return config.value, tuple(architectures), model_type


def _class_names(value: Any) -> TypeGuard[list[str]]:
    """Whether a JSON value is a list of at least one name of a class."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(name, str) and name.isidentifier() for name in value)


def _refuse_redirections(config: Item) -> None:
    """Refuse configurations that lead to code, or to other weights than were looked at."""
    for path, key, _ in fields(config.value):
        if key == "auto_map":
            raise InputError(
                f"{path} asks to run Python code that comes with the checkpoint",
                where=config.where,
                expected="a model that transformers has the code of",
                hint="look for the model in transformers' own format (its name often ends in "
                "-hf); code of a checkpoint is never run",
            )
    if config.value.get("transformers_weights") is not None:
        raise config.error(
            "sends transformers to weights of another name (transformers_weights)",
            "weights under their usual names",
        )


def fields(document: Any) -> Iterator[tuple[str, str, Any]]:
    """Every field of every object in a JSON document: its path, its name, its value."""
    waiting = [("", document)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield f"{path}{key}", key, inner
                waiting.append((f"{path}{key}.", inner))
        elif isinstance(value, list):
            waiting += [(f"{path}{place}.", inner) for place, inner in enumerate(value)]
