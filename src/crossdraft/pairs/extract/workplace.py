"""The folder of an extraction under way, as files that any number of processes share.

OUT/.extract.json                          the plan
OUT/shards/000003.safetensors              a finished shard
OUT/open/000003.json                       its record, written after it: the shard is done
OUT/open/000003-both-0000.safetensors      a piece: finished pairs of a shard that is not
OUT/open/000003-target-0000.safetensors    the same of the target alone; 000003-target.json: whole
OUT/open/000003-failed.json                its clips that failed, with the reason
OUT/open/000003.claim                      its lock, and clips begun and ended (see `claims.py`)
OUT/store.json                             the manifest, written last; then OUT/open vanishes
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from crossdraft.base.errors import InputError
from crossdraft.base.fields import Item
from crossdraft.base.files import parse_json, read_text, write_json
from crossdraft.pairs.store.manifest import MANIFEST, SHARDS, Missing, Schema, ShardInfo
from crossdraft.pairs.store.rows import Row
from crossdraft.pairs.store.shard import read_shard, write_shard

OPEN = "open"
#: `target`: half a pair, the target's; `both`: whole pairs.
Phase = Literal["target", "both"]


@dataclass(frozen=True)
class Record:
    """A shard that is done.

    Attributes:
        info: the file; None where all its clips failed and there is none.
        missing: its clips that failed.
    """

    info: ShardInfo | None
    missing: tuple[Missing, ...] = ()


@dataclass(frozen=True)
class Workplace:
    """The folder `out` while pairs are extracted into it."""

    out: Path

    @property
    def open(self) -> Path:
        """Folder of what is not done."""
        return self.out / OPEN

    @property
    def finished(self) -> bool:
        """Whether the store is whole."""
        return (self.out / MANIFEST).is_file()

    def shard_name(self, shard: int) -> str:
        """Name of a shard's file below `shards/`."""
        return f"{shard:06d}.safetensors"

    def shard_path(self, shard: int) -> Path:
        """A finished shard's file."""
        return self.out / SHARDS / self.shard_name(shard)

    def claim_path(self, shard: int) -> Path:
        """A shard's claim."""
        return self.open / f"{shard:06d}.claim"

    # What is done.

    def is_done(self, shard: int) -> bool:
        """Whether a shard is."""
        return self._record_path(shard).is_file()

    def record(self, shard: int) -> Record | None:
        """A shard's record, None where it is not done.

        Raises:
            InputError: the record is damaged.
        """
        value = self._read(self._record_path(shard))
        if value is None:
            return None
        try:
            info = None if value["info"] is None else ShardInfo(**value["info"])
            return Record(info, tuple(Missing(**one) for one in value["missing"]))
        except (KeyError, TypeError) as error:
            raise self._damaged(self._record_path(shard), str(error)) from error

    def finish(
        self, shard: int, rows: Sequence[Row], schema: Schema, missing: Iterable[Missing]
    ) -> Record:
        """Write a shard, then its record, then remove its pieces."""
        info = None
        if rows:
            self.shard_path(shard).parent.mkdir(parents=True, exist_ok=True)
            info = write_shard(self.shard_path(shard), rows, schema)
        record = Record(info, tuple(missing))
        self.keep_record(shard, record)
        self.drop_pieces(shard)
        return record

    def keep_record(self, shard: int, record: Record) -> None:
        """Say that a shard is done."""
        write_json(self._record_path(shard), asdict(record))

    # What is finished of a shard that is not done.

    def pieces(self, shard: int, phase: Phase) -> list[Path]:
        """Pieces of a shard, oldest first."""
        return sorted(self.open.glob(f"{shard:06d}-{phase}-[0-9][0-9][0-9][0-9].safetensors"))

    def read_pieces(
        self, shard: int, phase: Phase, schema: Schema, lost: Callable[[Path, str], None]
    ) -> list[Row]:
        """Rows of all pieces of a shard. A damaged piece is removed: its pairs are made again.

        Args:
            lost: is told of a piece that is damaged, and what is wrong with it.
        """
        rows: list[Row] = []
        for path in self.pieces(shard, phase):
            try:
                rows += read_shard(path, schema)[0]
            except InputError as error:
                lost(path, error.found)
                path.unlink(missing_ok=True)
        return rows

    def add_piece(self, shard: int, phase: Phase, rows: Sequence[Row], schema: Schema) -> None:
        """Save finished rows of a shard."""
        numbers = [int(path.stem.rpartition("-")[2]) for path in self.pieces(shard, phase)]
        number = max(numbers, default=-1) + 1
        write_shard(self.open / f"{shard:06d}-{phase}-{number:04d}.safetensors", rows, schema)

    def adopt(self, shard: int) -> None:
        """Make a piece of a finished shard, so that what it lacks can be added."""
        place = self.open / f"{shard:06d}-both-0000.safetensors"
        place.unlink(missing_ok=True)
        try:
            place.hardlink_to(self.shard_path(shard))
        except OSError:  # a file system without links
            shutil.copyfile(self.shard_path(shard), place)

    def drop_pieces(self, shard: int) -> None:
        """Remove a shard's pieces, and what was noted beside them."""
        notes = (self._half_path(shard), self._failed_path(shard))
        for path in (*self.pieces(shard, "target"), *self.pieces(shard, "both"), *notes):
            path.unlink(missing_ok=True)

    def has_halves(self, shard: int) -> bool:
        """Whether the target has answered everything of a shard, clips that failed left out."""
        return self._half_path(shard).is_file()

    def note_halves(self, shard: int) -> None:
        """Say that it has."""
        write_json(self._half_path(shard), {})

    def failed(self, shard: int) -> dict[int, Missing]:
        """Clips of a shard that have failed, by their number.

        Raises:
            InputError: the note is damaged.
        """
        path = self._failed_path(shard)
        value = self._read(path) or {}
        try:
            return {int(number): Missing(**one) for number, one in value.items()}
        except (ValueError, TypeError, AttributeError) as error:
            raise self._damaged(path, str(error)) from error

    def note_failed(self, shard: int, failed: dict[int, Missing]) -> None:
        """Say which clips of a shard have failed."""
        value = {str(number): asdict(one) for number, one in sorted(failed.items())}
        write_json(self._failed_path(shard), value)

    def _record_path(self, shard: int) -> Path:
        return self.open / f"{shard:06d}.json"

    def _half_path(self, shard: int) -> Path:
        return self.open / f"{shard:06d}-target.json"

    def _failed_path(self, shard: int) -> Path:
        return self.open / f"{shard:06d}-failed.json"

    def _read(self, path: Path) -> Mapping[str, Any] | None:
        """What a small file of ours says; None where it is not there."""
        if not path.is_file():
            return None
        try:
            return Item(parse_json(read_text(path), path), path, "note").value
        except InputError as error:
            raise self._damaged(path, error.found) from error

    def _damaged(self, path: Path, found: str) -> InputError:
        return InputError(
            f"a note of the extraction is damaged ({found})",
            where=path,
            expected="what this command wrote",
            hint="delete this file: what it told of is done again",
        )
