"""A scene for when none is given: a bright square crosses the view of both sensors.

Computed, the same every time, and needing no file and no video library. Both prompt builders take
it as they take a `Scene`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from crossdraft.scenes.events import DEFAULT_SENSOR, EventStream

#: Side of the square, and its upper edge, in pixels.
SIDE, TOP = 240, 120
#: The square moves one pixel in this time, from the left edge of the view to the right.
PIXEL_US = 1000
FRAME_US = 25_000
_DARK, _BRIGHT = 64, 235

Times = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MadeFrames:
    """What `scenes.video.VideoFrames` holds, without the video library that file needs.

    Attributes:
        frames: RGB, uint8 [n, height, width, 3].
        times_us: when each is shown, int64 [n], from the first frame.
        indices: which frame of the video each is, int64 [n].
    """

    frames: npt.NDArray[np.uint8]
    times_us: Times
    indices: Times


class MadeScene:
    """0.4 s: 16 video frames and 192,000 events of one square in motion."""

    drive, clip, id = "made", 0, "made/000000"
    sensor = DEFAULT_SENSOR
    simulated = True
    window_us = (0, (DEFAULT_SENSOR[0] - SIDE) * PIXEL_US)

    @property
    def times_us(self) -> Times:
        """When each frame of the video is shown, int64 [frames]."""
        return np.arange(*self.window_us, FRAME_US)

    def video_frames(self, count: int) -> MadeFrames:
        """`count` frames, uniform in time."""
        return self.frames_at(np.arange(count) * len(self.times_us) // count)

    def frames_at(self, indices: Times) -> MadeFrames:
        """The frames of these numbers."""
        times_us = self.times_us[indices]
        width, height = self.sensor
        frames = np.full((len(indices), height, width, 3), _DARK, np.uint8)
        for frame, left in zip(frames, times_us // PIXEL_US, strict=True):
            frame[TOP : TOP + SIDE, left : left + SIDE] = _BRIGHT
        return MadeFrames(frames, times_us, np.asarray(indices, np.int64))

    def events(self) -> EventStream:
        """A darker event at the square's left edge and a brighter one at its right for every row
        and every pixel that it moves, the rows one after the other."""
        steps = self.window_us[1] // PIXEL_US
        step, row, edge = np.indices((steps, SIDE, 2)).reshape(3, -1)
        return EventStream.checked(
            step + edge * SIDE,
            TOP + row,
            step * PIXEL_US + row * PIXEL_US // SIDE,
            edge,
            sensor=self.sensor,
        )
