"""Cutting a folder of DSEC: what is in the clips, what is refused, what is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.lock import locked
from crossdraft.scenes import cut_clip as cutting
from crossdraft.scenes import disk
from crossdraft.scenes.cut import CutReport, pending, run_cut
from crossdraft.scenes.cut_plan import CutPlan, plan_cut
from crossdraft.scenes.cut_settings import CutSettings
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.frame_files import read_frame
from crossdraft.scenes.render import PRESETS, RenderSettings, render_frames
from crossdraft.scenes.video import read_first
from tests.scenes.dsec_folder import Sequence, make_sequence, tree, write_events

HALF_SECOND = 500_000
FRAMES = RenderSettings(parts=2)


def settings(**changes: Any) -> CutSettings:
    return CutSettings(**{"split": "train", "render": FRAMES, **changes})


def cut(
    root: Path,
    out: Path,
    *,
    durations: tuple[int, ...] = (HALF_SECOND,),
    sequences: list[str] | None = None,
    max_clips: int | None = None,
    workers: int = 1,
    force: bool = False,
    **changes: Any,
) -> tuple[CutPlan, CutReport]:
    plan = plan_cut(
        root, out, settings(**changes), durations, sequences=sequences, max_clips=max_clips
    )
    return plan, run_cut(plan, workers=workers, force=force)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two short sequences."""
    train = tmp_path / "DSEC" / "train"
    make_sequence(train, "thun_00_a", images=22, sensor=(160, 120))
    make_sequence(train, "interlaken_00_c", images=17, seed=1, sensor=(160, 120))
    return tmp_path / "DSEC"


@pytest.fixture
def one(tmp_path: Path) -> Sequence:
    """One sequence of three half-second clips."""
    return make_sequence(tmp_path / "DSEC" / "train", "thun_00_a", images=22)


def test_clips_hold_exactly_their_time(one: Sequence, tmp_path: Path) -> None:
    _, report = cut(one.folder.parents[1], tmp_path / "out", lossless=True)
    assert (report.cut, report.kept, report.failed) == (3, 0, [])
    dataset = SceneDataset.open(tmp_path / "out" / "train_500ms")
    assert [scene.id for scene in dataset] == [f"thun_00_a/00000{k}" for k in range(3)]
    assert dataset.layout == "crossdraft"
    for place, scene in enumerate(dataset):
        start, end = one.times_us[5 * place], one.times_us[5 * place] + HALF_SECOND
        assert (scene.window_us, scene.split) == ((start, end), "train")
        inside = (one.events.t >= start) & (one.events.t < end)
        events = scene.events()
        for name in ("x", "y", "t", "p"):
            assert np.array_equal(getattr(events, name), getattr(one.events, name)[inside])
        assert (scene.event_count, scene.sensor) == (inside.sum(), (640, 480))
        assert scene.missing() == []
        # The same ten images, bit for bit.
        assert scene.video_path is not None
        video = read_first(scene.video_path, 10)
        images = one.folder / "images" / "left" / "rectified"
        for i in range(10):
            image = read_frame(images / f"{5 * place + i:06d}.png")
            assert np.array_equal(video.frames[i], image)
        with pytest.raises(InputError, match="10 frames"):
            read_first(scene.video_path, 11)
        drawn = render_frames(events, FRAMES, span_us=(int(start), int(end)))
        for stored, frame in zip(scene.drawn_frames(), drawn, strict=True):
            assert np.array_equal(stored, frame)
    records = json.loads((dataset.folder / "scenes.json").read_text())["scenes"]
    assert [(r["first_frame"], r["last_frame"]) for r in records] == [(0, 9), (5, 14), (10, 19)]


