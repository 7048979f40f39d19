"""Where a checkpoint lies: a folder, or a model's copy in the hub's cache. Nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from crossdraft.base.errors import InputError

EXPECTED = "a folder with config.json and safetensors weights, as save_pretrained writes it"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)


def find(folder: Path | str) -> Path:
    """The folder, or the copy of a hub model in the hub's cache.

    Raises:
        InputError: neither is there.
    """
    name = str(folder)
    try:
        path = Path(folder).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InputError(str(error), where=name, expected=EXPECTED) from error
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(
            "this is a file", where=path, expected=EXPECTED, hint="give the folder it lies in"
        )
    if not _HUB_ID.fullmatch(name):
        raise InputError("no such folder", where=path, expected=EXPECTED, hint="check the path")
    cached = _cached(name)
    if cached is None:
        raise InputError(
            "no such folder, and no copy of a model of this name in the hub's cache",
            where=name,
            expected=EXPECTED,
            hint=f"check the path, or fetch the model first: hf download {name}",
        )
    return cached


def fetch_again(path: Path) -> str:
    """How to get a file of a checkpoint once more."""
    if (hub_id := cached_hub_id(path.parent)) is not None:
        return f"run `hf download {hub_id} {path.name} --force-download`"
    return "download or copy it again"


def cached_hub_id(folder: Path) -> str | None:
    """Name of the model that a folder of the hub's cache holds; None for other folders."""
    parts = folder.parent.parent.name.split("--")
    if folder.parent.name == "snapshots" and parts[0] == "models" and len(parts) > 1:
        return "/".join(parts[1:])
    return None


def _cached(name: str) -> Path | None:
    """The copy of a model's main revision, whole or not: whoever reads it names what is missing.

    Not by `snapshot_download`, which asks for every file of the repository, pictures and pickles
    too, and does not say which one it misses.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    place = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    reference = place / "refs" / "main"
    if not reference.is_file():
        return None
    folder = place / "snapshots" / reference.read_text().strip()
    return folder if folder.is_dir() else None
