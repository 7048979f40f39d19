"""Records of clips that are made one by one: a record says that a clip is whole.

It is written last, after all files, each under a temporary name first. So a kill at any moment
leaves either a record with all its files or a clip that is made again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.scenes.manifest import from_record
from crossdraft.scenes.scene import Scene

RECORDS = ".records"

#: `record`: the clip's manifest entry; `bytes`: the size of each of its files.
Known = dict[str, Any]


def write_recorded(
    folder: Path, clip_id: str, files: Sequence[str], make: Callable[[], dict[str, Any]]
) -> None:
    """Have a clip's files written, then its record. A clip that fails leaves none of them.

    Args:
        folder: the dataset.
        clip_id: `<drive>/<clip>`.
        files: what `make` writes, relative to the dataset.
        make: writes the files and returns the clip's manifest entry.
    """
    path = folder / RECORDS / f"{clip_id}.json"
    path.unlink(missing_ok=True)
    try:
        for file in files:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
        record = make()
        sizes = {file: (folder / file).stat().st_size for file in files}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"record": record, "bytes": sizes})
    except Exception:
        for file in files:
            (folder / file).unlink(missing_ok=True)
        raise


def read_records(folder: Path, verb: str, check: Callable[[Scene], None]) -> dict[str, Known]:
    """Records of a dataset by clip, in order.

    Args:
        verb: what is done to clips, such as `cut`; for errors.
        check: refuses a scene that lacks what this kind of dataset needs.

    Raises:
        InputError: a record is damaged, of something else, or fails the check.
    """
    # A killed run leaves half-written ones, whose names begin with a dot.
    paths = sorted((folder / RECORDS).glob("*/[!.]*.json"))
    return {f"{path.parent.name}/{path.stem}": _read(path, folder, verb, check) for path in paths}


def has_files(folder: Path, known: Known, expected: Iterable[str]) -> bool:
    """Whether a record is of these files, and each of them has the size that it says."""
    sizes = known["bytes"]
    if set(sizes) != set(expected):
        return False
    return all(_size(folder / file) == size for file, size in sizes.items())


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _read(path: Path, folder: Path, verb: str, check: Callable[[Scene], None]) -> Known:
    try:
        known = parse_json(read_text(path), path)
        json.dumps(known, allow_nan=False)
        scene = _checked(Item(known, path, "record"), path, folder)
        check(scene)
        return dict(known)
    except (InputError, ValueError) as error:
        raise InputError(
            f"no record of this clip ({error.found if isinstance(error, InputError) else error})",
            where=path,
            expected="what this command wrote when the clip was done",
            hint=f"delete this file: its clip is {verb} again",
        ) from error


def _checked(whole: Item, path: Path, folder: Path) -> Scene:
    """The scene, if it is of the clip that its place says, and of the files that are counted."""
    record, sizes = whole.sub("record"), whole.mapping("bytes")
    scene = from_record(record, folder)
    if scene.id != f"{path.parent.name}/{path.stem}":
        raise whole.error(f"names clip {scene.id}")
    sets = record.mapping("event_frames")
    named = [scene.events_file, scene.video_file]
    for name, files in sets.items():
        if not isinstance(files, list):
            raise record.error(f"{name} is no list of files")
        named += files
        if any(not isinstance(file, str) or not file.startswith(f"{name}/") for file in files):
            raise record.error(f"a file of {name} lies elsewhere")
    if {file for file in named if file} != set(sizes):
        raise whole.error("other files than it counts the bytes of")
    return scene
