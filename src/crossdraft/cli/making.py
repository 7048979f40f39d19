"""What commands that make clips for a long time have in common: how they announce it, how they
are interrupted, what they say in the end."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from crossdraft.scenes.making import Report


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Let Ctrl-C and a polite end (SIGTERM, as batch systems send) stop the work, say how to go
    on, and exit with 130."""
    try:
        with sigterm_interrupts():
            yield
    except KeyboardInterrupt:
        again = shlex.join(["crossdraft", *sys.argv[1:]])
        print(f"\ninterrupted; what is done is kept, go on with: {again}", file=sys.stderr)
        raise typer.Exit(130) from None


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """Let a polite end (SIGTERM) stop the work as Ctrl-C does, so that it is cleared away."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread: nobody sends signals here
        yield
        return
    try:
        with _interrupts_not_lost():
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _interrupts_not_lost() -> Iterator[None]:
    """What is raised while an object is being cleared away goes nowhere; an interrupt that ended
    there is given again."""
    before, pending = sys.unraisablehook, list[threading.Timer]()
    main = threading.main_thread().ident
    assert main is not None

    def again(lost: sys.UnraisableHookArgs) -> None:
        if not issubclass(lost.exc_type, KeyboardInterrupt):
            before(lost)
            return
        # From a thread, and later: given here, it would be lost as well.
        later = threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGTERM])
        later.daemon = True
        pending.append(later)
        later.start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before
        for later in pending:
            later.cancel()


@contextlib.contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Whether a polite end (SIGTERM) was asked for: for work that ends behind its open part. A
    second one stops it as Ctrl-C does."""
    asked: list[int] = []

    def note(number: int, _: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        # Not by print, which may be in the middle of something.
        with contextlib.suppress(OSError):
            os.write(2, b"\nending behind the open shard; once more ends at once\n")

    try:
        before = signal.signal(signal.SIGTERM, note)
    except ValueError:  # not the main thread: nobody sends signals here
        yield lambda: False
        return
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGTERM, before)


def estimate(todo: int, planned: int, verb: str, needed: int, out: Path, time: str = "") -> str:
    """One line on what will be done, before it is.

    Args:
        todo, planned: clips.
        verb: what is done to them, such as `cut`.
        needed: bytes.
        time: how long it may take, such as ` and 8 min`.
    """
    from crossdraft.scenes.disk import format_bytes, free_bytes

    return (
        f"{todo:,} of {planned:,} clips to {verb}, about {format_bytes(needed)}{time} "
        f"({format_bytes(free_bytes(out))} are free)"
    )


def show_folders(report: Report) -> None:
    """How many clips each dataset holds now."""
    for folder, count in report.clips.items():
        print(f"{folder}: {count:,} clip{'' if count == 1 else 's'}")


def show_outcome(report: Report) -> None:
    """What failed, what was done, what was there."""
    for clip, reason in report.failed:
        print(f"failed {clip}: {reason}")
    print(
        f"{report.done:,} clips {report.VERB} in {report.seconds:.1f} s, {report.kept:,} were there"
    )
    if report.failed:
        print(f"{len(report.failed):,} clips failed; the same call tries them again")
