"""The log of one process of an extraction: JSON Lines, only ever appended to.

`begin` with what the process runs on; then saved pieces, finished shards and failures; `end` if the
process came that far. `crossdraft extract --status` reads rates from here.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json
from crossdraft.base.result import provenance
from crossdraft.pairs.extract.events import Event, What

LOGS = "log"
#: What a line gives of an event.
_SHOWN: Mapping[What, tuple[str, ...]] = {
    "piece": ("shard", "role", "pairs"),
    "shard": ("shard", "pairs", "positions", "bytes"),
    "failure": ("shard", "role", "clip", "reason", "tries"),
    "alone": ("shard", "reason"),
    "lost": ("shard", "reason"),
}


class Log:
    """Appends to `OUT/log/<host>-<process>.jsonl`.

    A log that cannot be written stops nothing: a full disk stops what matters.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / LOGS / f"{_host()}-{os.getpid()}.jsonl"
        self._made = {"target": 0, "both": 0}

    @contextlib.contextmanager
    def running(self, **about: Any) -> Iterator[None]:
        """Begin and end of the process's work; an error's name stands at its end."""
        self._write("begin", {**about, "provenance": provenance((), ())})
        why = None
        try:
            yield
        except BaseException as error:
            why = type(error).__name__
            raise
        finally:
            self._write("end", {"why": why} if why else {})

    def tell(self, event: Event) -> None:
        """Add an event. Single clips are only counted: each line gives the pairs so far."""
        if event.what == "clip":
            self._made[event.role] += event.pairs
        if event.what in ("begin", "clip"):
            return
        given = {name: getattr(event, name) for name in _SHOWN[event.what]}
        self._write(event.what, {**given, "made": self._made["both"]})

    def _write(self, what: str, more: dict[str, Any]) -> None:
        now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": what, **more}, ensure_ascii=False)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as log:
                log.write(line + "\n")


def _host() -> str:
    return platform.node() or "host"


def is_running(path: Path) -> bool:
    """Whether the process of a log may still run: known of this machine's alone."""
    host, _, number = path.stem.rpartition("-")
    if host != _host() or not number.isdigit():
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def read_logs(out: Path) -> dict[Path, list[dict[str, Any]]]:
    """Lines of every log below a folder, oldest first; what a kill has cut is left out."""
    logs = {}
    for path in sorted((out / LOGS).glob("*.jsonl")):
        lines = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with contextlib.suppress(InputError):
                found = parse_json(line, path)
                if isinstance(found, dict) and isinstance(found.get("time"), str):
                    lines.append(found)
        logs[path] = lines
    return logs
