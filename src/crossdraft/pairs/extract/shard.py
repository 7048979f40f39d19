"""One shard: batches of its clips one after the other, saved now and then, put together in the end.

Batches follow from the plan alone: what a model computes depends in its last bits on what is
computed beside it, and every process that makes a shard shall make the same one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossdraft.base.clock import now_ms
from crossdraft.pairs.extract.batch import Batch, Maker, Rows
from crossdraft.pairs.extract.claims import Claim
from crossdraft.pairs.extract.events import Event, Tell
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.workplace import Phase, Workplace
from crossdraft.pairs.store.manifest import Missing, Schema
from crossdraft.pairs.store.rows import Row


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
        done = self._clips(there) | self._clips(self._read("both", self.plan.schema))
        self._make("target", maker, {}, self._pending(done, keep=()), save_all=True)
        self.place.note_halves(self.number)

    def make_whole(self, maker: Maker) -> None:
        """Have what is missing made, from halves where they are there, and write the shard."""
        halves = self._by_clip(self._read("target", self.plan.half_schema))
        rows = self._read("both", self.plan.schema)
        # What the target has failed at stays failed; without its marker nothing is known of that.
        known = self.failed.keys() - halves if self.place.has_halves(self.number) else ()
        pending = self._pending(self._clips(rows), keep=known)
        again = {number for batch in pending for number in batch}
        rows = [row for row in rows if self.plan.number_of[row.pair.clip] not in again]
        rows += self._make("both", maker, halves, pending, save_all=False)
        self._write(rows)

    def _pending(self, done: set[int], keep: Collection[int]) -> list[Sequence[int]]:
        """Batches that are not done. Each will be done as a whole, so failures of its clips are
        forgotten.

        Args:
            done: clips that are.
            keep: clips that stay failed.
        """
        clips, size = self.plan.clips(self.number), self.plan.batch_clips
        batches = [clips[first : first + size] for first in range(0, len(clips), size)]
        known = done | self.failed.keys()
        pending: list[Sequence[int]] = [one for one in batches if not known.issuperset(one)]
        for number in {number for batch in pending for number in batch}.difference(keep):
            self.failed.pop(number, None)
        return pending

    def _make(
        self,
        phase: Phase,
        maker: Maker,
        halves: Rows,
        pending: Sequence[Sequence[int]],
        save_all: bool,
    ) -> list[Row]:
        """Rows of these batches; also those that were saved on the way."""
        made: list[Row] = []
        fresh: list[Row] = []
        try:
            for numbers in pending:
                rows = self._batch(phase, numbers, maker, halves)
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

    def _batch(self, phase: Phase, numbers: Sequence[int], maker: Maker, halves: Rows) -> list[Row]:
        """Rows of one batch. Clips that fail are noted.

        The target is asked about the batch and then the drafter, whether at once or much later.
        """
        before = set(self.failed)
        batch = Batch(
            numbers, self.failed, self._name, self.claim, self.retries,
            lambda reason: self.tell(Event("alone", self.number, reason=reason)),
        )  # fmt: skip
        rows: Rows = {number: halves.pop(number) for number in numbers if number in halves}
        answered = all(number in rows or number in self.failed for number in numbers)
        maker.prepare(phase, answered)
        self.tell(Event("begin", self.number, phase))
        began_ms = now_ms()
        if not answered:
            rows = batch.ask(maker, "target", {})
        if phase == "both":
            rows = batch.ask(maker, "both", rows)
        self._tell_of(phase, rows, before, (now_ms() - began_ms) / 1e3)
        return [row for one in rows.values() for row in one]

    def _tell_of(self, phase: Phase, rows: Rows, before: set[int], seconds: float) -> None:
        """Tell of a batch's clips: those that have failed now, those that are done."""
        new = [one for number, one in self.failed.items() if number not in before]
        if new:
            self.place.note_failed(self.number, self.failed)
        for one in new:
            self.tell(
                Event("failure", self.number, phase, one.clip, reason=one.reason, tries=one.tries)
            )
        for number, made in rows.items():
            share_s = seconds / len(rows)
            self.tell(
                Event(
                    "clip", self.number, phase, self._name(number), len(made), positions(made),
                    share_s,
                )
            )  # fmt: skip

    def _name(self, number: int) -> str:
        return self.plan.scenes[number].id

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
        """Rows of all pieces; of a batch that was made again the later ones."""
        rows = self.place.read_pieces(self.number, phase, schema, self._lost)
        return list({(row.pair.clip, row.pair.question_index): row for row in rows}.values())

    def _lost(self, path: Path, found: str) -> None:
        self.tell(Event("lost", self.number, reason=f"{path.name}: {found}"))

    def _schema(self, phase: Phase) -> Schema:
        return self.plan.schema if phase == "both" else self.plan.half_schema

    def _clips(self, rows: Iterable[Row]) -> set[int]:
        return {self.plan.number_of[row.pair.clip] for row in rows}

    def _by_clip(self, rows: Iterable[Row]) -> Rows:
        found: Rows = {}
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
