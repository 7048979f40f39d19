"""`crossdraft extract` as a library: a plan becomes a store, by one process or several."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crossdraft.base.clock import now_ms
from crossdraft.pairs.extract.events import Event, Tell, unheard
from crossdraft.pairs.extract.finish import begin, finish
from crossdraft.pairs.extract.log import Log
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.team import run_team
from crossdraft.pairs.extract.work import How, Work
from crossdraft.pairs.store.manifest import Manifest


@dataclass
class Outcome:
    """What a call has come to.

    Attributes:
        manifest: of the finished store; None where shards are left to others or to a later call.
        made: pairs that this call has made.
        seconds: that it took, loading included.
        working_seconds: from the first shard that was begun, the models loaded, to the end.
    """

    manifest: Manifest | None = None
    made: int = 0
    seconds: float = 0.0
    working_seconds: float = 0.0


def extract(
    plan: Plan,
    how: How | None = None,
    *,
    workers: int = 1,
    tell: Tell = unheard,
    stop: Callable[[], bool] = lambda: False,
    argv: Sequence[str] | None = None,
) -> Outcome:
    """Extract what is missing of a plan.

    Args:
        how: how this process, or each of several, works.
        workers: processes; with one, everything happens in this one.
        tell: is told what happens.
        stop: asked now and then whether to end behind the open shard.
        argv: the call, for the store's provenance.

    Returns:
        With the manifest where the store is whole. Called again for a store whose clips have
        failed in part, it tries those again.

    Raises:
        InputError: as `begin`; a model cannot be loaded; the disk is full; every clip has failed.
        KeyboardInterrupt: what is done is kept.
    """
    how, outcome, began_ms = how or How(), Outcome(), now_ms()
    outcome.manifest = begin(plan, sys.argv if argv is None else argv)
    if outcome.manifest is not None:
        return outcome

    first_ms: list[float] = []

    def heard(event: Event) -> None:
        if event.what == "begin" and not first_ms:
            first_ms.append(now_ms())
        if event.what == "clip" and event.role == "both":
            outcome.made += event.pairs
        tell(event)

    if workers > 1:
        run_team(plan, how, workers, heard, stop)
    else:
        log = Log(plan.out)

        def logged(event: Event) -> None:
            log.tell(event)
            heard(event)

        with log.running(rank=how.rank, world=how.world, threads=how.threads):
            Work(plan, how, logged, stop).run()
    outcome.manifest = finish(plan)
    outcome.seconds = (now_ms() - began_ms) / 1e3
    if first_ms:
        outcome.working_seconds = (now_ms() - first_ms[0]) / 1e3
    return outcome