def test_window_edges_are_exact(tmp_path: Path) -> None:
    """Events on the very microsecond: the first one belongs to the clip, the last one does not."""
    made = make_sequence(tmp_path / "train", "thun_00_a", images=12, rate_hz=5_000)
    start, end = int(made.times_us[0]), int(made.times_us[0]) + HALF_SECOND
    edges = [start - 1, start, end - 1, end]
    t = np.sort(np.concatenate([made.events.t[~np.isin(made.events.t, edges)], edges]))
    events = EventStream.checked(t % 640, t % 480, t, t % 2, sensor=(640, 480))
    write_events(made.folder / "events" / "left" / "events.h5", events, start - 631)
    cut(tmp_path, tmp_path / "out", video=False, render=None)
    (scene,) = SceneDataset.open(tmp_path / "out" / "train_500ms")
    found = scene.events().t
    assert (found[0], found[-1]) == (start, end - 1)


def test_any_number_of_workers_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    durations = (HALF_SECOND, 250_000)
    _, report = cut(root, tmp_path / "a", durations=durations)
    cut(root, tmp_path / "b", durations=durations, workers=2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert report.clips == {
        str(tmp_path / "a" / "train_500ms"): 5,
        str(tmp_path / "a" / "train_250ms"): 10,
    }


def test_more_clips_later_are_added(root: Path, tmp_path: Path) -> None:
    cut(root, tmp_path / "whole")
    plan, report = cut(root, tmp_path / "out", sequences=["thun_00_a"], max_clips=1)
    assert (len(plan.clips), report.cut, plan.absent) == (1, 1, ())
    _, report = cut(root, tmp_path / "out", max_clips=2)
    assert (report.cut, report.kept) == (3, 1)
    assert report.clips == {str(tmp_path / "out" / "train_500ms"): 4}
    plan, report = cut(root, tmp_path / "out")
    assert (report.cut, report.kept, len(plan.absent)) == (1, 4, 39)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")
    # A smaller call takes nothing away.
    _, report = cut(root, tmp_path / "out", max_clips=1)
    assert (report.cut, report.clips) == (0, {str(tmp_path / "out" / "train_500ms"): 5})
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_what_is_lost_is_cut_again(root: Path, tmp_path: Path) -> None:
    cut(root, tmp_path / "out")
    before = tree(tmp_path / "out")
    folder = tmp_path / "out" / "train_500ms"
    (folder / "event_image" / "thun_00_a" / "000001_0.png").unlink()
    video = folder / "video" / "interlaken_00_c" / "000000.mp4"
    video.write_bytes(video.read_bytes()[:-7])
    (folder / ".records" / "thun_00_a" / "000000.json").unlink()
    (folder / "events" / "thun_00_a" / ".000000.h5.abcd1234.part.h5").touch()
    _, report = cut(root, tmp_path / "out")
    assert (report.cut, report.kept) == (3, 2)
    assert tree(tmp_path / "out") == before


def test_other_settings_are_refused(one: Sequence, tmp_path: Path) -> None:
    root, out = one.folder.parents[1], tmp_path / "out"
    cut(root, out, max_clips=1)
    before = tree(out)
    for changes, words in (
        ({"overlap": 0.25}, r"overlap 0\.5 \(now 0\.25\)"),
        ({"crf": 20}, r"video\.crf 18 \(now 20\)"),
        (
            {"render": PRESETS["training"]},
            r"event_frames\.parts 2 \(now 5\), event_frames\.overlap",
        ),
        ({"video": False}, "video"),
    ):
        with pytest.raises(InputError, match=words):
            cut(root, out, **changes)
    assert tree(out) == before


def test_a_foreign_folder_is_left_alone(one: Sequence, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "train_500ms"
    folder.mkdir(parents=True)
    (folder / "scenes.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds scenes\.json, and no note"):
        cut(one.folder.parents[1], tmp_path / "out")
    assert list(tree(tmp_path / "out")) == ["train_500ms/scenes.json"]


def test_a_second_process_is_kept_out(one: Sequence, tmp_path: Path) -> None:
    with (
        locked(tmp_path / "out"),
        pytest.raises(InputError, match="is running in this folder"),
    ):
        cut(one.folder.parents[1], tmp_path / "out")


def test_too_small_a_disk(one: Sequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda _: 100_000)
    with pytest.raises(InputError, match=r"are needed, 100 kB are free"):
        cut(one.folder.parents[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    _, report = cut(one.folder.parents[1], tmp_path / "out", force=True)
    assert report.cut == 3


def test_a_damaged_image_costs_its_clips_until_it_is_mended(root: Path, tmp_path: Path) -> None:
    cut(root, tmp_path / "whole")
    image = root / "train" / "thun_00_a" / "images" / "left" / "rectified" / "000003.png"
    good = image.read_bytes()
    image.write_bytes(good[: len(good) // 2])
    _, report = cut(root, tmp_path / "out", workers=2)
    ((clip, reason),) = report.failed
    assert clip == "train_500ms/thun_00_a/000000"
    assert "000003.png" in reason
    assert report.cut == 4
    folder = tmp_path / "out" / "train_500ms"
    assert not list(folder.rglob("thun_00_a/000000*")), "a clip that failed leaves no files"
    assert len(SceneDataset.open(folder)) == 4
    image.write_bytes(good)
    _, report = cut(root, tmp_path / "out")
    assert (report.cut, report.failed) == (1, [])
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_a_missing_image_is_known_before(root: Path, tmp_path: Path) -> None:
    images = root / "train" / "thun_00_a" / "images" / "left" / "rectified"
    (images / "000017.png").unlink()
    plan, report = cut(root, tmp_path / "out")
    (skipped,) = plan.datasets[0].skipped
    assert (skipped.drive, skipped.number) == ("thun_00_a", 2)
    assert skipped.reason == "image 000017.png is missing"
    assert (report.cut, report.failed) == (4, [])
    # Without video nobody needs images.
    shutil.rmtree(images)
    plan, report = cut(root, tmp_path / "dark", video=False)
    assert (plan.datasets[0].skipped, report.cut) == ((), 5)


def test_time_without_events_is_skipped(tmp_path: Path) -> None:
    make_sequence(tmp_path / "train", "thun_00_a", images=33, silent_us=(700_000, 1_350_000))
    plan, report = cut(tmp_path, tmp_path / "out", overlap=0.5)
    assert [(s.number, s.reason) for s in plan.datasets[0].skipped] == [(3, "no events")]
    assert [clip.window.number for clip in plan.clips] == [0, 1, 2, 4]
    assert report.cut == 4


def test_too_many_images_are_refused(root: Path, tmp_path: Path) -> None:
    images = root / "train" / "thun_00_a" / "images" / "left" / "rectified"
    shutil.copy(images / "000000.png", images / "000022.png")
    with pytest.raises(InputError, match="23 images up to number 22, and 22 times"):
        cut(root, tmp_path / "out")


def test_damaged_sequences_are_all_named_before_any_work(root: Path, tmp_path: Path) -> None:
    events = root / "train" / "thun_00_a" / "events" / "left" / "events.h5"
    events.write_bytes(events.read_bytes()[:4000])
    with pytest.raises(InputError, match=r"thun_00_a.*events\.h5: not a readable HDF5"):
        cut(root, tmp_path / "out")
    (root / "train" / "interlaken_00_c" / "images" / "timestamps.txt").unlink()
    with pytest.raises(InputError, match="2 sequences cannot be cut") as caught:
        cut(root, tmp_path / "out")
    assert "timestamps.txt: no such file" in str(caught.value)
    assert "thun_00_a" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_damaged_part_of_the_events_costs_its_clips(one: Sequence, tmp_path: Path) -> None:
    path = one.folder / "events" / "left" / "events.h5"
    with h5py.File(path) as file:
        chunk = file["events/x"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset + 20 : chunk.byte_offset + chunk.size] = bytes(chunk.size - 20)
    path.write_bytes(data)
    _, report = cut(one.folder.parents[1], tmp_path / "out")
    assert report.failed[0][0] == "train_500ms/thun_00_a/000000"
    assert "events.h5" in report.failed[0][1]
    assert report.cut + len(report.failed) == 3
    assert report.cut >= 1


def test_a_full_disk_stops_everything(
    one: Sequence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(*_: object) -> None:
        calls.append(1)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cutting, "write_h5", full)
    with pytest.raises(InputError, match=r"No space left[\s\S]*make room"):
        cut(one.folder.parents[1], tmp_path / "out")
    assert len(calls) == 1


@pytest.mark.parametrize("text", ["[]", "{}", '{"record": {}, "bytes": {}}', "{", "7"])
def test_a_damaged_record_is_named(one: Sequence, tmp_path: Path, text: str) -> None:
    root = one.folder.parents[1]
    cut(root, tmp_path / "out", max_clips=1, video=False, render=None)
    path = tmp_path / "out" / "train_500ms" / ".records" / "thun_00_a" / "000000.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"000000\.json: [\s\S]*delete this file"):
        cut(root, tmp_path / "out", video=False, render=None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"clip": 0', '"clip": 1'),
        ("000000.h5", "nothing.h5"),
        ('"first_frame": 0', '"first_frame": Infinity'),
        ("event_image/thun_00_a/000000_1.png", "../000000_1.png"),
    ],
)
def test_a_record_of_something_else_is_named_before_any_work(
    one: Sequence, tmp_path: Path, before: str, after: str
) -> None:
    """Also where its clip is not planned now: the manifest lists all of them."""
    root = one.folder.parents[1]
    make_sequence(root / "train", "zurich_city_02_a", images=12)
    cut(root, tmp_path / "out", max_clips=1, video=False, sequences=["thun_00_a"])
    path = tmp_path / "out" / "train_500ms" / ".records" / "thun_00_a" / "000000.json"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))
    files = tree(tmp_path / "out")
    with pytest.raises(InputError, match=r"no record of this clip[\s\S]*delete this file"):
        cut(root, tmp_path / "out", video=False, sequences=["zurich_city_02_a"])
    assert tree(tmp_path / "out") == files


def test_clips_may_lie_beside_their_sequences(one: Sequence, tmp_path: Path) -> None:
    train = one.folder.parent
    cut(train.parent, train, max_clips=1, video=False, render=None)
    _, report = cut(train.parent, train, video=False, render=None)
    assert (report.cut, report.kept) == (2, 1)


def test_nothing_to_cut(tmp_path: Path) -> None:
    make_sequence(tmp_path / "train", "thun_00_a", images=8)
    with pytest.raises(InputError, match="no clip can be cut"):
        cut(tmp_path, tmp_path / "out")
    times = np.arange(40, dtype=np.int64) * 100_000 + 10**6
    make_sequence(tmp_path / "slow", "zurich_city_00_a", times_us=times)
    with pytest.raises(InputError, match="images at 10 Hz, and 20 Hz are expected"):
        cut(tmp_path / "slow", tmp_path / "out")


def test_resized_video_and_only_video(one: Sequence, tmp_path: Path) -> None:
    cut(one.folder.parents[1], tmp_path / "out", video_size=(48, 32), events=False, render=None)
    first = SceneDataset.open(tmp_path / "out" / "train_500ms")[0]
    assert first.events_path is None
    assert first.video_frames(8).frames.shape == (8, 32, 48, 3)
    assert {path.name for path in (tmp_path / "out" / "train_500ms").iterdir()} == {
        ".cut.json", ".records", "scenes.json", "video",
    }  # fmt: skip


def test_the_other_side(tmp_path: Path) -> None:
    make_sequence(tmp_path / "train", "thun_00_a", images=12, sides=("right",))
    _, report = cut(tmp_path, tmp_path / "out", side="right")
    assert report.cut == 1
    with pytest.raises(InputError, match="holds no images"):
        cut(tmp_path, tmp_path / "left")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"split": "val"}, "train, test"),
        ({"overlap": 1.0}, "overlap"),
        ({"crf": 52}, "crf"),
        ({"layout": "coco"}, "crossdraft, seed"),
        ({"events": False, "video": False, "render": None}, "nothing to write"),
        ({"video_size": (47, 32)}, "even numbers"),
    ],
)
def test_settings_that_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings(**changes)


def test_what_is_done_is_not_estimated(one: Sequence, tmp_path: Path) -> None:
    plan = plan_cut(one.folder.parents[1], tmp_path / "out", settings(), [HALF_SECOND])
    assert pending(plan) == list(plan.clips)
    assert all(clip.size_bytes > 10_000 for clip in plan.clips)
    run_cut(plan)
    assert pending(plan) == []
