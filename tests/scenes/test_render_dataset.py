"""Frames of whole datasets: drawn once, found again, never mixed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.lock import locked
from crossdraft.base.progress import Progress
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.event_file import EventFile
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.frame_files import frame_paths, read_frame
from crossdraft.scenes.frame_note import NOTE, note_settings
from crossdraft.scenes.manifest import to_record, write_manifest
from crossdraft.scenes.render import PRESETS, RenderSettings, render_frames
from crossdraft.scenes.render_dataset import (
    RenderJob,
    RenderReport,
    dataset_jobs,
    draw_clip,
    render_jobs,
    set_name,
)
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.writers import write_h5, write_npy
from tests.scenes.event_files import START_US, made_stream

SENSOR = (32, 24)
TWO = RenderSettings(parts=2)


@pytest.fixture
def seed_folder(tmp_path: Path) -> Path:
    """Two drives of two clips in the seed study's folders."""
    for number in range(4):
        path = tmp_path / "data" / "event_npy" / f"drive_{number // 2}" / f"{number % 2:06d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npy(made_stream(300, seed=number, sensor=SENSOR), path)
    return tmp_path / "data"


def draw(
    folder: Path, settings: RenderSettings = TWO, *, workers: int = 1, name: str = "event_image"
) -> RenderReport:
    jobs = dataset_jobs(SceneDataset.open(folder), folder / name, SENSOR)
    return render_jobs(jobs, folder / name, settings, sensor=SENSOR, workers=workers)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_sets_are_named_as_the_seed_study_named_them() -> None:
    assert set_name(RenderSettings()) == "event_image"
    assert set_name(RenderSettings(parts=1, keep="first")) == "event_image_1f"
    assert set_name(RenderSettings(hz=4)) == "event_image_4Hz"
    assert set_name(RenderSettings(keep="first")) == "event_image_first"


def test_frames_are_drawn_and_found_again(seed_folder: Path) -> None:
    report = draw(seed_folder)
    assert (report.drawn, report.skipped, report.frames, report.failed) == (4, 0, 8, [])
    scenes = SceneDataset.open(seed_folder)
    for number, scene in enumerate(scenes):
        expected = render_frames(made_stream(300, seed=number, sensor=SENSOR), TWO)
        assert scene.frame_sets["event_image"] == tuple(
            f"event_image/{scene.drive}/{scene.clip:06d}_{i}.png" for i in range(2)
        )
        found = scene.drawn_frames()
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_processes_draw_the_same_bytes(seed_folder: Path) -> None:
    draw(seed_folder)
    draw(seed_folder, workers=2, name="event_image_two")
    one, two = contents(seed_folder / "event_image"), contents(seed_folder / "event_image_two")
    assert len(one) == 9 and one == two


def test_what_is_done_is_skipped(seed_folder: Path) -> None:
    draw(seed_folder)
    before = contents(seed_folder / "event_image")
    lost = seed_folder / "event_image" / "drive_1" / "000000_1.png"
    lost.unlink()
    report = draw(seed_folder)
    assert (report.drawn, report.skipped, report.frames) == (1, 3, 2)
    assert contents(seed_folder / "event_image") == before
    report = draw(seed_folder)
    assert (report.drawn, report.skipped, report.frames) == (0, 4, 0)


def test_other_settings_do_not_mix(seed_folder: Path) -> None:
    draw(seed_folder)
    before = contents(seed_folder)
    with pytest.raises(InputError, match=r"overlap 'last' \(now 'positive'\)"):
        draw(seed_folder, RenderSettings(parts=2, overlap="positive"))
    with pytest.raises(InputError, match="sensor"):
        jobs = dataset_jobs(SceneDataset.open(seed_folder), seed_folder / "event_image")
        render_jobs(jobs, seed_folder / "event_image", TWO)
    assert contents(seed_folder) == before


@pytest.mark.parametrize("text", ["{", "[]", '{"parts": 2}'])
def test_a_damaged_note_is_refused(text: str, seed_folder: Path) -> None:
    (seed_folder / "event_image").mkdir()
    (seed_folder / "event_image" / NOTE).write_text(text)
    with pytest.raises(InputError):
        draw(seed_folder)


def test_frames_of_unknown_settings_are_left_alone(seed_folder: Path) -> None:
    foreign = seed_folder / "event_image" / "drive_0" / "000000_0.png"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"theirs")
    with pytest.raises(InputError, match="without a note"):
        draw(seed_folder)
    assert foreign.read_bytes() == b"theirs"
    note_settings(seed_folder / "event_image", TWO, SENSOR)
    assert draw(seed_folder).drawn == 4


def test_failures_are_listed_and_the_rest_is_drawn(seed_folder: Path) -> None:
    damaged = seed_folder / "event_npy" / "drive_0" / "000001.npy"
    damaged.write_bytes(damaged.read_bytes()[:200])
    manifest = [{"event_data": f"drive_{n // 2}/{n % 2:06d}.npy"} for n in range(4)]
    (seed_folder / "EventGPT_Instruction_Subset.json").write_text(json.dumps(manifest))
    (seed_folder / "event_npy" / "drive_1" / "000000.npy").unlink()
    for workers, name in ((1, "event_image"), (2, "event_image_two")):
        report = draw(seed_folder, workers=workers, name=name)
        assert (report.drawn, report.frames) == (2, 4)
        assert [clip for clip, _ in report.failed] == ["drive_0/000001", "drive_1/000000"]
        assert "000001.npy" in report.failed[0][1]
        assert "no such file" in report.failed[1][1]
        assert json.loads(json.dumps(report.to_json()))["failed"][1]["clip"] == "drive_1/000000"


