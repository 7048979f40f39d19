"""One shard: batches of its clips one after the other, saved now and then, put together in the end.

Batches follow from the plan alone: what a model computes depends in its last bits on what is
computed beside it, and every process that makes a shard shall make the same one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from crossdraft.base.clock import now_ms
from crossdraft.pairs.extract.claims import Claim
from crossdraft.pairs.extract.events import Event, Tell
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.tries import together, tried
from crossdraft.pairs.extract.workplace import Phase, Workplace
from crossdraft.pairs.store.manifest import Missing, Schema
from crossdraft.pairs.store.rows import Row


class Maker(Protocol):
    """Whoever has the models."""

    def prepare(self, phase: Phase, half: Sequence[Row] | None) -> None:
        """Load what a clip will need: its errors are not the clip's.

        Args:
            half: what the target has said of the clip, where that is known.
        """

    def ahead(
        self, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> None:
        """Do several clips in one batch, so that `rows` has them."""

    def rows(self, phase: Phase, number: int, half: Sequence[Row] | None) -> list[Row]:
        """Rows of a clip by its number: the target's halves, or whole pairs."""
        ...


@dataclass
class Shard:
    """A shard in the hands of this process.

    Attributes:
        plan, place, number, claim: which, where, and that it is ours.
        retries: how often a clip is tried again.
        save_every: pairs after which they are saved.
        tell: is told what happens.
    """

    plan: Plan
    place: Workplace
    number: int
    claim: Claim
    retries: int
    save_every: int
    tell: Tell
    failed: dict[int, Missing] = field(init=False)

    def __post_init__(self) -> None:
        self.failed = self.place.failed(self.number)

    def make_halves(self, maker: Maker) -> None:
        """Have the target answer everything, saved as pieces."""
        there = self._read("target", self.plan.half_schema)
        whole = self._read("both", self.plan.schema)
        self._make("target", maker, {}, self._clips(there) | self._clips(whole), save_all=True)
        self.place.note_halves(self.number)

    def make_whole(self, maker: Maker) -> None:
        """Have what is missing made, from halves where they are there, and write the shard."""
        halves = self._by_clip(self._read("target", self.plan.half_schema))
        rows = self._read("both", self.plan.schema)
        rows += self._make("both", maker, halves, self._clips(rows), save_all=False)
        self._write(rows)

    def _make(
        self,
        phase: Phase,
        maker: Maker,
        halves: dict[int, list[Row]],
        done: Iterable[int],
        save_all: bool,
    ) -> list[Row]:
        """Rows of the clips that are not done; also those that were saved on the way."""
        done, known = set(done), {*done, *self.failed}
        made: list[Row] = []
        fresh: list[Row] = []
        try:
            for batch in self._batches(done):
                rows: list[Row] = []
                spent_s = self._ahead(phase, batch, maker, halves)
                for number in batch:
                    if number not in known:
                        rows += self._clip(phase, number, maker, halves.pop(number, None), spent_s)
                # Whole batches alone: the rest of one would be another batch.
                fresh += rows
                made += rows
                if len(fresh) >= self.save_every:
                    self._save(phase, fresh)
        except BaseException:
            # What could not be written is made again.
            with contextlib.suppress(Exception):
                self._save(phase, fresh)
            raise
        if save_all:
            self._save(phase, fresh)
        return made

    def _batches(self, done: set[int]) -> list[list[int]]:
        """Clips that are still to be done, those that fail included."""
        clips, size = self.plan.clips(self.number), self.plan.batch_clips
        batches = [clips[first : first + size] for first in range(0, len(clips), size)]
        return [left for batch in batches if (left := [n for n in batch if n not in done])]

    def _ahead(
        self, phase: Phase, batch: list[int], maker: Maker, halves: Mapping[int, list[Row]]
    ) -> float:
        """Do a batch at once where that is possible; seconds of it that each clip has taken."""
        if self.failed.keys() >= set(batch):
            return 0.0
        # Clips that the target failed at have no half.
        batch = [number for number in batch if number in halves] or batch
        maker.prepare(phase, halves.get(batch[0]))
        self.tell(Event("begin", self.number, phase))
        began_ms = now_ms()
        if len(batch) > 1:
            there = {number: halves[number] for number in batch if number in halves}
            together(lambda: maker.ahead(phase, batch, there), self.claim, batch, self.retries)
        return (now_ms() - began_ms) / 1e3 / len(batch)

    def _clip(
        self, phase: Phase, number: int, maker: Maker, half: list[Row] | None, spent_s: float
    ) -> list[Row]:
        """Rows of one clip, none where it fails.

        Args:
            spent_s: seconds that it has taken before.
        """
        maker.prepare(phase, half)
        clip, began_ms = self.plan.scenes[number].id, now_ms()
        rows = tried(
            lambda: maker.rows(phase, number, half), self.claim, number, clip, self.retries
        )
        if isinstance(rows, Missing):
            self.failed[number] = rows
            self.place.note_failed(self.number, self.failed)
            self.tell(
                Event("failure", self.number, phase, clip, reason=rows.reason, tries=rows.tries)
            )
            return []
        seconds = spent_s + (now_ms() - began_ms) / 1e3
        self.tell(Event("clip", self.number, phase, clip, len(rows), positions(rows), seconds))
        return rows

    def _save(self, phase: Phase, fresh: list[Row]) -> None:
        """Save rows as a piece, and forget that they were not."""
        if fresh:
            self.place.add_piece(self.number, phase, fresh, self._schema(phase))
            self.tell(Event("piece", self.number, phase, pairs=len(fresh)))
            fresh.clear()

    def _write(self, rows: list[Row]) -> None:
        number_of = self.plan.number_of
        rows.sort(key=lambda row: (number_of[row.pair.clip], row.pair.question_index))
        missing = [one for _, one in sorted(self.failed.items())]
        record = self.place.finish(self.number, rows, self.plan.schema, missing)
        size = 0 if record.info is None else record.info.bytes
        self.tell(
            Event("shard", self.number, pairs=len(rows), positions=positions(rows), bytes=size)
        )

    def _read(self, phase: Phase, schema: Schema) -> list[Row]:
        return self.place.read_pieces(self.number, phase, schema, self._lost)

    def _lost(self, path: Path, found: str) -> None:
        self.tell(Event("lost", self.number, reason=f"{path.name}: {found}"))

    def _schema(self, phase: Phase) -> Schema:
        return self.plan.schema if phase == "both" else self.plan.half_schema

    def _clips(self, rows: Iterable[Row]) -> set[int]:
        return {self.plan.number_of[row.pair.clip] for row in rows}

    def _by_clip(self, rows: Iterable[Row]) -> dict[int, list[Row]]:
        found: dict[int, list[Row]] = {}
        for row in rows:
            found.setdefault(self.plan.number_of[row.pair.clip], []).append(row)
        return found


def positions(rows: Iterable[Row]) -> tuple[int, int]:
    """States of the target's and of the drafter's own answers."""
    target = own = 0
    for row in rows:
        target += row.said["target"].count
        own += row.said["own"].count if "own" in row.said else 0
    return target, own
