"""The doctor on recordings: what was shown of files, and scenes that lack something."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.bench.checks.case import Seen
from crossdraft.bench.checks.check import Check
from crossdraft.bench.checks.frames import _uniform, check_overlap
from crossdraft.bench.doctor import diagnose
from crossdraft.bench.made_scene import MadeScene
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.video import probe, read_uniform
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import write_pair
from tests.scenes.scene_folders import make_scenes
from tests.scenes.videos import make_video, numbered_frames


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> PairModels:
    return PairModels(ModelPair.find(str(write_pair(tmp_path_factory.mktemp("pair")))))


@pytest.fixture
def clips(tmp_path: Path) -> SceneDataset:
    return make_scenes(tmp_path / "clips")


def frames(models: PairModels, scene: Any) -> dict[str, Check]:
    """The lines about frames, by model."""
    found = diagnose(models, scene, "What is this?", only=["frames"])
    return {check.model: check for check in found if check.name == "frames"}


def test_a_clip_of_files(models: PairModels, clips: SceneDataset) -> None:
    found = frames(models, clips[0])
    assert [check.ok for check in found.values()] == [True] * 3
    assert found["target"].numbers["indices"] == [0, 2, 5, 7, 10, 12, 15, 17]
    assert sum(found["drafter"].numbers["events"]) < 100  # of 1,000 in one second
    assert 950_000 <= found["pair"].numbers["events_us"][0] < 1_000_000


def test_a_scene_without_one_sensor(models: PairModels, clips: SceneDataset) -> None:
    found = frames(models, dataclasses.replace(clips[0], video_file=None))
    assert found["target"].verdict == found["pair"].verdict == "not checked"
    assert found["target"].line == "first/000000: the scene has no video"
    assert found["drafter"].ok is True
    found = frames(models, dataclasses.replace(clips[0], events_file=None))
    assert found["target"].ok is True and found["drafter"].verdict == "not checked"


def test_two_recordings_without_a_common_clock(models: PairModels, clips: SceneDataset) -> None:
    found = frames(models, dataclasses.replace(clips[0], window_us=None))
    assert found["target"].ok is found["drafter"].ok is True
    assert found["pair"].verdict == "not checked"


def test_a_damaged_recording(models: PairModels, clips: SceneDataset) -> None:
    video = clips[0].video_path
    assert video is not None
    video.write_bytes(video.read_bytes()[:200])
    with pytest.raises(InputError, match=video.name):
        frames(models, clips[0])


def test_event_frames_behind_the_end_of_the_video() -> None:
    scene = MadeScene()
    events = Seen("events", 350_000, 399_999, 400_000)
    assert check_overlap(scene, Seen("video", 0, 350_000, 400_000), events).ok is True
    short = check_overlap(scene, events, Seen("video", 0, 90_000, 100_000))
    assert short.ok is False and "the video runs to 100.0 ms" in short.line
    late = check_overlap(scene, events, Seen("video", 360_000, 390_000, 400_000))
    assert late.ok is False


@pytest.mark.parametrize(
    ("ticks", "base"),
    [
        (list(range(50)), Fraction(1, 20)),
        ([1001 * i for i in range(31)], Fraction(1, 30_000)),
        ([0, 1, 2, 9, 10, 24, 25, 26], Fraction(1, 25)),
        ([100 * i for i in range(7)], Fraction(1, 3_000)),
    ],
    ids=["20Hz", "29.97Hz", "gaps", "short"],
)
def test_the_rule_worked_out_apart(tmp_path: Path, ticks: list[int], base: Fraction) -> None:
    """The doctor's own rule chooses the frames that the reader chooses."""
    path = make_video(tmp_path / "v.mp4", numbered_frames(len(ticks)), ticks=ticks, time_base=base)
    video = probe(path)
    for count in (1, 3, 8, 10):
        expected = read_uniform(path, count).indices.tolist()
        assert _uniform(video.times_us, video.duration_us, count).tolist() == expected
