"""A scene whose events come from its video: once, of what is drawn alone, and marked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.scenes import simulated_scene as module
from crossdraft.scenes.find_scene import find_scene
from crossdraft.scenes.render import RenderSettings
from crossdraft.scenes.scene import Scene, warnings_about
from crossdraft.scenes.simulate import EventSimulator, luminance
from crossdraft.scenes.simulated_scene import LEAD_US, SimulatedScene, simulated_scene
from crossdraft.scenes.synth_settings import with_threshold
from crossdraft.scenes.video import iterate, read_at
from crossdraft.scenes.windows import Window, drawn_spans
from tests.scenes.videos import FRAMES, make_video, numbered_frames


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of videos, 96x64 pixels, 20 frames a second."""
    folder = tmp_path_factory.mktemp("videos")
    make_video(folder / "long.mp4", FRAMES)
    make_video(folder / "turned.mp4", FRAMES[:4], rotation=90)
    make_video(folder / "one.mp4", FRAMES[:1])
    return folder


def made(videos: Path, name: str = "long", **how: Any) -> SimulatedScene:
    scene = find_scene(str(videos / f"{name}.mp4"))
    return simulated_scene(scene, **({"side": 64, "parts": 5} | how))


def test_the_whole_video_is_what_the_simulator_makes_of_its_frames(videos: Path) -> None:
    scene = made(videos)
    simulator = EventSimulator((96, 64), with_threshold(0.3), 0)
    frames = iterate(videos / "long.mp4")
    expected = [simulator.push(luminance(rgb), time_us) for rgb, time_us in frames]
    events = scene.events()
    assert len(events) == sum(map(len, expected)) > 1000
    for name in "xytp":
        column = np.concatenate([getattr(part, name) for part in expected])
        assert np.array_equal(getattr(events, name), column)
    assert scene.window_us == (0, 49 * 50_000), "nothing is known after the last frame"


