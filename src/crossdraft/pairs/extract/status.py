"""How far an extraction is, seen from outside: nothing is made, written or waited for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text
from crossdraft.base.lock import is_locked
from crossdraft.pairs.extract.log import is_running, read_logs
from crossdraft.pairs.extract.plan import NOTE
from crossdraft.pairs.extract.workplace import Workplace
from crossdraft.pairs.store.manifest import Missing
from crossdraft.pairs.store.store import PairStore
from crossdraft.scenes.disk import free_bytes
from crossdraft.vlm.safetensors_header import read_header


@dataclass(frozen=True)
class Status:
    """How far it is.

    Attributes:
        finished: the store is whole.
        shards, done, busy: shards in all, done, and held by a process now.
        planned: pairs, if no clip fails.
        pairs: in shards that are done.
        saved: in pieces of shards that are not.
        failed: clips that failed.
        running: processes at work, as far as their logs tell.
        pairs_per_s: of those together; None where none has told yet.
        bytes, free_bytes: on the disk, taken and left.
    """

    finished: bool
    shards: int
    done: int
    busy: int
    planned: int
    pairs: int
    saved: int
    failed: tuple[Missing, ...]
    running: int
    pairs_per_s: float | None
    bytes: int
    free_bytes: int

    @property
    def waiting(self) -> int:
        """Shards that nobody has begun, or that somebody has left."""
        return self.shards - self.done - self.busy

    @property
    def seconds_left(self) -> float | None:
        """About how long it will take; None where that cannot be told."""
        if self.finished or not self.pairs_per_s:
            return None
        return max(0, self.planned - self.pairs - self.saved) / self.pairs_per_s

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {**asdict(self), "waiting": self.waiting, "seconds_left": self.seconds_left}


def read_status(out: Path) -> Status:
    """Look at a folder that `crossdraft extract` has begun or finished.

    Raises:
        InputError: it is none, or a note in it is damaged.
    """
    place = Workplace(out)
    if place.finished:
        return _of_store(out)
    path = out / NOTE
    if not path.is_file():
        raise InputError(
            "no extraction has begun here",
            where=out,
            expected=f"a folder with {NOTE}, or a finished store",
            hint="check --out",
        )
    note = Item(parse_json(read_text(path), path), path, "note")
    clips = note.sub("dataset").whole("clips", 0)
    asked, per_shard = len(note.mapping("questions")), note.whole("clips_per_shard", 1)
    shards = range(-(-clips // max(1, per_shard)))
    records = {shard: record for shard in shards if (record := place.record(shard)) is not None}
    if place.finished:  # just now: its records are gone
        return _of_store(out)
    open_shards = [shard for shard in shards if shard not in records]
    failed = [one for record in records.values() for one in record.missing]
    for shard in open_shards:
        failed += place.failed(shard).values()
    running, rate = _rate(out)
    return Status(
        finished=False,
        shards=len(shards),
        done=len(records),
        busy=sum(is_locked(place.claim_path(shard)) for shard in open_shards),
        planned=clips * asked,
        pairs=sum(record.info.pairs for record in records.values() if record.info is not None),
        saved=sum(_rows(path) for shard in open_shards for path in place.pieces(shard, "both")),
        failed=tuple(failed),
        running=running,
        pairs_per_s=rate,
        bytes=_size(out),
        free_bytes=free_bytes(out),
    )


def _of_store(out: Path) -> Status:
    manifest = PairStore.open(out).manifest
    planned = manifest.pairs + len(manifest.missing) * len(manifest.questions)
    count, size = len(manifest.shards), _size(out)
    return Status(
        True, count, count, 0, planned, manifest.pairs, 0, tuple(manifest.missing), 0, None, size,
        free_bytes(out),
    )  # fmt: skip


def _rows(path: Path) -> int:
    """Pairs of a piece; none where it vanishes in this moment."""
    with contextlib.suppress(InputError, KeyError, OSError):
        return read_header(path).tensors["target.offsets"].shape[0] - 1
    return 0


def _rate(out: Path) -> tuple[int, float | None]:
    """Processes at work, and pairs a second of all that have told of some."""
    running, rates = 0, []
    for path, lines in read_logs(out).items():
        begins = [place for place, line in enumerate(lines) if line.get("event") == "begin"]
        last = lines[begins[-1] :] if begins else []
        if not last or last[-1].get("event") == "end" or not is_running(path):
            continue
        running += 1
        if (rate := _made_per_s(last)) is not None:
            rates.append(rate)
    return running, sum(rates) if rates else None


def _made_per_s(lines: Sequence[Mapping[str, Any]]) -> float | None:
    """Pairs a second from the first line to the last."""
    made = lines[-1].get("made")
    with contextlib.suppress(ValueError):
        first, last = (datetime.fromisoformat(lines[place]["time"]) for place in (0, -1))
        seconds = (last - first).total_seconds()
        if isinstance(made, int) and made and seconds > 0:
            return made / seconds
    return None


def _size(folder: Path) -> int:
    """Bytes of all files; those that vanish meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total
