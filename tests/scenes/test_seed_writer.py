"""The seed study's layout, written from DSEC and read again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from crossdraft.base.safe_load import load_pickled_npy
from crossdraft.scenes.cut import run_cut
from crossdraft.scenes.cut_plan import plan_cut
from crossdraft.scenes.cut_settings import CutSettings
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.frame_files import read_frame
from crossdraft.scenes.render import PRESETS
from crossdraft.scenes.seed_writer import seed_folder
from tests.scenes.dsec_folder import Sequence, make_sequence

FOLDER = "my_egpt_dsec_train/my_egpt_dsec_train_500ms"


@pytest.fixture
def made(tmp_path: Path) -> Sequence:
    """A sequence and, in `out`, its clips in the seed study's layout."""
    sequence = make_sequence(tmp_path / "DSEC" / "train", "thun_00_a", images=17)
    settings = CutSettings("train", layout="seed", render=PRESETS["seed"])
    run_cut(plan_cut(tmp_path / "DSEC", tmp_path / "out", settings, [500_000]))
    return sequence


def test_folders_of_the_seed_study() -> None:
    assert seed_folder("train", 500_000) == FOLDER
    assert seed_folder("test", 2_000_000) == "my_egpt_dsec_test/my_egpt_dsec_seq_2s"


def test_it_reads_as_a_dataset(made: Sequence, tmp_path: Path) -> None:
    dataset = SceneDataset.open(tmp_path / "out" / FOLDER)
    assert (dataset.layout, len(dataset)) == ("seed", 2)
    scene = dataset[1]
    assert (scene.id, scene.split, scene.missing()) == ("thun_00_a/000001", "train", [])
    start = made.times_us[5]
    expected = made.events.between(int(start), int(start) + 500_000)
    assert np.array_equal(scene.events().t, expected.t)
    assert np.array_equal(scene.events().x, expected.x)
    assert len(scene.drawn_frames()) == 5
    assert len(scene.drawn_frames("event_image_1f")) == 1
    assert scene.video_frames(10).frames.shape == (10, 64, 96, 3)


def test_event_files_hold_what_the_seed_study_reads(made: Sequence, tmp_path: Path) -> None:
    path = tmp_path / "out" / FOLDER / "event_npy" / "thun_00_a" / "000001.npy"
    stored = load_pickled_npy(path)
    start = int(made.times_us[5])
    assert {name: stored[name].dtype for name in ("p", "t", "x", "y")} == {
        "p": np.uint8, "t": np.int64, "x": np.uint16, "y": np.uint16,
    }  # fmt: skip
    assert (stored["time_start"], stored["time_end"]) == (start, start + 500_000)
    assert stored["t"][0] >= start
    assert (stored["duration_ms"], stored["image_timestamp"]) == (500.0, start + 500_000)
    assert stored["image_idx"] == 5
    assert stored["image_indices_in_clip"] == list(range(5, 15))
    assert stored["num_events"] == len(stored["t"])


def test_the_manifest(made: Sequence, tmp_path: Path) -> None:
    folder = tmp_path / "out" / FOLDER
    path = folder / "EventGPT_Instruction_Subset.json"
    first, second = json.loads(path.read_text())
    assert list(first) == [
        "id", "split", "event_data", "video_data", "mp4_data", "event_image", "event_image_1f",
        "conversations",
    ]  # fmt: skip
    assert first["id"] != second["id"]
    assert second["split"] == "my_egpt_dsec_train_500ms"
    # Each name is relative to the folder of its kind.
    assert (folder / "event_npy" / second["event_data"]).is_file()
    assert (folder / "mp4" / second["mp4_data"]).is_file()
    assert second["mp4_data"] == second["video_data"] + ".mp4"
    for name in ("event_image", "event_image_1f"):
        for file in second[name]:
            assert read_frame(folder / name / file).shape[2] == 3
    before = path.read_bytes()
    settings = CutSettings("train", layout="seed", render=PRESETS["seed"])
    run_cut(plan_cut(tmp_path / "DSEC", tmp_path / "out", settings, [500_000]))
    assert path.read_bytes() == before, "ids do not change"


def test_without_video_the_manifest_names_none(tmp_path: Path) -> None:
    make_sequence(tmp_path / "DSEC" / "test", "thun_01_a", images=12)
    settings = CutSettings("test", layout="seed", video=False, render=None)
    run_cut(plan_cut(tmp_path / "DSEC", tmp_path / "out", settings, [500_000]))
    (scene,) = SceneDataset.open(tmp_path / "out" / seed_folder("test", 500_000))
    assert (scene.video_file, scene.split) == (None, "test")
