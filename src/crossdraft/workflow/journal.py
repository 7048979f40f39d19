"""A study's log to follow while it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from crossdraft.base.files import append_text

LOG = "study.jsonl"

Listener = Callable[[Mapping[str, Any]], None]


def timestamp() -> str:
    """Now, in UTC, as the log and the markers write it."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


class Journal:
    """JSON Lines that are only ever appended to: one record per start, end, skip, wait, epoch."""

    def __init__(self, folder: Path, listen: Listener = lambda _: None) -> None:
        self._path, self._listen = folder / LOG, listen
        # A line that a kill has cut must not swallow the next one.
        if self._path.exists() and not self._path.read_bytes().endswith(b"\n"):
            append_text(self._path, "\n")

    def write(self, event: str, step: str | None = None, **more: Any) -> None:
        """Append one record and tell the listener."""
        named = {} if step is None else {"step": step}
        record = {"time": timestamp(), "event": event, **named, **more}
        append_text(self._path, json.dumps(record, ensure_ascii=False) + "\n")
        self._listen(record)