def test_the_manifests_window_bounds_the_clip(tmp_path: Path) -> None:
    """Two clips of one recording: each draws its own events, and Hz counts by its duration."""
    stream = made_stream(2_000, span_us=100_000, sensor=SENSOR)
    write_h5(stream, tmp_path / "events.h5")
    windows = [(START_US, START_US + 60_000), (START_US + 40_000, START_US + 50_000)]
    scenes = [
        Scene("a", clip, tmp_path, "events.h5", None, {}, window, SENSOR)
        for clip, window in enumerate(windows)
    ]
    write_manifest(tmp_path, [to_record(scene) for scene in scenes], {})
    settings = RenderSettings(hz=50, by="time")
    folder = tmp_path / set_name(settings)
    jobs = dataset_jobs(SceneDataset.open(tmp_path), folder)
    assert render_jobs(jobs, folder, settings).frames == 3 + 1
    again = SceneDataset.open(tmp_path)
    assert [len(scene.frame_sets["event_image_50Hz"]) for scene in again] == [3, 1]
    window = scenes[1].window_us
    assert window is not None
    (expected,) = render_frames(stream.between(*window), settings, span_us=window)
    assert np.array_equal(again[1].drawn_frames("event_image_50Hz")[0], expected)
    assert render_jobs(jobs, folder, settings).skipped == 2


@pytest.mark.parametrize("window", ["last:30ms", "spread:30ms", "spread:400ms"])
@pytest.mark.parametrize("by", ["count", "time"])
def test_of_a_long_recording_only_windows_are_read(
    window: str, by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = made_stream(20_000, span_us=1_000_000, sensor=SENSOR)
    write_h5(stream, tmp_path / "drive.h5")
    (job,) = dataset_jobs(SceneDataset.open(tmp_path / "drive.h5"), tmp_path / "frames")
    settings = RenderSettings(window=window, by=by)
    read: list[int] = []
    whole = EventFile.window

    def window_of(file: EventFile, start_us: int, end_us: int) -> EventStream:
        read.append(end_us - start_us)
        return whole(file, start_us, end_us)

    monkeypatch.setattr(EventFile, "window", window_of)
    assert draw_clip(job, settings) == 5
    assert len(read) == (5 if window == "spread:30ms" else 1)
    assert sum(read) < 160_000 or window == "spread:400ms"
    for path, frame in zip(job.outputs(5), render_frames(stream, settings), strict=True):
        assert np.array_equal(read_frame(path), frame)


def test_hz_without_bounds_asks_the_events(tmp_path: Path) -> None:
    write_npy(made_stream(20_000, span_us=1_000_000, sensor=SENSOR), tmp_path / "clip.npy")
    dataset, out = SceneDataset.open(tmp_path), tmp_path / "frames"
    settings = RenderSettings(hz=5)
    for drawn, frames in ((1, 5), (0, 0)):
        report = render_jobs(dataset_jobs(dataset, out, SENSOR), out, settings)
        assert (report.drawn, report.frames, report.skipped) == (drawn, frames, 1 - drawn)


def test_files_keep_their_names(tmp_path: Path) -> None:
    for name in ("b_000007", "a"):
        write_npy(made_stream(50, sensor=SENSOR), tmp_path / f"{name}.npy")
    out = tmp_path / "frames"
    render_jobs(dataset_jobs(SceneDataset.open(tmp_path), out), out, PRESETS["official"])
    assert len(frame_paths(out, "b_000007")) == len(frame_paths(out, "a")) == 5
    assert read_frame(out / "a_0.png").ndim == 3


def test_scenes_without_events_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").touch()
    assert dataset_jobs(SceneDataset.open(tmp_path), tmp_path / "frames") == []


def test_leftovers_of_a_killed_run_go(seed_folder: Path) -> None:
    draw(seed_folder)
    leftover = seed_folder / "event_image" / "drive_0" / ".000000_0.png.a1_b2c3d.part.png"
    other = leftover.with_name(".keep.png")
    for path in (leftover, other):
        path.touch()
    draw(seed_folder)
    assert not leftover.exists()
    assert other.exists()


def test_one_run_at_a_time(seed_folder: Path) -> None:
    with locked(seed_folder / "event_image"), pytest.raises(InputError, match="is running"):
        draw(seed_folder)


def test_progress_counts_clips(seed_folder: Path) -> None:
    folder, seen = seed_folder / "event_image", list[Progress]()
    jobs = dataset_jobs(SceneDataset.open(seed_folder), folder, SENSOR)
    render_jobs(jobs, folder, TWO, sensor=SENSOR, sink=seen.append)
    assert seen == [Progress("render", done, 4) for done in range(5)]


def test_a_clip_that_cannot_be_written_is_a_failure(seed_folder: Path) -> None:
    (seed_folder / "event_image").mkdir()
    (seed_folder / "event_image" / "drive_0").write_text("a file in the way")
    report = draw(seed_folder)
    assert report.drawn == 2
    assert [clip for clip, _ in report.failed] == ["drive_0/000000", "drive_0/000001"]


def test_outputs_are_numbered(tmp_path: Path) -> None:
    job = RenderJob("a", tmp_path / "a.npy", tmp_path, "000003")
    assert [path.name for path in job.outputs(2)] == ["000003_0.png", "000003_1.png"]
