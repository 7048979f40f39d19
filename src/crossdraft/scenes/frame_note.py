"""The note in a folder of event frames: how they were drawn, so that settings never mix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.scenes.render import RenderSettings

NOTE = "render.json"
_FORMAT = "crossdraft-event-frames/1"


def note_settings(
    folder: Path, settings: RenderSettings, sensor: tuple[int, int] | None = None
) -> None:
    """Note in a set's folder how its frames are drawn."""
    write_json(folder / NOTE, _note(settings, sensor))


def check_note(folder: Path, settings: RenderSettings, sensor: tuple[int, int] | None) -> bool:
    """Whether a folder has its note.

    Raises:
        InputError: the note is damaged, or names other settings.
    """
    path, wanted = folder / NOTE, _note(settings, sensor)
    if not path.exists():
        return False
    found = parse_json(read_text(path), path)
    if found != wanted:
        raise InputError(
            f"the frames here were drawn with {difference(found, wanted)}",
            where=path,
            expected="one set of frames per folder",
            hint="name another set with --name, or delete this one",
        )
    return True


def noted_settings(folder: Path) -> RenderSettings | None:
    """How the frames of a folder were drawn; None where no note says it."""
    path = folder / NOTE
    try:
        found = parse_json(read_text(path), path)
        if not isinstance(found, dict) or found.pop("format", None) != _FORMAT:
            return None
        found.pop("sensor", None)
        return RenderSettings(**found)
    except (InputError, TypeError):
        return None


def _note(settings: RenderSettings, sensor: tuple[int, int] | None) -> dict[str, Any]:
    size = list(sensor) if sensor else None
    return {"format": _FORMAT, **settings.to_json(), "sensor": size}


def difference(found: Any, wanted: dict[str, Any], prefix: str = "") -> str:
    """How noted settings differ from those wanted: `overlap 0.5 (now 0.25), video.crf …`."""
    if not isinstance(found, dict):
        return "unknown settings"
    parts = []
    for name in {**wanted, **found}:
        old, new = found.get(name), wanted.get(name)
        if isinstance(old, dict) and isinstance(new, dict) and old != new:
            parts.append(difference(old, new, f"{prefix}{name}."))
        elif old != new:
            parts.append(f"{prefix}{name} {old!r} (now {new!r})")
    return ", ".join(parts)
