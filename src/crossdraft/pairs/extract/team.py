"""Several processes on this machine, each with models of its own; claims decide who does what.

A process that dies is started again, and the shard it held goes on where its last piece ends.
Ctrl-C belongs to the parent, which has the others save what they have; they end with the parent
whatever ends it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from crossdraft.base.errors import CrossdraftError, InputError
from crossdraft.pairs.extract.events import Event, Tell
from crossdraft.pairs.extract.log import Log
from crossdraft.pairs.extract.plan import Plan
from crossdraft.pairs.extract.work import How, Work
from crossdraft.scenes.workers import interrupts_held, serve_parent
from crossdraft.vlm.free_memory import available_bytes
from crossdraft.vlm.loading import estimate_target
from crossdraft.vlm.model_spec import ROLES
from crossdraft.vlm.pair import ModelPair

#: How long messages are waited for before the caller's wish to stop is looked at, in seconds.
_LOOK_S = 0.2
#: Has a process save what it has and end, as Ctrl-C would.
_INTERRUPT = signal.SIGUSR1


class _Member:
    """One process.

    Attributes:
        fruitless: how often it has died without having done a clip.
    """

    def __init__(self, plan: Plan, how: How) -> None:
        self._plan, self.how = plan, how
        self.fruitless = 0
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=_serve, args=(theirs, self._plan, self.how), daemon=True
        )
        with interrupts_held():
            self.process.start()
        # With this end closed, a dead process's pipe reads as ended.
        theirs.close()

    def signal(self, number: signal.Signals) -> None:
        if self.process.pid is not None and self.process.is_alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def workers_here(pair: ModelPair, cores: int) -> int:
    """Processes that this machine has cores and memory for, where both models run on the CPU; one
    where a GPU does the work.

    Raises:
        InputError: a model is not there.
    """
    if not _on_cpu(pair):
        return 1
    needed = sum(
        estimate_target(pair.spec(role).place(role), dtype=pair.spec(role).dtype).total
        for role in ROLES
    )
    available = available_bytes("cpu")
    fitting = cores if available is None else available // max(1, needed)
    return max(1, min(cores, fitting))


def threads_of(plan: Plan, cores: int, workers: int) -> int | None:
    """Threads of each process where both models run on the CPU; None where a GPU does the work.

    The last bits of states depend on it. So small models always have one, however many processes
    there are and whatever else runs here.
    """
    if not _on_cpu(plan.pair):
        return None
    return 1 if plan.small else max(1, cores // workers)


def _on_cpu(pair: ModelPair) -> bool:
    import torch

    devices = {str(pair.spec(role).device) for role in ROLES}
    return not (devices - {"cpu", "auto"} or ("auto" in devices and torch.cuda.is_available()))


def run_team(
    plan: Plan, how: How, workers: int, tell: Tell, stop: Callable[[], bool] = lambda: False
) -> None:
    """Work with several processes until no shard is free; see `Work`.

    Args:
        how: of each of them; ranks are those within the team.
        stop: asked now and then whether each shall end behind its open shard.

    Raises:
        InputError: a process could not go on, or they keep dying before they have done anything.
    """
    team = [_Member(plan, replace(how, rank=rank, world=workers)) for rank in range(workers)]
    stopping = False
    try:
        while team:
            if stop() and not stopping:
                stopping = True
                for member in team:
                    member.signal(signal.SIGTERM)
            ready = wait([member.pipe for member in team], _LOOK_S)
            for member in [one for one in team if one.pipe in ready]:
                if not _heard(member, tell, how.retries, stopping):
                    team.remove(member)
                    member.end()
    except BaseException:
        _have_saved(team)
        raise
    finally:
        for member in team:
            member.end()


def _have_saved(team: list[_Member]) -> None:
    """Have everybody save what they have; a second Ctrl-C ends them at once."""
    for member in team:
        member.signal(_INTERRUPT)
    for member in team:
        member.process.join()


def _heard(member: _Member, tell: Tell, retries: int, stopping: bool) -> bool:
    """Take what a process has to say; whether it goes on."""
    try:
        message: Any = member.pipe.recv()
    except (EOFError, OSError):
        member.process.join()
        if stopping:
            return False
        member.fruitless += 1
        if member.fruitless > retries:
            raise InputError(
                f"a process died {member.fruitless} times before it had done a clip (exit code "
                f"{member.process.exitcode})",
                where="--workers",
                expected="memory for the models of every process",
                hint="fewer --workers: what is done is kept",
            ) from None
        member.pipe.close()
        member.start()
        return True
    if isinstance(message, CrossdraftError):
        raise message
    if message is None:
        return False
    if message.what == "clip":
        member.fruitless = 0
    tell(message)
    return True


def _serve(pipe: Connection, plan: Plan, how: How) -> None:
    """A process's life."""
    serve_parent()
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    signal.signal(_INTERRUPT, signal.default_int_handler)
    log = Log(plan.out)

    def tell(event: Event) -> None:
        log.tell(event)
        pipe.send(event)

    try:
        try:
            with log.running(rank=how.rank, world=how.world, threads=how.threads):
                Work(plan, how, tell, lambda: bool(stopping)).run()
            pipe.send(None)
        except CrossdraftError as error:
            # An error comes out of a pipe as its text.
            pipe.send(InputError(str(error)))
    except (KeyboardInterrupt, BrokenPipeError):
        # Also in the middle of sending: the others may have the same to say.
        os._exit(0)
