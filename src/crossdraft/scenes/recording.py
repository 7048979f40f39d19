"""A scene's events for looking at them: all in memory, or by the window where they are too many."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from crossdraft.base.errors import InputError
from crossdraft.scenes.event_file import EventFile
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.readers import event_format
from crossdraft.scenes.scene import Scene

#: Events of a file that are read at once; a whole drive has a hundred times as many.
READ_AT_ONCE = 100_000_000


@dataclass(frozen=True)
class Recording:
    """What a scene's events are, and how to get at them.

    Attributes:
        count: events of the scene.
        span_us: start and end on the recording's clock: the scene's window, else the first and
            the last event.
        whole: all events, or None where they are read by the window.
    """

    count: int
    span_us: tuple[int, int]
    sensor: tuple[int, int]
    whole: EventStream | None
    file: EventFile | None = None

    def between(self, start_us: int, end_us: int) -> EventStream:
        """Events of a stretch, times on the recording's clock. The end is left out unless it is
        the recording's last event."""
        last = end_us + (end_us >= self.span_us[1])
        if self.whole is not None:
            return self.whole.between(start_us, last)
        assert self.file is not None
        return self.file.window(start_us, last)


@contextlib.contextmanager
def recording(scene: Scene) -> Iterator[Recording]:
    """Open a scene's events.

    Raises:
        InputError: missing, damaged, or without an event in the scene's window.
    """
    path = scene.events_path
    if path is not None and scene.window_us is None and event_format(path) == "hdf5":
        with EventFile(path, scene.sensor) as file:
            if len(file) > READ_AT_ONCE:
                span = (file.start_us, file.end_us)
                yield Recording(len(file), span, file.sensor, None, file)
                return
    stream = scene.events()
    if not len(stream):
        raise InputError("no events in the scene's window", where=path)
    span = scene.window_us or (int(stream.t[0]), int(stream.t[-1]))
    yield Recording(len(stream), span, stream.sensor, stream)


def stretches(span_us: tuple[int, int], n: int, window_us: int) -> list[tuple[int, int]]:
    """`n` stretches of a span: equal parts of a short one, else windows that are evenly spaced.

    Args:
        span_us: start and end.
        window_us: length of a window; parts where n windows would fill the span.
    """
    start, length = span_us[0], span_us[1] - span_us[0]
    if length <= n * window_us:
        edges = [start + length * i // n for i in range(n + 1)]
        return list(itertools.pairwise(edges))
    starts = [start + (length - window_us) * i // max(n - 1, 1) for i in range(n)]
    return [(first, first + window_us) for first in starts]
