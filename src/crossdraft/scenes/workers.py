"""Independent jobs in worker processes: what fails is told apart, a death costs one job.

Workers are started afresh (spawn), leave Ctrl-C to the parent and end with it, even if it is
killed. One worker means no process at all: the jobs then run where the caller is.
"""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

from crossdraft.base.errors import CrossdraftError, InputError

Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Failure:
    """A job that did not finish.

    Attributes:
        reason: what was wrong, for a person to read.
        disk_full: no other job could do better.
    """

    reason: str
    disk_full: bool = False


def run_jobs(
    work: Callable[[Job], Result], jobs: Sequence[Job], workers: int, where: Path | None = None
) -> Generator[tuple[int, Result | Failure], None, None]:
    """Do all jobs, started in their order, and yield place and outcome of each as it ends.

    Closing the generator ends all workers at once; take from it within `contextlib.closing`, so
    that an interrupt does so too.

    Args:
        work: function of a module; with several workers, jobs and results are pickled.
        workers: processes at most.
        where: what errors name.

    Raises:
        InputError: the disk is full.
    """
    workers = min(workers, len(jobs))
    here = ((place, attempt(work, job)) for place, job in enumerate(jobs))
    with contextlib.closing(here if workers <= 1 else _in_processes(work, jobs, workers)) as ended:
        for place, outcome in ended:
            if isinstance(outcome, Failure) and outcome.disk_full:
                raise InputError(
                    outcome.reason,
                    where=where,
                    expected="room for what is still to be written",
                    hint="make room, then call again: what is done is kept",
                )
            yield place, outcome


def attempt(work: Callable[[Job], Result], job: Job) -> Result | Failure:
    """One job's result, or why it failed; only an interrupt gets through."""
    try:
        return work(job)
    except CrossdraftError as error:
        return Failure(str(error), is_full(error))
    except MemoryError:
        return Failure("not enough memory for this clip: fewer workers, or shorter clips")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        return Failure(f"{place}{error.strerror or error}", is_full(error))
    except Exception as error:  # a job must not take the others along
        return Failure(f"{type(error).__name__}: {error}", is_full(error))


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error, or behind what caused it."""
    while error is not None:
        # Not only OSError has a number: the errors of the video library do, too.
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False


class _Worker(Generic[Job]):
    """One process, and the place of the job it has."""

    def __init__(self, work: Callable[[Job], Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, work), daemon=True)
        with interrupts_held():
            self.process.start()
        # With this end closed, a dead worker's pipe reads as ended.
        theirs.close()
        self.place = -1

    def give(self, place: int, job: Job) -> None:
        self.place = place
        # Where it has died meanwhile, `take` says so.
        with contextlib.suppress(OSError):
            self.pipe.send(job)

    def take(self) -> Any:
        """The outcome of the job, or what its death means."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            return Failure(f"its process died (exit code {code}): memory, or a damaged file")

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _in_processes(
    work: Callable[[Job], Result], jobs: Sequence[Job], count: int
) -> Generator[tuple[int, Result | Failure], None, None]:
    waiting = iter(enumerate(jobs))
    team: dict[Connection, _Worker[Job]] = {}
    try:
        for place, job in waiting:
            worker = _Worker[Job](work)
            team[worker.pipe] = worker
            worker.give(place, job)
            if len(team) == count:
                break
        while team:
            for pipe in wait(list(team)):
                worker = team[pipe]  # type: ignore[index]
                done, outcome = worker.place, worker.take()
                following = next(waiting, None)
                if following is None or not worker.process.is_alive():
                    del team[worker.pipe]
                    worker.end()
                if following is not None:
                    if not worker.process.is_alive():
                        worker = _Worker[Job](work)
                        team[worker.pipe] = worker
                    worker.give(*following)
                yield done, outcome
    finally:
        for worker in team.values():
            worker.end()


def _serve(pipe: Connection, work: Callable[[Any], Any]) -> None:
    """A worker's life: take a job, send its outcome, until the parent is gone."""
    serve_parent()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            pipe.send(attempt(work, pipe.recv()))


def serve_parent() -> None:
    """What a worker does first: leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Start a process that never sees Ctrl-C, not even while it starts: it inherits the mask."""
    # Starting a first process starts this helper too, which would lift the mask again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
