"""Datasets of the procedural drive: what is in them, what is kept, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.scenes import disk, synth, synth_clip
from crossdraft.scenes.answers import read_answers
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.drive.plan import plan_drive
from crossdraft.scenes.drive.world import Clip
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.scenes.simulate import EventSimulator, SimulatorSettings
from crossdraft.scenes.synth import pending, plan_synth, run_synth
from crossdraft.scenes.synth_clip import SynthClip, film
from crossdraft.scenes.synth_estimate import clip_bytes, clip_s
from crossdraft.scenes.synth_settings import SynthSettings, with_threshold
from crossdraft.scenes.video import read_first
from crossdraft.scenes.video_write import write_mp4
from tests.scenes.dsec_folder import tree
from tests.scenes.synth_world import Waves, draw_waves, make


@pytest.fixture(autouse=True)
def _waves(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_waves(monkeypatch)


def test_every_clip_has_its_parts(tmp_path: Path) -> None:
    report = make(tmp_path, seed=3)
    assert (report.done, report.kept, report.failed) == (4, 0, [])
    assert report.clips == {str(tmp_path): 4}
    dataset = SceneDataset.open(tmp_path)
    assert [scene.id for scene in dataset] == [
        f"train-000{drive}/00000{clip}" for drive in range(2) for clip in range(2)
    ]
    for scene in dataset:
        assert (scene.split, scene.simulated, scene.sensor) == ("train", True, (32, 32))
        start, end = scene.clip * 1_000_000, (scene.clip + 1) * 1_000_000
        assert scene.window_us == (start, end)
        assert scene.missing() == []
        events = scene.events()
        assert len(events) == scene.event_count
        assert start < events.t[0] <= events.t[-1] < end
        assert scene.video_path is not None
        assert scene.video_frames(8).frames.shape == (8, 32, 32, 3)
        with pytest.raises(InputError, match="20 frames"):
            read_first(scene.video_path, 21)
        assert scene.sha256 == {
            path.relative_to(tmp_path).as_posix(): sha256_of(path) for _, path in scene.parts()
        }
        planned = plan_drive(3, "train", int(scene.drive[-4:]), 2)[scene.clip]
        assert Clip.from_truth(scene.truth, scene.id) == planned
    made_with = json.loads((tmp_path / "scenes.json").read_text())["made_with"]
    assert (made_with["seed"], made_with["size"], made_with["events_fps"]) == (3, 32, 40)
    assert made_with["simulator"] == with_threshold(0.3).to_json()


def test_every_clip_has_answers_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    make(tmp_path)
    make(tmp_path, drives=1, split="test")
    said = list(read_answers(tmp_path))
    scenes = SceneDataset.open(tmp_path)
    assert [entry.scene_id for entry in said] == [
        scene.id for scene in scenes for _ in DEFAULT_QUESTIONS
    ]
    assert all(set(entry.answers) == {"camera", "event"} for entry in said)


def test_both_cameras_look_at_the_same_moments(tmp_path: Path) -> None:
    world = plan_drive(0, "train", 0, 2)[1]
    settings = SynthSettings(seed=3, size=32, events_fps=60)
    images, events = film(SynthClip(tmp_path, world, "train", settings))
    camera, simulator = Waves(world, (32, 32)), EventSimulator((32, 32), settings.simulator, 3)
    assert len(images) == 20
    for k, image in enumerate(images):
        assert np.array_equal(image, camera.look(k / 20).rgb)
    # The first look is the reference, the last one is the end of the clip.
    times = [
        simulator.push(camera.look(k / 60).intensity, 1_000_000 + k * 1_000_000 // 60).t
        for k in range(61)
    ]
    every = np.concatenate(times)
    assert np.array_equal(events.t, every[every < 2_000_000])
    assert len(events.t) > 1000


def test_the_quality_of_the_video_is_the_one_asked_for(tmp_path: Path) -> None:
    sizes = []
    for crf in (10, 40):
        make(tmp_path / str(crf), 1, 1, crf=crf)
        sizes.append((tmp_path / str(crf) / "video/train-0000/000000.mp4").stat().st_size)
    assert sizes[0] > 1.3 * sizes[1]


def test_answers_are_there_before_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(folder: Path, *_: object) -> None:
        assert len(list(read_answers(folder))) == len(DEFAULT_QUESTIONS)

    monkeypatch.setattr(synth, "write_manifest", look)
    make(tmp_path, 1, 1)
    assert not (tmp_path / "scenes.json").exists()


def test_drives_clips_and_splits_can_be_added_later(tmp_path: Path) -> None:
    make(tmp_path / "whole")
    make(tmp_path / "whole", split="test", drives=1)
    out = tmp_path / "out"
    make(out, split="test", drives=1, clips=1)
    report = make(out, drives=1)
    assert (report.done, report.kept, report.clips) == (2, 0, {str(out): 3})
    make(out, clips=1)
    report = make(out)
    assert (report.done, report.kept) == (1, 3)
    make(out, split="test", drives=1)
    assert tree(out) == tree(tmp_path / "whole")
    # A smaller call takes nothing away.
    report = make(out, drives=1, clips=1)
    assert (report.done, report.kept, report.clips) == (0, 1, {str(out): 6})
    assert tree(out) == tree(tmp_path / "whole")
    dataset = SceneDataset.open(out)
    assert dataset.where(lambda scene: scene.split == "test").drives == ("test-0000",)
    rest, held = dataset.where(lambda scene: scene.split == "train").hold_out(0.5)
    assert (rest.drives, held.drives) == (("train-0001",), ("train-0000",))


def test_what_is_lost_is_made_again(tmp_path: Path) -> None:
    make(tmp_path)
    before = tree(tmp_path)
    (tmp_path / "events" / "train-0000" / "000001.h5").unlink()
    video = tmp_path / "video" / "train-0001" / "000000.mp4"
    video.write_bytes(video.read_bytes()[:-7])
    (tmp_path / ".records" / "train-0001" / "000001.json").unlink()
    (tmp_path / "events" / "train-0000" / ".000000.h5.abcd1234.part.h5").touch()
    (tmp_path / "scenes.json").unlink()
    (tmp_path / "answers.jsonl").write_text("")
    report = make(tmp_path)
    assert (report.done, report.kept) == (3, 1)
    assert tree(tmp_path) == before


def test_a_clip_of_another_plan_is_made_again(tmp_path: Path) -> None:
    make(tmp_path)
    before = tree(tmp_path)
    path = tmp_path / ".records" / "train-0000" / "000000.json"
    known = json.loads(path.read_text())
    known["record"]["truth"]["clip"]["start_m"] += 1.0
    path.write_text(json.dumps(known))
    assert make(tmp_path).done == 1
    assert tree(tmp_path) == before


def test_any_number_of_workers_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(synth_clip, "Camera", Camera)  # the real one: what workers have
    make(tmp_path / "a", drives=1)
    make(tmp_path / "b", drives=1, workers=2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 1}, r"seed 0 \(now 1\)"),
        ({"size": 34}, r"size 32 \(now 34\)"),
        ({"crf": 20}, r"video\.crf 18 \(now 20\)"),
        ({"simulator": with_threshold(0.2)}, r"simulator\.threshold_on 0\.3 \(now 0\.2\)"),
    ],
    ids=["seed", "size", "crf", "threshold"],
)
def test_other_settings_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    make(tmp_path, 1, 1)
    before = tree(tmp_path)
    with pytest.raises(InputError, match=words):
        make(tmp_path, 1, 2, **changes)
    assert tree(tmp_path) == before


def test_a_foreign_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "scenes.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds scenes\.json, and no note of how it was made"):
        make(tmp_path)
    assert list(tree(tmp_path)) == ["scenes.json"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"simulated": true', '"simulated": false'),
        ('"road"', '"rod"'),
        ('"number": 0', '"number": 7'),
        ('"truth"', '"truths"'),
    ],
    ids=["a-sensor's", "truth-damaged", "truth-of-another", "no-truth"],
)
def test_a_record_of_something_else_is_named_before_any_work(
    tmp_path: Path, before: str, after: str
) -> None:
    """Also where its clip is not planned now: the manifest lists all of them."""
    make(tmp_path, 1, 1)
    path = tmp_path / ".records" / "train-0000" / "000000.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    files = tree(tmp_path)
    with pytest.raises(InputError, match=r"000000\.json: no record[\s\S]*its clip is made again"):
        make(tmp_path, 1, 1, split="test")
    assert tree(tmp_path) == files


def test_a_clip_that_fails_costs_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "whole")
    real = write_mp4

    def write(path: Path, *arguments: Any, **options: Any) -> None:
        if path.parts[-2:] == ("train-0001", "000000.mp4"):
            raise RuntimeError("no such codec")
        real(path, *arguments, **options)

    monkeypatch.setattr(synth_clip, "write_mp4", write)
    out = tmp_path / "out"
    report = make(out)
    assert report.failed == [("out/train-0001/000000", "RuntimeError: no such codec")]
    assert not list(out.rglob("train-0001/000000*")), "a clip that failed leaves no files"
    assert len(SceneDataset.open(out)) == 3
    monkeypatch.undo()
    draw_waves(monkeypatch)
    assert make(out).failed == []
    assert tree(out) == tree(tmp_path / "whole")


def test_a_threshold_that_nothing_reaches(tmp_path: Path) -> None:
    report = make(tmp_path, 1, 1, simulator=with_threshold(9.0))
    ((clip, reason),) = report.failed
    assert clip.endswith("train-0000/000000")
    assert "no events in this clip" in reason


def test_too_small_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1000)
    plan = plan_synth(
        tmp_path / "out", SynthSettings(size=32), drives=1, clips_per_drive=1, split="train"
    )
    with pytest.raises(InputError, match=r"1 kB are free[\s\S]*make fewer or smaller clips"):
        run_synth(plan)
    assert not (tmp_path / "out").exists()
    assert pending(plan) == list(plan.clips)
    run_synth(plan, force=True)
    assert pending(plan) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -1}, "seed"),
        ({"size": 33}, "an even number from 32 to 256"),
        ({"size": 30}, "an even number"),
        ({"size": 258}, "an even number"),
        ({"events_fps": 50}, "a multiple of 20"),
        ({"events_fps": 0}, "a multiple of 20"),
        ({"crf": 52}, "crf"),
        ({"drives": 0}, "drives"),
        ({"drives": 10_001}, "from 1 to 10,000"),
        ({"clips": 0}, "clips-per-drive"),
        ({"drives": 1_000, "clips": 1_001}, "1,000 drives of 1,001 clips"),
        ({"split": "val"}, "train or test"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_a_threshold_brings_its_spread(tmp_path: Path) -> None:
    default = SimulatorSettings()
    assert with_threshold(default.threshold_on) == default
    assert with_threshold(0.3).threshold_sigma == 2 * default.threshold_sigma
    with pytest.raises(InputError, match="threshold_on"):
        with_threshold(0.0)


def test_estimates_grow_with_what_is_asked(tmp_path: Path) -> None:
    small, large = SynthSettings(size=56), SynthSettings(size=112)
    assert clip_bytes(small) < clip_bytes(large)
    assert clip_bytes(SynthSettings(simulator=with_threshold(0.5))) < clip_bytes(large)
    assert clip_s(small) < clip_s(large) < clip_s(SynthSettings(events_fps=160))
