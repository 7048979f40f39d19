"""What a dataset is said to hold, and what is said of parts that are missing or damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossdraft.scenes import recording
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.info import inspect, read_scene, sampled, spread
from crossdraft.scenes.preview import preview
from crossdraft.scenes.recording import stretches
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.video import write_mp4
from crossdraft.scenes.writers import write_h5, write_npy, write_npz
from tests.scenes.event_files import START_US, made_stream
from tests.scenes.scene_folders import SENSOR, make_scenes
from tests.scenes.videos import number_of, numbered_frames


@pytest.fixture
def dataset(tmp_path: Path) -> SceneDataset:
    return make_scenes(tmp_path)


def labels(row: list[object]) -> list[str | None]:
    return [getattr(picture, "label", None) for picture in row]


def damage(scene: Scene) -> list[tuple[str, str]]:
    return [(part, error.found) for part, error in read_scene(scene).damaged]


def test_counts_rates_and_sizes(dataset: SceneDataset) -> None:
    facts = inspect(dataset)
    assert (facts["layout"], facts["scenes"], facts["scenes_read"]) == ("crossdraft", 3, 3)
    assert facts["drives"] == {"first": 2, "second": 1}
    assert facts["splits"] == {"test": 1, "train": 2}
    assert facts["durations_us"] == {"50000": 1, "1000000": 2}
    assert facts["duration_s"] == pytest.approx({"mean": 2.05 / 3, "min": 0.05, "max": 1.0})
    events = facts["events"]
    assert (events["total"], events["scenes_counted"]) == (3_000, 3)
    assert events["per_second"] == {"mean": 22_000 / 3, "min": 1_000.0, "max": 20_000.0}
    assert events["sensors"] == {"96x64": 3}
    assert facts["video"]["sizes"] == {"96x64": 3}
    assert facts["video"]["frames"] == {"mean": 41 / 3, "min": 1, "max": 20}
    assert facts["video"]["fps"]["mean"] == 20.0
    assert facts["frame_sets"] == {
        "event_image": {"scenes": 3, "frames": 15, "per_scene": {"5": 3}}
    }
    assert set(facts["disk_bytes"]) == {"events", "video", "event_image"}
    assert facts["disk_bytes"]["video"] == sum(
        path.stat().st_size for path in dataset.folder.glob("video/*/*.mp4")
    )
    assert facts["fingerprint"] == dataset.fingerprint
    assert facts["missing"] == facts["damaged"] == []


def test_shares_against_counting_by_hand(tmp_path: Path) -> None:
    """40 events on 30 pixels of 10x10, 24 of them brighter, all within 50 ms."""
    x, y = np.arange(40) % 10, np.arange(40) // 10 % 3
    p = np.arange(40) < 24
    stream = EventStream.checked(x, y, np.arange(40) * 1_000, p, sensor=(10, 10))
    write_npz(stream, tmp_path / "a_000.npz")
    facts = read_scene(SceneDataset.open(tmp_path)[0])
    assert facts.positive_share == 0.6
    assert facts.touched_window == 0.3
    assert facts.touched_part == 0.08
    assert facts.duration_us == 39_000
    assert facts.events == 40


def test_a_sample_is_spread_and_counts_everything(tmp_path: Path) -> None:
    stream = made_stream(20, sensor=SENSOR)
    for number in range(30):
        write_npy(stream, tmp_path / f"drive_{number:03d}.npy")
    dataset = SceneDataset.open(tmp_path)
    assert [scene.clip for scene in sampled(dataset, 4)] == [0, 10, 19, 29]
    assert len(sampled(dataset, 99)) == 30
    facts = inspect(dataset)
    assert (facts["scenes"], facts["scenes_read"]) == (30, 12)
    assert facts["events"]["scenes_counted"] == 12
    assert facts["disk_bytes"]["events"] == 30 * (tmp_path / "drive_000.npy").stat().st_size
    assert inspect(dataset, every=True)["events"]["total"] == 600


def test_missing_parts_are_named(dataset: SceneDataset) -> None:
    (dataset.folder / "video/first/000001.mp4").unlink()
    (dataset.folder / "event_image/second/000003_4.png").unlink()
    facts = inspect(SceneDataset.open(dataset.folder))
    assert facts["missing"] == [
        {"scene": "first/000001", "part": "video video/first/000001.mp4"},
        {"scene": "second/000003", "part": "event_image, 4 of 5 frames"},
    ]
    assert facts["damaged"] == []


def test_frames_per_second_follow_the_duration(dataset: SceneDataset) -> None:
    """Ten frames of a second and one of 50 ms are whole; nine of a second are not."""
    for clip, drive, count in ((0, "first", 10), (1, "first", 9), (3, "second", 1)):
        folder = dataset.folder / "event_image_10Hz" / drive
        folder.mkdir(parents=True, exist_ok=True)
        source = dataset.folder / "event_image/first/000000_0.png"
        for number in range(count):
            (folder / f"{clip:06d}_{number}.png").write_bytes(source.read_bytes())
    missing = inspect(SceneDataset.open(dataset.folder))["missing"]
    assert missing == [{"scene": "first/000001", "part": "event_image_10Hz, 9 of 10 frames"}]


def test_damaged_parts_are_named(dataset: SceneDataset) -> None:
    folder = dataset.folder
    video = folder / "video/first/000000.mp4"
    video.write_bytes(video.read_bytes()[:700])
    frame = folder / "event_image/first/000001_2.png"
    frame.write_bytes(frame.read_bytes()[:60])
    write_npz(made_stream(999, sensor=SENSOR), folder / "events/second/000003.npz")
    found = {(d["scene"], d["part"]): d["error"] for d in inspect(dataset)["damaged"]}
    assert set(found) == {
        ("first/000000", "video"),
        ("first/000001", "event_image 000001_2.png"),
        ("second/000003", "events"),
    }
    assert "sha256" in found["first/000000", "video"]
    assert "sha256" in found["second/000003", "events"]


def test_a_count_that_the_manifest_denies(dataset: SceneDataset) -> None:
    from dataclasses import replace

    scene = replace(dataset[0], event_count=1_001, sha256={})
    assert damage(scene) == [("events", "1,000 events, the manifest says 1,001")]


def test_a_window_without_events(dataset: SceneDataset) -> None:
    from dataclasses import replace

    scene = replace(dataset[0], window_us=(0, 1_000), sha256={})
    assert damage(scene) == [("events", "no events in the scene's window")]
    assert preview(scene).notes == ["events: no events in the scene's window"]


def test_a_single_file_of_each_kind(tmp_path: Path) -> None:
    write_npz(made_stream(50, sensor=SENSOR), tmp_path / "events.npz")
    write_mp4(tmp_path / "video.mp4", numbered_frames(10))
    events = inspect(SceneDataset.open(tmp_path / "events.npz"))
    assert events["path"] == str(tmp_path / "events.npz")
    assert (events["events"]["total"], events["video"]["scenes"]) == (50, 0)
    video = inspect(SceneDataset.open(tmp_path / "video.mp4"))
    assert (video["events"]["scenes"], video["duration_s"]["mean"]) == (0, 0.5)


def test_a_file_too_long_to_read_is_read_by_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = made_stream(20_000, span_us=2_000_000, sensor=SENSOR)
    write_h5(stream, tmp_path / "drive.h5")
    dataset = SceneDataset.open(tmp_path)
    whole, seen = read_scene(dataset[0]), preview(dataset[0])
    monkeypatch.setattr(recording, "READ_AT_ONCE", 1_000)
    monkeypatch.setattr("crossdraft.scenes.event_file.EventFile.read", None)
    facts, again = read_scene(dataset[0]), preview(dataset[0])
    assert (facts.events, facts.duration_us) == (whole.events, whole.duration_us)
    assert facts.touched_window == whole.touched_window
    assert facts.positive_share == pytest.approx(whole.positive_share, abs=0.05)
    assert labels([*again.events]) == labels([*seen.events])
    for a, b in zip(again.events, seen.events, strict=True):
        assert a and b
        np.testing.assert_array_equal(a.pixels, b.pixels)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((100, 150), [(100, 110), (110, 120), (120, 130), (130, 140), (140, 150)]),
        ((0, 250), [(0, 50), (50, 100), (100, 150), (150, 200), (200, 250)]),
        ((0, 1050), [(0, 50), (250, 300), (500, 550), (750, 800), (1000, 1050)]),
    ],
    ids=["short", "just filled", "long"],
)
def test_stretches(span: tuple[int, int], expected: list[tuple[int, int]]) -> None:
    assert stretches(span, 5, 50) == expected


def test_spread() -> None:
    assert spread([3, None, 1]) == {"mean": 2, "min": 1, "max": 3}
    assert spread([None]) is None


# --- previews ------------------------------------------------------------------------------------


def test_video_and_events_show_the_same_moments(dataset: SceneDataset) -> None:
    view = preview(dataset[0])
    assert view.id == "first/000000"
    assert view.facts == [
        "1 s", "1 k events", "1 k events/s", "video 96x64, 20 frames, 20/s",
    ]  # fmt: skip
    assert labels([*view.events]) == [
        "0–50 ms", "237.5–287.5 ms", "475–525 ms", "712.5–762.5 ms", "950–1,000 ms",
    ]  # fmt: skip
    assert labels([*view.video]) == [
        "0 ms · frame 0", "200 ms · frame 4", "450 ms · frame 9", "700 ms · frame 14",
        "950 ms · frame 19",
    ]  # fmt: skip
    assert [number_of(p.pixels) for p in view.video if p] == [0, 4, 9, 14, 19]
    events = made_stream(1_000, seed=0, span_us=1_000_000, sensor=SENSOR)
    part = events.between(START_US + 475_000, START_US + 525_000)
    picture = view.events[2]
    assert picture is not None
    touched = (picture.pixels != 255).any(axis=-1)
    assert sorted(zip(*np.nonzero(touched), strict=True)) == sorted(
        set(zip(part.y.tolist(), part.x.tolist(), strict=True))
    )


def test_a_frame_that_stays_is_shown_once(dataset: SceneDataset) -> None:
    assert labels([*preview(dataset[2]).video]) == ["0 ms · frame 0", None, None, None, None]


def test_drawn_frames_stand_in_for_events(dataset: SceneDataset) -> None:
    from dataclasses import replace

    view = preview(replace(dataset[0], events_file=None))
    assert labels([*view.events]) == [f"event_image {i}" for i in range(5)]
    assert view.facts[0] == "5 drawn frames"
    assert len(view.video) == 5


def test_what_cannot_be_read_is_noted(dataset: SceneDataset) -> None:
    for path in dataset.folder.glob("*/*/0000*"):
        path.write_bytes(b"broken")
    view = preview(dataset[0])
    assert not view.video and not view.events
    assert [note.partition(":")[0] for note in view.notes] == ["events", "event frames", "video"]


def test_files_called_otherwise_are_named(tmp_path: Path) -> None:
    write_npz(made_stream(50, sensor=SENSOR), tmp_path / "parking lot.npz")
    assert preview(SceneDataset.open(tmp_path)[0]).facts[0] == "parking lot.npz"
