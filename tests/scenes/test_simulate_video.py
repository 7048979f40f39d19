"""A video becomes a dataset: what is in it, and that it appears whole or not at all."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.progress import Progress
from crossdraft.scenes import simulate_video as module
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.simulate import EventSimulator, SimulatorSettings, luminance
from crossdraft.scenes.simulate_source import video_source
from crossdraft.scenes.simulate_video import simulate_video
from crossdraft.scenes.video import iterate, probe, read_uniform
from tests.scenes.videos import FRAMES, make_video, number_of

SETTINGS = SimulatorSettings()
_UNEVEN = [0, 1, 2, 5, 6, 7, 20, 21, 22, 23]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_video_as_it_is(clip: Path, tmp_path: Path) -> None:
    made = simulate_video(video_source(clip), tmp_path / "data", SETTINGS, seed=4)
    dataset = SceneDataset.open(tmp_path / "data")
    assert (len(dataset), dataset.layout, dataset.drives) == (1, "crossdraft", ("clip",))
    scene = dataset[0]
    assert scene.simulated and scene.id == made.scene == "clip/000000"
    assert scene.window_us == (0, 1_000_000) and scene.missing() == []
    simulator = EventSimulator((96, 64), SETTINGS, 4)
    parts = [simulator.push(luminance(rgb), time_us) for rgb, time_us in iterate(clip)]
    events = scene.events()
    assert len(events) == scene.event_count == made.events == sum(map(len, parts)) > 1000
    for name in "xytp":
        column = np.concatenate([getattr(part, name) for part in parts])
        assert np.array_equal(getattr(events, name), column)
    assert scene.video_path is not None and scene.video_path.read_bytes() == clip.read_bytes()
    assert (made.frames, made.longest_step_us, made.duration_us) == (20, 50_000, 1_000_000)
    assert made.brighter == int(events.p.sum())
    facts = made.to_json()
    assert facts["simulated"] is True and facts["events_per_second"] == made.events
    assert facts["events_per_pixel_second"] == pytest.approx(made.events / 96 / 64)


def test_the_manifest_says_how_it_was_made(clip: Path, tmp_path: Path) -> None:
    other = SimulatorSettings(0.2, 0.3, 0.01, refractory_us=50, leak_hz=0.5)
    simulate_video(video_source(clip), tmp_path / "data", other, seed=9, drive="street")
    manifest = json.loads((tmp_path / "data" / "scenes.json").read_text())
    assert [record["simulated"] for record in manifest["scenes"]] == [True]
    made_with = manifest["made_with"]
    assert made_with["video"] == "clip.mp4" and len(made_with["video_sha256"]) == 64
    assert made_with["simulator"] == {**other.to_json(), "seed": 9}
    assert manifest["scenes"][0]["drive"] == "street"


def test_cut_and_resized(clip: Path, tmp_path: Path) -> None:
    source = video_source(clip, (192, 128), 520_000)
    made = simulate_video(source, tmp_path / "data", SETTINGS)
    scene = SceneDataset.open(tmp_path / "data")[0]
    assert scene.sensor == (192, 128) == (made.width, made.height)
    assert scene.window_us == (0, 520_000)
    # The frame at 550 ms is needed for what happens up to 520 ms.
    assert made.frames == 12 and 500_000 < scene.events().t[-1] < 520_000
    assert len(scene.events()) == made.events
    assert scene.video_path is not None
    info = probe(scene.video_path)
    assert (info.width, info.height, info.frames) == (192, 128, 10)
    assert info.duration_us == pytest.approx(520_000, abs=1_000)
    shown = scene.video_frames(10).frames[:, ::2, ::2]
    assert [number_of(frame) for frame in shown] == list(range(10))


def test_uneven_times_are_kept(tmp_path: Path) -> None:
    path = make_video(tmp_path / "uneven.mp4", FRAMES[:10], ticks=_UNEVEN)
    made = simulate_video(video_source(path, (48, 32)), tmp_path / "data", SETTINGS)
    assert made.longest_step_us == 13 * 50_000
    scene = SceneDataset.open(tmp_path / "data")[0]
    assert scene.video_path is not None
    # At the average rate, the long frame fills the times it was on screen.
    info = probe(path)
    got = read_uniform(scene.video_path, 10)
    expected = [
        np.searchsorted(info.times_us, info.duration_us * k // 10, "right") - 1 for k in range(10)
    ]
    wanted = [np.asarray(FRAMES[i]).mean() for i in expected]
    assert [frame.mean() for frame in got.frames] == pytest.approx(wanted, abs=3)
    events = scene.events()
    gap = events.between(7 * 50_000 + 1, 20 * 50_000)
    assert len(gap) > 100 and np.ptp(gap.t) > 12 * 50_000


def test_a_rate_that_is_no_whole_number(tmp_path: Path) -> None:
    path = make_video(tmp_path / "film.mp4", FRAMES, time_base=Fraction(1001, 30_000))
    simulate_video(video_source(path, (192, 128)), tmp_path / "data", SETTINGS)
    scene = SceneDataset.open(tmp_path / "data")[0]
    assert scene.video_path is not None
    numbers = [number_of(rgb[::2, ::2]) for rgb, _ in iterate(scene.video_path)]
    assert numbers == list(range(len(FRAMES)))
    off_us = probe(scene.video_path).times_us - probe(path).times_us
    assert np.abs(off_us).max() <= 100


def test_frames_that_last_for_an_hour(tmp_path: Path) -> None:
    """Their rate is none at all where it is rounded."""
    path = make_video(tmp_path / "slow.mp4", FRAMES[:2], time_base=Fraction(3000))
    simulate_video(video_source(path, (48, 32)), tmp_path / "data", SETTINGS)
    scene = SceneDataset.open(tmp_path / "data")[0]
    assert scene.video_path is not None
    info = probe(scene.video_path)
    assert (info.frames, info.duration_us) == (2, 6_000_000_000)


def test_a_video_that_asks_to_be_turned(tmp_path: Path) -> None:
    """Sizes are those that are shown."""
    path = make_video(tmp_path / "turned.mp4", FRAMES[:4], rotation=90)
    shown = video_source(path, (64, 96))
    assert shown.as_it_is and not video_source(path, (96, 64)).as_it_is
    made = simulate_video(shown, tmp_path / "shown", SETTINGS)
    scene = SceneDataset.open(tmp_path / "shown")[0]
    assert scene.video_path is not None and scene.video_path.read_bytes() == path.read_bytes()
    assert (made.width, made.height) == scene.sensor == (64, 96)
    simulate_video(video_source(path, (96, 64)), tmp_path / "stored", SETTINGS)
    scene = SceneDataset.open(tmp_path / "stored")[0]
    assert scene.video_path is not None
    assert scene.sensor == scene.video_frames(4).frames.shape[2:0:-1] == (96, 64)


def test_an_odd_size_is_the_one_that_is_shown(tmp_path: Path) -> None:
    odd = [frame[:61, :95] for frame in FRAMES[:4]]
    path = make_video(tmp_path / "odd.mkv", odd, codec="ffv1")
    assert video_source(path).shown == (95, 61)
    turned = make_video(tmp_path / "turned.mkv", odd, codec="ffv1", rotation=90)
    for video, size, even in ((path, "95x61", "96x62"), (turned, "61x95", "62x96")):
        with pytest.raises(InputError, match=rf"pictures of {size} (?s:.*)--size {even}"):
            video_source(video, None, 100_000)


@pytest.mark.parametrize("duration_us", [0, 1, 49_999])
def test_a_duration_without_a_second_frame(clip: Path, duration_us: int) -> None:
    with pytest.raises(InputError, match=r"--duration: (?s:.*)--duration 50ms"):
        video_source(clip, None, duration_us)
    assert len(video_source(clip, None, 50_000).times_us) == 2


def test_light_is_averaged(tmp_path: Path) -> None:
    """Of a chequered picture that changes its colours, half as large, the light stays the same."""
    cells = np.indices((64, 96)).sum(axis=0) % 2 * np.uint8(255)
    frames = [np.repeat(c[..., None], 3, axis=2).astype(np.uint8) for c in (cells, 255 - cells)]
    path = make_video(tmp_path / "cells.mkv", frames, codec="ffv1")
    even = SimulatorSettings(threshold_sigma=0.0)
    assert simulate_video(video_source(path), tmp_path / "data", even).events > 50_000
    with pytest.raises(InputError, match="not one event"):
        simulate_video(video_source(path, (48, 32)), tmp_path / "half", even)


def test_the_same_call_gives_the_same_bytes(clip: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        source = video_source(clip, (48, 32), 300_000)
        simulate_video(source, tmp_path / name, SETTINGS, seed=1)
    one = contents(tmp_path / "one")
    assert sorted(one) == ["events/clip/000000.h5", "scenes.json", "video/clip/000000.mp4"]
    assert one == contents(tmp_path / "other")


@pytest.mark.parametrize("stop_at", [0, 7, 20])
def test_an_interrupt_leaves_nothing(clip: Path, tmp_path: Path, stop_at: int) -> None:
    def stop(event: Progress) -> None:
        if event.done == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_video(video_source(clip), tmp_path / "data", SETTINGS, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_failure_late_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_manifest", full)
    with pytest.raises(OSError, match="No space"):
        simulate_video(video_source(clip), tmp_path / "data", SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_other_places_are_refused(clip: Path, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "notes.txt").touch()
    for out, message in (
        (taken, "this folder holds something"),
        (clip, "this is no folder"),
        (tmp_path / "absent" / "data", "cannot write here"),
    ):
        with pytest.raises(InputError, match=message):
            simulate_video(video_source(clip), out, SETTINGS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.mp4", "taken"]


@pytest.mark.parametrize("drive", ["", "..", "a/b", "a\0b", "\udcff"], ids=repr)
def test_no_drive(clip: Path, tmp_path: Path, drive: str) -> None:
    with pytest.raises(InputError, match="--drive"):
        simulate_video(video_source(clip), tmp_path / "data", SETTINGS, drive=drive)


def test_too_many_events(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = simulate_video(video_source(clip), tmp_path / "data", SETTINGS)
    monkeypatch.setattr(module, "MOST_EVENTS", whole.events // 2)
    with pytest.raises(InputError, match=r"more than .* events in the first .*\n.*\n.*") as caught:
        simulate_video(video_source(clip), tmp_path / "more", SETTINGS)
    assert not (tmp_path / "more").exists()
    # What the error proposes fits, and one frame more does not.
    fits = re.search(r"--duration (\d+)ms", str(caught.value))
    assert fits is not None
    fits_us = int(fits[1]) * 1000
    simulate_video(video_source(clip, None, fits_us), tmp_path / "fits", SETTINGS)
    with pytest.raises(InputError, match="more than"):
        simulate_video(video_source(clip, None, fits_us + 50_000), tmp_path / "more", SETTINGS)


def test_too_many_events_in_one_step(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops within the step, and no shorter duration is proposed: there is none."""
    monkeypatch.setattr(module, "MOST_EVENTS", 100)
    with pytest.raises(InputError, match=r"more than 100 events in the first 0\.05 s") as caught:
        simulate_video(video_source(clip), tmp_path / "data", SETTINGS)
    assert "--duration" not in str(caught.value)
    assert "try: take smaller pictures (--size), or raise the thresholds" in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_videos_without_events(tmp_path: Path) -> None:
    still = make_video(tmp_path / "still.mp4", [np.full_like(FRAMES[0], 90)] * 4)
    with pytest.raises(InputError, match="not one event"):
        simulate_video(video_source(still), tmp_path / "data", SETTINGS)
    single = make_video(tmp_path / "single.mp4", FRAMES[:1])
    with pytest.raises(InputError, match="a video of one frame"):
        video_source(single)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("size", [(31, 32), (32, 31), (0, 32), (9000, 32)])
def test_sizes_that_no_video_has(clip: Path, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"(?s)--size.*even numbers.*--size \d+x\d+"):
        video_source(clip, size)
