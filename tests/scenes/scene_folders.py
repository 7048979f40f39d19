"""Small datasets for tests: events, video and event frames of two made-up drives."""

from __future__ import annotations

from pathlib import Path

from crossdraft.base.files import sha256_of
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.frame_files import frame_path, write_frame
from crossdraft.scenes.manifest import to_record, write_manifest
from crossdraft.scenes.render import render_frames
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.video import write_mp4
from crossdraft.scenes.writers import write_npz
from tests.scenes.event_files import START_US, made_stream
from tests.scenes.videos import numbered_frames

SENSOR = (96, 64)
#: Drive, clip, duration, split.
CLIPS = (
    ("first", 0, 1_000_000, "train"),
    ("first", 1, 1_000_000, "train"),
    ("second", 3, 50_000, "test"),
)


def make_scenes(folder: Path, events: int = 1_000) -> SceneDataset:
    """Three scenes in crossdraft's layout with `events` events each and five event frames."""
    records = []
    for drive, clip, duration_us, split in CLIPS:
        for part in ("events", "video", "event_image"):
            (folder / part / drive).mkdir(parents=True, exist_ok=True)
        events_file, video_file = (
            f"events/{drive}/{clip:06d}.npz",
            f"video/{drive}/{clip:06d}.mp4",
        )
        stream = made_stream(events, seed=clip, span_us=duration_us, sensor=SENSOR)
        write_npz(stream, folder / events_file)
        write_mp4(folder / video_file, numbered_frames(duration_us // 50_000))
        for number, frame in enumerate(render_frames(stream)):
            target = frame_path(folder / "event_image" / drive, f"{clip:06d}", number)
            write_frame(frame, target)
        scene = Scene(
            drive, clip, folder, events_file, video_file,
            window_us=(START_US, START_US + duration_us), sensor=SENSOR, event_count=events,
            split=split,
            sha256={f: sha256_of(folder / f) for f in (events_file, video_file)},
        )  # fmt: skip
        records.append(to_record(scene))
    write_manifest(folder, records, {})
    return SceneDataset.open(folder)
