"""What of the scene a model really sees: which frames, when, and no others.

The frames that should be shown are worked out here from the recording's own times; their pixels
must be the ones that entered the model. (The seed study showed the first 8 frames of a clip in
place of 8 spread over it.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossdraft.bench.checks.case import Case, Seen
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.reference import largest_difference
from crossdraft.bench.made_scene import MadeScene
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.render import RenderSettings, render_frames
from crossdraft.scenes.windows import Window, clip_span
from crossdraft.vlm.pixels import preprocess

#: Share of the sensor's pixels that one part of EventGPT's training windows touches.
TRAINED_ON = (0.05, 0.09)
#: Times of frames and of the rule are rounded down to microseconds, each for itself.
_ROUNDING_US = 2

Times = NDArray[np.int64]


def check_frames(case: Case) -> Check:
    """The frames that a model was shown, against those that it should be shown; notes them."""
    render = case.wanted.render
    return _video(case) if render is None else _events(case, render)


def check_overlap(scene: Any, *seen: Seen | None) -> Check:
    """Both models were shown the same stretch of time."""
    by_sensor = {one.sensor: one for one in seen if one is not None}
    if len(by_sensor) < 2:
        return Check.skipped("frames", "pair", "it takes the frames of both sensors")
    video, events = by_sensor["video"], by_sensor["events"]
    if getattr(scene, "window_us", None) is None:
        return Check.skipped("frames", "pair", "nothing says how the recordings' clocks relate")
    apart_us = abs(video.clip_us - events.clip_us)
    inside = video.start_us <= events.start_us and events.end_us <= video.clip_us
    line = (
        f"event frames lie {_ms(events.start_us)} to {_ms(events.end_us)} ms into the clip, the "
        f"video runs to {_ms(video.clip_us)} ms"
    )
    if apart_us > 0.1 * events.clip_us:
        line += f" and the clip to {_ms(events.clip_us)} ms"
    return Check(
        "frames", "pair", inside, line,
        {"events_us": [events.start_us, events.end_us], "video_us": [0, video.clip_us],
         "clip_us": events.clip_us},
    )  # fmt: skip


def _video(case: Case) -> Check:
    times_us, clip_us = _timeline(case.scene)
    due = _uniform(times_us, clip_us, case.wanted.frames)
    shown = case.shown
    (entered,) = case.opened.inputs.values()
    apart = _pixels_apart(case, entered[0], list(_pictures(case.scene, times_us, due)))
    chosen = shown.indices.tolist() == due.tolist()
    numbers = f"{', '.join(map(str, shown.indices))} of {len(times_us)}"
    at = ", ".join(f"{time / 1e6:.2f}" for time in shown.times_us)
    line = f"{len(shown.indices)} frames: {numbers}, at {at} s of {clip_us / 1e6:.2f} s"
    if not chosen:
        line += f"; uniform in time are {', '.join(map(str, due))}"
    case.seen = Seen("video", int(times_us[due[0]]), int(times_us[due[-1]]), clip_us)
    return case.check(
        "frames", chosen and apart == 0, line + _pixel_words(apart),
        indices=shown.indices.tolist(), times_us=shown.times_us.tolist(), expected=due.tolist(),
        pixel_difference=apart,
    )  # fmt: skip


def _events(case: Case, render: RenderSettings) -> Check:
    """Of event frames.

    Args:
        render: how the pair says that events are drawn.
    """
    stream: EventStream = case.scene.events()
    span_us = case.scene.window_us or clip_span(stream)
    shown, due = case.shown, _counts(stream, span_us, render)
    drawn = render_frames(stream, render, span_us=case.scene.window_us)
    (entered,) = case.opened.inputs.values()
    apart = _pixels_apart(case, entered[0], drawn)
    counted = shown.events.tolist() == due
    other = _other_settings(case.prompts.render, render)
    seen_us = shown.spans_us[shown.events > 0] - span_us[0]
    if not len(seen_us):
        raise ValueError("the event frames are empty")
    start_us, end_us = int(seen_us[0, 0]), int(seen_us[-1, 1])
    touched = shown.touched
    line = (
        f"{len(shown.events)} frames of {_range(shown.events, ',')} events, "
        f"{_ms(start_us)} to {_ms(end_us)} ms into the clip"
    )
    if not counted:
        line += f"; the window holds {', '.join(f'{n:,}' for n in due)}"
    if other:
        line += f"; drawn with {other}"
    line += f"; each touches {_range(touched, '.1%')} of the sensor"
    low, high = TRAINED_ON
    if not (low <= touched.min() and touched.max() <= high):
        line += f", EventGPT was trained on {low:.0%} to {high:.0%}"
    case.seen = Seen("events", start_us, end_us, span_us[1] - span_us[0])
    return case.check(
        "frames", counted and not other and apart == 0, line + _pixel_words(apart),
        events=shown.events.tolist(), spans_us=seen_us.tolist(), expected=due,
        touched=touched.tolist(), pixel_difference=apart,
    )  # fmt: skip


def _timeline(scene: Any) -> tuple[Times, int]:
    """When each frame of the scene's video is shown, and how long it runs, in microseconds."""
    if isinstance(scene, MadeScene):
        return scene.times_us, scene.window_us[1]
    from crossdraft.scenes.video import probe

    video = probe(scene.video_path)
    return video.times_us, video.duration_us


