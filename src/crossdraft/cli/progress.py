"""A progress bar on stderr, so that stdout stays clean for results."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from crossdraft.base.progress import Progress, ProgressSink


@contextlib.contextmanager
def progress_bar() -> Iterator[ProgressSink]:
    """A sink that draws a bar for every stage under way; it draws nothing where stderr is no
    terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Bars(
        *columns, TimeRemainingColumn(), console=console, transient=True,
        disable=not console.is_terminal,
    ) as bars:  # fmt: skip
        tasks: dict[str, int] = {}

        def sink(event: Progress) -> None:
            if event.stage not in tasks:
                tasks[event.stage] = bars.add_task(event.stage, total=event.total)
            # A training has one stage per epoch: finished ones make room.
            running = event.done < event.total
            bars.update(tasks[event.stage], completed=event.done, visible=running)  # type: ignore[arg-type]

        yield sink
