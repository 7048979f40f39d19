"""What an extraction will take: at most, before it begins; and about, from clips that are done."""

from __future__ import annotations

from dataclasses import dataclass

from crossdraft.base.clock import now_ms
from crossdraft.pairs.extract.ask import Speaker, drafter_rows, target_rows
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.shard import positions
from crossdraft.pairs.store.packing import bytes_per_position
from crossdraft.pairs.store.rows import Row
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.scene_events import with_events

#: Of a pair, whatever is kept of its states: both texts, hashes, offsets, checksums.
_PAIR_BYTES = 600


@dataclass(frozen=True)
class Measured:
    """What clips have shown.

    Attributes:
        clips, pairs: how many.
        positions: states of the target's and of the drafter's own answers.
        seconds: of one process.
    """

    clips: int
    pairs: int
    positions: tuple[int, int]
    seconds: float

    def bytes_of(self, plan: Plan) -> int:
        """About what the store takes, if all clips are like these."""
        return _bytes(plan, *(count / self.pairs for count in self.positions))

    def seconds_of(self, clips: int, processes: int = 1) -> float:
        """About what so many clips take, if all processes are as fast."""
        return self.seconds / self.clips * clips / processes


def most_bytes(plan: Plan) -> int:
    """What the store takes at most: every answer as long as it may be."""
    return _bytes(plan, plan.max_new_tokens, plan.max_new_tokens)


def _bytes(plan: Plan, target: float, own: float) -> int:
    """Bytes of the store where an answer has so many tokens on the average."""
    of_side = {"target": target, "own": own}
    total = 4 * (target + own)
    for stored in plan.schema.kinds:
        per_state = bytes_per_position(stored.width, stored.dtype)
        total += of_side[stored.kind.side] * per_state
    for reading in plan.keep.readings:
        if top := plan.tops(reading):
            total += of_side["own" if reading == "own" else "target"] * (8 * top + 4)
    return int(plan.pairs * (total + _PAIR_BYTES))


def measure(plan: Plan) -> Measured:
    """Load the models and ask them about a batch of clips, twice: the second time is warm.

    Nothing is written.

    Raises:
        InputError: a model cannot be loaded, or a clip cannot be read.
        ValueError: a state is not finite, or does not fit.
    """
    scenes = plan.scenes[: min(plan.batch_clips, plan.clips_per_shard)]
    target_ms = drafter_ms = 0.0
    halves: list[list[Row]] = []
    whole = halves
    with PairModels(plan.pair) as models:
        target = Speaker.of(plan, "target", models.target)
        for _ in range(2):
            began_ms = now_ms()
            halves = target_rows(plan, target, scenes)
            target_ms = now_ms() - began_ms
        del target  # before the other is loaded, where both do not fit
        drafter = Speaker.of(plan, "drafter", models.drafter)
        for _ in range(2):
            began_ms = now_ms()
            shown = [with_events(plan.pair, plan.seen(number)) for number in range(len(scenes))]
            whole = drafter_rows(plan, drafter, shown, halves)
            drafter_ms = now_ms() - began_ms
        del drafter
    rows = [row for clip in whole for row in clip]
    return Measured(len(scenes), len(rows), positions(rows), (target_ms + drafter_ms) / 1e3)
