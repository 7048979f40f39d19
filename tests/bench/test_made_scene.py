"""The made-up scene: both sensors see the same square, and both prompt builders take it."""

from __future__ import annotations

import numpy as np

from crossdraft.bench.made_scene import SIDE, TOP, MadeScene


def test_frames_are_uniform_and_show_the_square() -> None:
    scene = MadeScene()
    shown = scene.video_frames(8)
    assert shown.indices.tolist() == list(range(0, 16, 2))
    assert shown.times_us.tolist() == [50_000 * i for i in range(8)]
    assert shown.frames.shape == (8, 480, 640, 3)
    for frame, time_us in zip(shown.frames, shown.times_us, strict=True):
        rows, columns = np.nonzero(frame[..., 0] > 128)
        assert (rows.min(), rows.max()) == (TOP, TOP + SIDE - 1)
        assert (columns.min(), columns.max()) == (time_us // 1000, time_us // 1000 + SIDE - 1)


def test_events_lie_where_the_picture_changes() -> None:
    scene = MadeScene()
    events, frames = scene.events(), scene.frames_at(np.arange(16)).frames[..., 0]
    assert events.t[0] >= scene.window_us[0] and events.t[-1] < scene.window_us[1]
    for number in range(15):
        part = events.between(number * 25_000, (number + 1) * 25_000)
        drawn = np.zeros(frames.shape[1:], np.int64)
        drawn[part.y, part.x] = np.where(part.p == 1, 1, -1)
        change = np.sign(frames[number + 1].astype(int) - frames[number])
        assert np.array_equal(drawn, change)


def test_the_same_every_time() -> None:
    one, other = MadeScene().events(), MadeScene().events()
    assert np.array_equal(one.t, other.t) and np.array_equal(one.x, other.x)
    assert len(one) == 192_000
