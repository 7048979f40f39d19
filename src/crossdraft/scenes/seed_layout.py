"""The seed study's dataset folders, read as they are.

`event_npy/<drive>/<clip>.npy`, `mp4/<drive>/<clip>.mp4`, rendered frames in
`event_image*/<drive>/<clip>_<i>.png`, and a manifest `EventGPT_Instruction_Subset.json` that may
be missing.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text
from crossdraft.scenes.scene import Scene

SEED_MANIFEST = "EventGPT_Instruction_Subset.json"
EVENTS_FOLDER, VIDEO_FOLDER = "event_npy", "mp4"


def is_seed_layout(folder: Path) -> bool:
    """Whether a folder holds the seed study's manifest or one of its data folders."""
    return (folder / SEED_MANIFEST).is_file() or any(
        (folder / name).is_dir() for name in (EVENTS_FOLDER, VIDEO_FOLDER, "event_image")
    )


def read_seed_layout(folder: Path) -> tuple[Scene, ...]:
    """Scenes of the manifest; without one, of the event files and videos that are there.

    Raises:
        InputError: the manifest is damaged, or there is no clip.
    """
    manifest = folder / SEED_MANIFEST
    if manifest.is_file():
        listed = parse_json(read_text(manifest), manifest)
        if not isinstance(listed, list):
            raise InputError("is no list", where=manifest, expected="one object per clip")
        return tuple(
            _from_entry(Item(entry, manifest, f"clip {place}"), folder)
            for place, entry in enumerate(listed)
        )
    return _from_files(folder)


def _from_entry(item: Item, folder: Path) -> Scene:
    events = item.text("event_data")
    # `video_data` names the clip without a suffix, `mp4_data` (where present) with it.
    video = item.text("mp4_data") or item.text("video_data")
    key = events or video
    if not key:
        raise item.error("names neither event_data nor video_data", "`<drive>/<clip>.npy`")
    for file in (events, video):
        _check_inside(file, item)
    place = PurePosixPath(key)
    if len(place.parts) != 2 or not is_number(place.stem):
        raise item.error(f"names its clip {key!r}", "`<drive>/<number>.npy`")
    video_file = _video_file(video) if video else None
    if video_file and not item.text("mp4_data") and not (folder / VIDEO_FOLDER).is_dir():
        # `video_data` is written whether or not any video was ever made.
        video_file = None
    return Scene(
        drive=place.parts[0],
        clip=int(place.stem),
        folder=folder,
        events_file=f"{EVENTS_FOLDER}/{events}" if events else None,
        video_file=video_file,
        frame_sets=_listed_frames(item),
        split=split_of(item.text("split") or folder.name),
        truth=_conversations(item),
    )


def _check_inside(file: str | None, item: Item) -> None:
    if file and ("\0" in file or file.startswith("/") or ".." in PurePosixPath(file).parts):
        raise item.error(f"names the file {file!r}", "a path inside the dataset's folder")


def _listed_frames(item: Item) -> dict[str, tuple[str, ...]]:
    """Frames under `event_image`, `event_image_1f`, …; names are relative to the set's folder."""
    sets = {}
    for name, files in item.value.items():
        if not name.startswith("event_image") or "/" in name:
            continue
        if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
            raise item.error(f"{name} is no list of names", "`<drive>/<clip>_0.png`, …")
        for file in files:
            _check_inside(file, item)
        sets[name] = tuple(f"{name}/{file.removeprefix(f'{name}/')}" for file in files)
    return sets


def _conversations(item: Item) -> dict[str, Any]:
    """What was asked and answered, where anything was; the seed study leaves both empty."""
    turns = item.value.get("conversations") or []
    if not isinstance(turns, list):
        raise item.error("conversations is no list", "one object per turn")
    said = [
        {"from": turn.text("from"), "value": value}
        for turn in (Item(turn, item.where, f"{item.name}.conversations") for turn in turns)
        if (value := turn.text("value"))
    ]
    return {"conversations": said} if said else {}


def _video_file(name: str) -> str:
    return f"{VIDEO_FOLDER}/{name if name.endswith('.mp4') else f'{name}.mp4'}"


def _from_files(folder: Path) -> tuple[Scene, ...]:
    """Clips by the files that are there."""
    found: dict[tuple[str, int], dict[str, str]] = {}
    for part, suffix in ((EVENTS_FOLDER, ".npy"), (VIDEO_FOLDER, ".mp4"), ("event_image", ".png")):
        for path in folder.glob(f"{part}/*/*{suffix}"):
            number = path.stem.rpartition("_")[0] if suffix == ".png" else path.stem
            if is_number(number):
                clip = found.setdefault((path.parent.name, int(number)), {})
                clip[part] = path.relative_to(folder).as_posix()
    return tuple(
        Scene(
            drive=drive,
            clip=clip,
            folder=folder,
            events_file=parts.get(EVENTS_FOLDER),
            video_file=parts.get(VIDEO_FOLDER),
            split=split_of(folder.name),
        )
        for (drive, clip), parts in sorted(found.items())
    )


def is_number(stem: str) -> bool:
    """Whether a file's stem is a clip's number."""
    return stem.isascii() and stem.isdigit() and len(stem) <= 15


def split_of(name: str) -> str | None:
    """`train` or `test` by the folder names of the seed study (`…_dsec_seq_…` is its test part)."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    if "train" in words:
        return "train"
    return "test" if "test" in words or "seq" in words else None
