"""The work of one process: shards that nobody else has, until there are none.

Each process begins with shards of its own number and then takes what is left, so ranks of torchrun,
processes on one machine and on several share a folder without talking to each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from crossdraft.base.errors import InputError, gist
from crossdraft.pairs.extract.ask import Speaker, drafter_rows, target_rows
from crossdraft.pairs.extract.batch import Maker
from crossdraft.pairs.extract.claims import claimed
from crossdraft.pairs.extract.events import Tell, unheard
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.shard import Shard
from crossdraft.pairs.extract.tries import full_disk
from crossdraft.pairs.extract.workplace import Phase, Workplace
from crossdraft.pairs.store.rows import Row
from crossdraft.scenes.workers import is_full
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.scene_events import with_events

#: Rounds without a free shard before a process ends, and the time between them: somebody may only
#: have looked whether a shard is held.
_ROUNDS, _PAUSE_S = 2, 0.05


@dataclass(frozen=True)
class How:
    """How one process works; nothing of it but `threads` shows in the store.

    Attributes:
        save_every: pairs after which they are saved.
        retries: how often a clip is tried again.
        sequential: the target over all shards first, then the drafter.
        rank, world: which process this is, of how many.
        threads: that torch may use here; None: as it likes. On a CPU the last bits of states depend
            on it.
    """

    save_every: int = 100
    retries: int = 2
    sequential: bool = False
    rank: int = 0
    world: int = 1
    threads: int | None = None


class Work(Maker):
    """A process at work.

    Args:
        plan: what is done; its folder has its note.
        how: how.
        tell: is told what happens.
        stop: asked behind each shard whether to leave the rest to others, or to a later call.
    """

    def __init__(
        self, plan: Plan, how: How, tell: Tell = unheard, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._plan, self._how, self._tell, self._stop = plan, how, tell, stop
        self._place = Workplace(plan.out)
        in_turn = how.sequential or plan.pair.load == "in_turn"
        self._models = PairModels(replace(plan.pair, load="in_turn") if in_turn else plan.pair)
        self._in_turn = in_turn
        self._held: dict[Role, Speaker] = {}

    def run(self) -> None:
        """Work until no shard is free, or until asked to stop.

        Raises:
            InputError: a model cannot be loaded, or the disk is full.
            KeyboardInterrupt: what was finished of the open shard is saved.
        """
        if self._how.threads is not None:
            torch.set_num_threads(self._how.threads)
        try:
            with self._models:
                self._all_rounds()
        except Exception as error:
            if is_full(error) and not isinstance(error, InputError):
                raise full_disk(gist(error), self._plan.out) from error
            raise
        finally:
            self._held.clear()

    def _all_rounds(self) -> None:
        idle = 0
        while idle < _ROUNDS and not self._stop() and self._left():
            if idle:
                time.sleep(_PAUSE_S)
            idle = 0 if self._round() else idle + 1

    def _left(self) -> bool:
        if self._place.finished:
            return False
        return not all(self._place.is_done(shard) for shard in range(self._plan.shards))

    def _round(self) -> bool:
        """Go over all shards once; whether anything was done."""
        if not self._in_turn:
            return self._over(lambda _: True, lambda shard: shard.make_whole(self))
        has_halves = self._place.has_halves
        halves = self._over(lambda n: not has_halves(n), lambda shard: shard.make_halves(self))
        return self._over(has_halves, lambda shard: shard.make_whole(self)) or halves

    def _over(self, wanted: Callable[[int], bool], make: Callable[[Shard], None]) -> bool:
        """Make the shards that are wanted and free, each held meanwhile; whether there were any."""
        done, how, place = False, self._how, self._place
        own = range(how.rank, self._plan.shards, how.world)
        rest = [number for number in range(self._plan.shards) if number not in own]
        for number in (*own, *rest):
            if self._stop() or place.finished:
                break
            if place.is_done(number) or not wanted(number):
                continue
            with claimed(place.claim_path(number)) as claim:
                # In this order: records vanish only when the store is there.
                if claim is None or place.is_done(number) or not wanted(number):
                    continue
                if place.finished:
                    break
                make(
                    Shard(self._plan, place, number, claim, how.retries, how.save_every, self._tell)
                )
                done = True
        return done

    # What a shard asks of its maker.

    def prepare(self, phase: Phase, answered: bool) -> None:
        """See `Maker.prepare`. Of models in turn the drafter waits for the target's halves."""
        if not answered:
            self._speaker("target")
        if phase == "both" and (answered or not self._in_turn):
            self._speaker("drafter")

    def rows(
        self, phase: Phase, numbers: Sequence[int], halves: Mapping[int, Sequence[Row]]
    ) -> list[list[Row]]:
        """See `Maker.rows`."""
        scenes = [self._plan.scenes[number] for number in numbers]
        if phase == "target":
            return target_rows(self._plan, self._speaker("target"), scenes)
        shown = [with_events(self._plan.pair, self._plan.seen(number)) for number in numbers]
        known = [halves[number] for number in numbers]
        return drafter_rows(self._plan, self._speaker("drafter"), shown, known)

    def _speaker(self, role: Role) -> Speaker:
        """A model, loaded when it is first asked for; of a pair in turn the other is freed."""
        if role not in self._held:
            if self._in_turn:
                self._held.clear()
            model = self._models.target if role == "target" else self._models.drafter
            self._held[role] = Speaker.of(self._plan, role, model)
        return self._held[role]
