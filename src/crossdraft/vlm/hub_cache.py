"""Where a checkpoint lies: a folder, or a model's copy in the hub's cache. Nothing is fetched."""

from __future__ import annotations

import re
from pathlib import Path

from crossdraft.base.errors import InputError

EXPECTED = "a folder with config.json and safetensors weights, as save_pretrained writes it"
#: Name of a model, and the revision behind an `@`.
_HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)(?:@(.+))?", re.ASCII)


def find(folder: Path | str) -> Path:
    """The folder, or the copy of a hub model in the hub's cache.

    Args:
        folder: a folder; or a name on the hub, its main revision; or NAME@REVISION, the revision a
            branch, a tag or a whole commit, as it was fetched.

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
    if (hub := _HUB_ID.fullmatch(name)) is None:
        raise InputError("no such folder", where=path, expected=EXPECTED, hint="check the path")
    model, revision = hub[1], hub[2] or "main"
    cached = _cached(model)
    if revision in cached:
        return cached[revision]
    if cached:
        raise InputError(
            f"no such folder, and no revision {revision!r} of this model in the hub's cache",
            where=name,
            expected=EXPECTED,
            hint=f"take a revision that is there: {model}@{f' or {model}@'.join(cached)}",
        )
    behind = f" --revision {revision}" if hub[2] else ""
    raise InputError(
        "no such folder, and no copy of a model of this name in the hub's cache",
        where=name,
        expected=EXPECTED,
        hint=f"check the path, or fetch the model first: hf download {model}{behind}",
    )


def fetch_again(path: Path) -> str:
    """How to get a file of a checkpoint once more."""
    if (command := download_command(path.parent, path.name)) is not None:
        return f"run `{command} --force-download`"
    return "download or copy it again"


def download_command(folder: Path, file: str | None = None) -> str | None:
    """What fetches the model that a folder of the hub's cache holds, or one file of it, in the same
    revision; None for other folders."""
    parts = folder.parent.parent.name.split("--")
    if folder.parent.name != "snapshots" or parts[0] != "models" or len(parts) < 2:
        return None
    words = ["hf download", "/".join(parts[1:]), *([] if file is None else [file])]
    main = folder.parent.parent / "refs" / "main"
    if not main.is_file() or main.read_text().strip() != folder.name:
        words.append(f"--revision {folder.name}")
    return " ".join(words)


def _cached(name: str) -> dict[str, Path]:
    """The copies of a model's revisions by branch, tag and commit, whole or not: whoever reads one
    names what is missing.

    Not by `snapshot_download`, which asks for every file of the repository, pictures and pickles
    too, and does not say which one it misses.
    """
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    place = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model")
    references, copies = place / "refs", place / "snapshots"
    commits = {
        path.relative_to(references).as_posix(): path.read_text().strip()
        for path in sorted(references.rglob("*"))
        if path.is_file()
    }
    commits |= {path.name: path.name for path in sorted(copies.glob("*"))}
    folders = {revision: copies / commit for revision, commit in commits.items()}
    return {revision: folder for revision, folder in folders.items() if folder.is_dir()}