def _uniform(times_us: Times, clip_us: int, count: int) -> Times:
    """[count] numbers of the frames on screen at i / count of the clip: the documented rule."""
    due_us = np.arange(count) * clip_us // count + _ROUNDING_US
    return np.searchsorted(times_us, due_us, side="right") - 1


def _pictures(scene: Any, times_us: Times, due: Times) -> NDArray[np.uint8]:
    if isinstance(scene, MadeScene):
        return scene.frames_at(due).frames
    from crossdraft.scenes.video import read_at

    return read_at(scene.video_path, times_us[due]).frames


def _counts(stream: EventStream, span_us: tuple[int, int], render: RenderSettings) -> list[int]:
    """Events of each frame: of equal parts of one window, or of windows spread over the clip."""
    (start_us, end_us), parts = span_us, render.parts
    window = Window.parse(render.window)
    length_us = min(window.length_us or end_us - start_us, end_us - start_us)
    slack_us = end_us - start_us - length_us
    if window.kind == "spread":
        # From the clip's start to its end; a single window stands in the middle.
        starts = (
            [slack_us * i // (parts - 1) for i in range(parts)] if parts > 1 else [slack_us // 2]
        )
        counts = [
            _between(stream, start_us + us, start_us + us + length_us, end_us) for us in starts
        ]
    else:
        share, rest = divmod(_between(stream, start_us + slack_us, end_us, end_us), parts)
        counts = [*[share] * (parts - 1), share + rest]
    return counts[:1] if render.keep == "first" else counts


def _between(stream: EventStream, start_us: int, stop_us: int, clip_end_us: int) -> int:
    """Events from a time up to another, which is left out unless the clip ends there."""
    behind = stop_us + (stop_us == clip_end_us)
    return int(((stream.t >= start_us) & (stream.t < behind)).sum())


def _other_settings(found: RenderSettings, wanted: RenderSettings) -> str:
    """Settings in which a model draws otherwise than its pair says; empty where it does not."""
    its, due = found.to_json(), wanted.to_json()
    return ", ".join(
        f"{name} {its[name]}, and the pair says {due[name]}"
        for name in due
        if its[name] != due[name]
    )


def _pixels_apart(case: Case, entered: Tensor, frames: list[NDArray[np.uint8]]) -> float:
    """Largest difference between what entered the model and these frames.

    Raises:
        ValueError: the model was shown another number of them.
    """
    settings = case.prompts.settings
    if len(entered) != len(frames):
        raise ValueError(f"the model reads {len(entered)} frames, the pair says {len(frames)}")
    pixels = torch.cat([preprocess(frame[None], settings) for frame in frames])
    return largest_difference(entered, pixels.to(entered.dtype))


def _pixel_words(apart: float) -> str:
    if apart == 0:
        return "; their pixels are what the model reads"
    return f"; what the model reads differs from their pixels by {apart:.2g}"


def _range(values: NDArray[Any], form: str) -> str:
    """Smallest and largest value, once where they read the same."""
    low, high = (format(value, form) for value in (values.min(), values.max()))
    return low if low == high else f"{low} to {high}"


def _ms(time_us: int) -> str:
    return f"{time_us / 1000:.1f}"
