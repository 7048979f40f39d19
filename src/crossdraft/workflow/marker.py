"""The folder of a step: its marker, what a kill may leave in it, and how it is kept aside."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossdraft.base.errors import CrossdraftError, InputError
from crossdraft.base.files import is_temporary, parse_json, read_text, sweep, write_json
from crossdraft.workflow.journal import timestamp

MARKER = "step.json"
_FORMAT = "crossdraft.step/1"


def digest_of(value: Any) -> str:
    """sha256 of a plain JSON value."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_marker(folder: Path) -> Mapping[str, Any]:
    """The marker of a step's folder; empty where there is none or it is no marker."""
    path = folder / MARKER
    try:
        value = parse_json(read_text(path), path)
    except InputError:
        return {}
    return value if isinstance(value, dict) and value.get("format") == _FORMAT else {}


def write_marker(folder: Path, step: str, fingerprint: str, state: str, **more: Any) -> None:
    """Write the marker of a step: `started`, `done`, or `spoiled` (its files changed meanwhile)."""
    about = {"format": _FORMAT, "step": step, "fingerprint": fingerprint, "state": state}
    write_json(folder / MARKER, {**about, "time": timestamp(), **more})


def set_aside(path: Path) -> Path:
    """Rename a file or folder to the first free `<name>.old-N`; returns the new path."""
    number = 1
    while (aside := path.with_name(f"{path.name}.old-{number}")).exists():
        number += 1
    path.rename(aside)
    return aside


def has_content(folder: Path) -> bool:
    """Whether a folder is there and holds more than what a killed write leaves."""
    return folder.exists() and (
        not folder.is_dir() or any(not is_temporary(path) for path in folder.iterdir())
    )


def make_clean(folder: Path) -> None:
    """Make the folder, or remove from it what killed writes have left.

    Raises:
        InputError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make this folder ({error.strerror})", where=folder) from error
    sweep(folder)


def remove(path: Path) -> None:
    """Remove a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def discarded_if_empty(folder: Path) -> Iterator[None]:
    """Leave no folder behind where a step was refused before it wrote anything."""
    try:
        yield
    except CrossdraftError:
        if [path.name for path in folder.iterdir()] == [MARKER]:
            shutil.rmtree(folder)
        raise
