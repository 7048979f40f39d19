"""One scene by a short text: a file, the two files of a clip, or a clip of a dataset.

drive.h5                    an event file, or a video
drive.h5,drive.mp4          both recordings of one clip, in any order
clips/interlaken/000012     a clip of a dataset, by its id
clips                       a dataset that holds a single clip
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.seed_layout import is_number

EXPECTED = "an event file, a video, EVENTS,VIDEO, or DATASET/drive/clip"
#: Clips that an error lists.
_LISTED = 3


def find_scene(text: str) -> Scene:
    """The scene that a text names; no recording is read.

    Raises:
        InputError: nothing there, no such clip, or several clips and none of them named.
    """
    path = _path(text)
    if path.exists():
        return _only(SceneDataset.open(path), text)
    if "," in text and not is_number(path.name):
        return _of_two(text)
    folder, drive, clip = path.parent.parent, path.parent.name, path.name
    if not folder.is_dir() or not drive:
        raise InputError("no such file or folder", where=text, expected=EXPECTED)
    return _clip(SceneDataset.open(folder), drive, clip, text)


def _path(text: str) -> Path:
    if not text.strip():
        raise InputError("names no scene", where=repr(text), expected=EXPECTED)
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError as error:  # ~nobody
        raise InputError(str(error), where=text, expected=EXPECTED) from error


def _only(dataset: SceneDataset, text: str) -> Scene:
    """The scene of a dataset that holds no other."""
    if len(dataset) == 1:
        return dataset[0]
    raise InputError(
        f"holds {len(dataset):,} scenes",
        where=text,
        expected=f"one of them: {_listed([scene.id for scene in dataset])}",
        hint=f"name it: {Path(text) / dataset[0].id}",
    )


def _clip(dataset: SceneDataset, drive: str, clip: str, text: str) -> Scene:
    """The clip of a dataset, its number with or without leading zeros."""
    for scene in dataset:
        if scene.drive == drive and is_number(clip) and scene.clip == int(clip):
            return scene
    wanted, ids = f"{drive}/{clip}", [scene.id for scene in dataset]
    near = difflib.get_close_matches(wanted, ids, n=_LISTED, cutoff=0) or ids[:_LISTED]
    raise InputError(
        f"no scene {wanted} among the {len(ids):,} of {dataset.folder}",
        where=text,
        expected=f"one of them; the nearest: {', '.join(near)}",
    )


def _of_two(text: str) -> Scene:
    """A clip whose events and video are two files."""
    parts = [_path(part) for part in text.split(",")]
    for path in parts:
        if not path.is_file():
            raise InputError("no such file", where=path, expected=EXPECTED)
    scenes = [SceneDataset.open(path)[0] for path in parts]
    events = [scene for scene in scenes if scene.events_path is not None]
    videos = [scene for scene in scenes if scene.video_path is not None]
    if len(events) != 1 or len(videos) != 1:
        raise InputError(
            f"{len(events)} event files and {len(videos)} videos",
            where=text,
            expected="one of each, told apart by the video's suffix",
        )
    folder = Path(os.path.commonpath([path.parent.absolute() for path in parts]))
    names = [
        path.absolute().relative_to(folder).as_posix()
        for path in (events[0].events_path, videos[0].video_path)
        if path is not None
    ]
    return replace(events[0], folder=folder, events_file=names[0], video_file=names[1])


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_LISTED]) + (", …" if len(ids) > _LISTED else "")
