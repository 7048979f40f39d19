"""Which scenes get simulated events, and for which drafters: as the drafter will look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crossdraft.scenes.scene import Scene
from crossdraft.scenes.simulated_scene import SimulatedScene
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.scene_events import with_events
from tests.bench.tiny_pair import write_pair
from tests.scenes.videos import FRAMES, make_video


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ModelPair:
    return ModelPair.read(write_pair(tmp_path_factory.mktemp("pair")))


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("video")
    make_video(folder / "a.mp4", FRAMES)
    return Scene("a", 0, folder, video_file="a.mp4")


def test_a_video_alone_is_simulated_in_the_drafters_pixels_and_windows(
    pair: ModelPair, video: Scene
) -> None:
    usual = with_events(pair, video)
    assert isinstance(usual, SimulatedScene)
    assert usual.sensor == (42, 28), "the tiny tower reads 28 pixels"
    (last,) = usual.stretches_us
    assert last[-1] == 49 * 50_000 and len(last) < 10, "EventGPT's own window, the last 50 ms"
    spread = with_events(pair.with_value("drafter.window=spread:50ms"), video)
    assert isinstance(spread, SimulatedScene) and spread.stretches_us[0][0] == 0
    single = with_events(
        pair.with_value("drafter.window=spread:50ms").with_value("drafter.frames=1"), video
    )
    assert isinstance(single, SimulatedScene)
    (middle,) = single.stretches_us
    assert 0 < middle[0] < middle[-1] < 49 * 50_000


def test_all_others_stay_as_they_are(pair: ModelPair, video: Scene, tmp_path: Path) -> None:
    for scene in (Scene("a", 0, tmp_path), Scene("a", 0, tmp_path, "a.h5", "a.mp4")):
        assert with_events(pair, scene) is scene
    absent = pair.with_value(f"drafter.model={tmp_path / 'nowhere'}")
    of_video = replace(pair, drafter=replace(pair.drafter, model=pair.target.model))
    for other in (absent, of_video):
        assert with_events(other, video) is video
