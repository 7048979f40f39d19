"""Whether a file of recorded answers is there, whole, and no longer written.

A study may start while an extraction still writes. A file counts as finished once it reads whole
and has not changed between two looks.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from crossdraft.base.clock import now_ms
from crossdraft.base.errors import InputError
from crossdraft.base.files import parse_json, read_text, sha256_of
from crossdraft.pairs.formats import FORMAT, read_pairs
from crossdraft.pairs.stored import fingerprinted

#: What tells two states of a file apart without reading it: name, size, time of change in ns.
Signature = tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class _Look:
    """What the file was like, why it is not whole (None where it is), and since when it has been
    known to be like that."""

    signature: Signature
    fault: str | None
    since_ms: float


class InputFiles:
    """The files of a study, read again only when they have changed."""

    def __init__(self) -> None:
        self._looks: dict[Path, _Look] = {}
        self._digests: dict[Path, tuple[Signature, str]] = {}

    def fault(self, path: Path) -> str | None:
        """Why the file cannot be used yet; None where it reads whole."""
        return self._look(path).fault

    def settled(self, path: Path, quiet_s: float) -> bool:
        """Whether the file reads whole and has not changed for `quiet_s` seconds: between two
        looks, or as its time of change says."""
        look = self._look(path)
        if look.fault is not None:
            return False
        return now_ms() - look.since_ms >= 1000 * quiet_s or _age_s(look.signature) > quiet_s

    def digest(self, path: Path) -> str:
        """sha256 of the content.

        Raises:
            InputError: the file vanished.
        """
        signature = _signature(path)
        known = self._digests.get(path)
        if known is None or known[0] != signature:
            try:
                known = (signature, sha256_of(fingerprinted(path)))
            except OSError as error:
                raise InputError(f"cannot be read ({error.strerror})", where=path) from error
            self._digests[path] = known
        return known[1]

    def _look(self, path: Path) -> _Look:
        signature = _signature(path)
        known = self._looks.get(path)
        if known is None or known.signature != signature:
            known = _Look(signature, _fault(path), now_ms())
            self._looks[path] = known
        return known


def _signature(path: Path) -> Signature:
    try:
        members = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [(member.name, member.stat()) for member in members]
    except OSError:
        return ()
    return tuple((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _age_s(signature: Signature) -> float:
    """Seconds since the last change; negative where the file's clock runs ahead of ours."""
    return time.time() - max((changed_ns for _, _, changed_ns in signature), default=0) / 1e9


def _fault(path: Path) -> str | None:
    """What is missing. A file that reads whole but holds nonsense is not this function's matter:
    waiting would not help, and the step that reads it says what is wrong."""
    try:
        if path.is_dir():
            read_pairs(path)
        else:
            _read_whole(path)
    except InputError as error:
        return error.found
    return None


def _read_whole(path: Path) -> None:
    """Raise an InputError unless the file is complete JSON, or has as many lines as its header
    announces."""
    text = read_text(path)
    first, _, body = text.lstrip().partition("\n")
    if f'"{FORMAT}"' not in first or not body:
        parse_json(text, path)
        return
    header = parse_json(first, path, line=1)
    lines = [line for line in body.split("\n") if line.strip()]
    announced = header.get("count") if isinstance(header, dict) else None
    if isinstance(announced, int) and len(lines) < announced:
        raise InputError(f"{len(lines)} of {announced} announced pairs", where=path)
    if lines:
        parse_json(lines[-1], path, line=len(lines) + 1)
