"""Jobs in worker processes."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.workers import Failure, run_jobs


def square(number: int) -> int:
    if number == 3:
        raise InputError("three is refused", expected="any other")
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def fill_disk(number: int) -> int:
    if number:
        raise RuntimeError("cannot write") from OSError(errno.ENOSPC, "No space left on device")
    return number


def sleep_and_tell(folder: Path, number: int) -> int:
    (folder / str(os.getpid())).touch()
    time.sleep(60)
    return number


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_has_its_outcome(workers: int) -> None:
    jobs = [0, 1, 2, 3, 4, 6, 7]
    outcomes = dict(run_jobs(square, jobs, workers))
    failure = outcomes.pop(3)
    assert isinstance(failure, Failure)
    assert failure.reason == "three is refused\n  expected: any other"
    assert outcomes == {place: job * job for place, job in enumerate(jobs) if job != 3}
    assert list(run_jobs(square, [], workers)) == []


def test_a_worker_that_dies_costs_one_job() -> None:
    jobs = [5, 1, 2, 4, 5]
    outcomes = dict(run_jobs(square, jobs, 2))
    for place in (0, 4):
        failure = outcomes.pop(place)
        assert isinstance(failure, Failure)
        assert "its process died (exit code -9)" in failure.reason
    assert outcomes == {1: 1, 2: 4, 3: 16}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_all(workers: int) -> None:
    with pytest.raises(InputError, match=r"out: RuntimeError: cannot write[\s\S]*make room"):
        list(run_jobs(fill_disk, [0, 1, 0, 0], workers, Path("out")))
    assert not multiprocessing.active_children()


def test_who_stops_listening_ends_the_workers() -> None:
    with contextlib.closing(run_jobs(square, list(range(6, 99)), 2)) as outcomes:
        next(outcomes)
    assert not multiprocessing.active_children()


def test_an_interrupt_ends_the_workers(tmp_path: Path) -> None:
    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        list(run_jobs(partial(sleep_and_tell, tmp_path), [1, 2, 3], 2))
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)
