"""The manifest of a dataset folder: `scenes.json`, one record per clip, sorted.

Paths in it are relative to the folder, so that a dataset can be moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.scenes.scene import Scene

MANIFEST = "scenes.json"
_FORMAT, _VERSION = "crossdraft-scenes", 1


def to_record(scene: Scene, **more: Any) -> dict[str, Any]:
    """A scene as its manifest record; `more` is kept beside it for people to read."""
    record: dict[str, Any] = {"drive": scene.drive, "clip": scene.clip}
    if scene.split is not None:
        record["split"] = scene.split
    if scene.window_us is not None:
        record["start_us"], record["end_us"] = scene.window_us
    if scene.events_file is not None:
        record["events"] = _part(scene, scene.events_file)
        if scene.event_count is not None:
            record["events"]["count"] = scene.event_count
        if scene.sensor is not None:
            record["events"]["width"], record["events"]["height"] = scene.sensor
    if scene.video_file is not None:
        record["video"] = _part(scene, scene.video_file)
    if scene.simulated:
        record["simulated"] = True
    if scene.truth:
        record["truth"] = dict(scene.truth)
    return {**record, **more}


def write_manifest(
    folder: Path, records: Iterable[Mapping[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Write `scenes.json`, records sorted by drive and clip.

    Args:
        settings: how the dataset was made; kept under `made_with`.
    """
    ordered = sorted(records, key=lambda record: (record["drive"], record["clip"]))
    write_json(
        folder / MANIFEST,
        {
            "format": _FORMAT,
            "version": _VERSION,
            "made_with": dict(settings),
            "scenes": [dict(record) for record in ordered],
        },
    )


def read_manifest(folder: Path) -> tuple[Scene, ...]:
    """Scenes of `scenes.json` in the folder, in the file's order.

    Raises:
        InputError: no such manifest, of another version, or a record that is damaged.
    """
    path = folder / MANIFEST
    whole = Item(parse_json(read_text(path), path), path, "manifest")
    version = whole.whole("version", 0)
    if whole.text("format") != _FORMAT or version != _VERSION:
        raise InputError(
            f"format {whole.value.get('format')!r}, version {whole.value.get('version')!r}",
            where=path,
            expected=f"{_FORMAT!r}, version {_VERSION}",
        )
    listed = whole.value.get("scenes")
    if not isinstance(listed, list):
        raise whole.error("has no list of scenes", "`scenes`: one record per clip")
    return tuple(
        from_record(Item(record, path, f"scene {place}"), folder)
        for place, record in enumerate(listed)
    )


def from_record(item: Item, folder: Path) -> Scene:
    """The scene of one manifest record.

    Raises:
        InputError: a field is missing or of the wrong kind.
    """
    events = item.sub("events") if item.value.get("events") is not None else None
    video = item.sub("video") if item.value.get("video") is not None else None
    parts = {name: _file(part) for name, part in (("events", events), ("video", video)) if part}
    simulated = item.value.get("simulated", False)
    if not isinstance(simulated, bool):
        raise item.error(f"simulated is {simulated!r}", "true or false")
    return Scene(
        drive=_name(item, "drive"),
        clip=_at_least(item, "clip", 0),
        folder=folder,
        events_file=parts.get("events"),
        video_file=parts.get("video"),
        window_us=_window(item),
        sensor=_sensor(events) if events else None,
        event_count=_at_least(events, "count", 0) if events and "count" in events.value else None,
        split=item.text("split"),
        simulated=simulated,
        truth=item.mapping("truth"),
        sha256={
            parts[name]: digest
            for name, part in (("events", events), ("video", video))
            if part and (digest := part.text("sha256"))
        },
    )


def _part(scene: Scene, file: str) -> dict[str, Any]:
    digest = scene.sha256.get(file)
    return {"file": file, **({"sha256": digest} if digest else {})}


def _name(item: Item, key: str) -> str:
    """A name that is also a folder's: nothing in it may lead elsewhere."""
    name = item.text(key)
    if not name or name != PurePosixPath(name).name or name in (".", "..") or "\0" in name:
        raise item.error(f"{key} is {name!r}", "a plain name")
    return name


def _file(part: Item) -> str:
    file = part.text("file")
    if not file or "\0" in file or file.startswith("/") or ".." in PurePosixPath(file).parts:
        raise part.error(f"file is {file!r}", "a path inside the dataset's folder")
    return file


def _at_least(item: Item, key: str, least: int) -> int:
    value = item.whole(key, least - 1)
    if value < least:
        raise item.error(f"{key} is {item.value.get(key)!r}", f"a whole number from {least}")
    return value


def _window(item: Item) -> tuple[int, int] | None:
    if item.value.get("start_us") is None and item.value.get("end_us") is None:
        return None
    start_us, end_us = item.whole("start_us", 0), item.whole("end_us", 0)
    if end_us <= start_us:
        raise item.error(f"starts at {start_us} µs and ends at {end_us} µs", "an end after it")
    return start_us, end_us


def _sensor(events: Item) -> tuple[int, int] | None:
    if events.value.get("width") is None and events.value.get("height") is None:
        return None
    return _at_least(events, "width", 1), _at_least(events, "height", 1)