def test_events_are_simulated_once_and_only_when_asked_for(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    def counted(path: Path, times_us: Any) -> Any:
        reads.append(len(times_us))
        return read_at(path, times_us)

    monkeypatch.setattr(module, "read_at", counted)
    scene = made(videos)
    assert reads == []
    assert scene.events() is scene.events()
    assert reads == [50]


@pytest.mark.parametrize(
    ("window", "in_chunks"), [("all", []), ("last:1100ms", []), ("last:1s", [10, 10, 5])]
)
def test_long_stretches_are_read_once_or_in_chunks(
    videos: Path, monkeypatch: pytest.MonkeyPatch, window: str, in_chunks: list[int]
) -> None:
    """Once from the video's beginning, where that is not far; with the same events."""
    expected = made(videos, window=window).events()
    reads: list[int] = []
    starts: list[Path] = []

    def counted(path: Path, times_us: Any) -> Any:
        reads.append(len(times_us))
        return read_at(path, times_us)

    def begun(path: Path) -> Any:
        starts.append(path)
        return iterate(path)

    monkeypatch.setattr(module, "read_at", counted)
    monkeypatch.setattr(module, "iterate", begun)
    monkeypatch.setattr(module, "_HELD_BYTES", 10 * 3 * 96 * 64)  # 10 pictures at a time
    events = made(videos, window=window).events()
    assert (reads, len(starts)) == (in_chunks, 0 if in_chunks else 1)
    assert len(events) > 500
    for name in "xytp":
        assert np.array_equal(getattr(events, name), getattr(expected, name))


def steps(videos: Path, sensor: tuple[int, int]) -> list[Any]:
    """What a simulator makes of every frame, resized to `sensor` in linear light."""
    simulator, found = EventSimulator(sensor, with_threshold(0.3), 0), []
    for rgb, time_us in iterate(videos / "long.mp4"):
        light = Image.fromarray(luminance(rgb)).resize(sensor, Image.Resampling.BILINEAR)
        found.append(simulator.push(np.asarray(light), time_us))
    return found


def test_a_smaller_sensor_sees_the_mean_of_the_light(videos: Path) -> None:
    events, expected = made(videos, side=32).events(), steps(videos, (48, 32))
    assert events.sensor == (48, 32) and len(events) > 1000
    for name in "xytp":
        column = np.concatenate([getattr(part, name) for part in expected])
        assert np.array_equal(getattr(events, name), column)


def test_the_events_of_all_steps_are_counted(videos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = [len(part) for part in steps(videos, (48, 32))]
    most = (max(counts) + sum(counts)) // 2
    assert max(counts) < most < sum(counts)
    monkeypatch.setattr(module, "MOST_EVENTS", most)
    with pytest.raises(InputError, match=f"more than {most:,} simulated events"):
        made(videos, side=32).events()


def test_only_what_is_drawn_is_simulated(videos: Path) -> None:
    whole, some = made(videos), made(videos, window="spread:50ms")
    assert sum(map(len, some.stretches_us)) < len(FRAMES)
    events = some.events()
    inside = [(events.t > run[0]) & (events.t <= run[-1]) for run in some.stretches_us]
    assert np.any(inside, axis=0).all()
    assert some.window_us == whole.window_us
    # The first stretch begins with the video, so there nothing differs.
    first = some.stretches_us[0][-1]
    assert np.array_equal(some.events().between(0, first).t, whole.events().between(0, first).t)
    frames = some.event_frames(RenderSettings(parts=5, window="spread:50ms"))
    assert len(frames) == 5 and all((frame[..., 1] == 0).any() for frame in frames)


@pytest.mark.parametrize(
    ("name", "side", "sensor"),
    [("long", 32, (48, 32)), ("long", 500, (96, 64)), ("turned", 32, (32, 48))],
)
def test_the_shorter_side(videos: Path, name: str, side: int, sensor: tuple[int, int]) -> None:
    scene = made(videos, name, side=side)
    assert scene.sensor == scene.events().sensor == sensor


def test_a_sensor_that_is_named_goes_first(videos: Path) -> None:
    given = Scene("a", 0, videos, video_file="long.mp4", sensor=(20, 10))
    assert simulated_scene(given, side=64, parts=1, window="last:50ms").events().sensor == (20, 10)


@pytest.mark.parametrize("sensor", [(97, 10), (20, 65)])
def test_no_sensor_is_larger_than_the_video(videos: Path, sensor: tuple[int, int]) -> None:
    given = Scene("a", 0, videos, video_file="long.mp4", sensor=sensor)
    with pytest.raises(InputError, match="--sensor: ") as caught:
        simulated_scene(given, side=64, parts=1)
    assert caught.value.expected == "at most the video's 96x64"
    assert simulated_scene(replace(given, sensor=(96, 64)), side=32, parts=1).sensor == (96, 64)


def test_it_is_marked_and_its_file_is_named_once(videos: Path) -> None:
    scene = made(videos, side=32)
    assert scene.simulated and scene.events_path == scene.video_path
    assert [part for part, _ in scene.parts()] == ["video"] and scene.missing() == []
    (text,) = warnings_about(scene, scene)
    assert text.startswith("events simulated from the video: long.mp4 as 48x32 pixels, ")
    assert "threshold 0.3, not a sensor's" in text
    assert len(scene.video_frames(8)) == 8


def test_what_cannot_be_simulated(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="a/000000: the scene has no video"):
        simulated_scene(Scene("a", 0, tmp_path), side=64, parts=5)
    with pytest.raises(InputError, match=r"gone\.mp4: no such file"):
        simulated_scene(Scene("a", 0, tmp_path, video_file="gone.mp4"), side=64, parts=5)
    with pytest.raises(InputError, match="a video of one frame"):
        made(videos, "one")
    monkeypatch.setattr(module, "MOST_FRAMES", 40)
    assert made(videos, window="last:50ms").events().t[0] > 2_000_000
    with pytest.raises(InputError, match="50 frames to simulate") as caught:
        made(videos, window="all")
    assert "--set drafter.window=spread:50ms" in str(caught.value.hint)
    monkeypatch.setattr(module, "MOST_EVENTS", 100)
    with pytest.raises(InputError, match=r"more than 100 simulated events up to 2\.\d+ s"):
        made(videos, window="last:50ms").events()


def test_damage_shows_when_the_events_are_asked_for(videos: Path, tmp_path: Path) -> None:
    make_video(tmp_path / "bad.mp4", numbered_frames(50), g="1")
    data = bytearray((tmp_path / "bad.mp4").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    (tmp_path / "bad.mp4").write_bytes(data)
    scene = made(tmp_path, "bad")
    with pytest.raises(InputError, match=r"cannot be decoded|damaged"):
        scene.events()


@given(
    st.lists(st.integers(1, 400_000), min_size=1, max_size=60),
    st.integers(1, 6),
    st.sampled_from(["all", "last:50ms", "spread:50ms", "spread:1s"]),
)
def test_stretches_hold_what_is_drawn_and_what_leads_to_it(
    steps: list[int], parts: int, window: str
) -> None:
    times_us = np.cumsum([0, *steps])
    end_us = int(times_us[-1])
    spans = drawn_spans(parts, Window.parse(window), (0, end_us))
    stretches = module._stretches(times_us, spans)
    known = times_us.tolist()
    for run in stretches:
        place = known.index(run[0])
        assert len(run) > 1 and list(run) == known[place : place + len(run)], "no frame is left out"
    assert all(one[-1] < other[0] for one, other in pairwise(stretches))
    for start_us, stop_us in spans:
        lead_us = max(0, start_us - LEAD_US)
        assert any(run[0] <= lead_us and stop_us <= run[-1] for run in stretches)
