"""Datasets open by what lies in the folder; drives stay whole; the fingerprint means the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.frame_note import note_settings
from crossdraft.scenes.manifest import to_record, write_manifest
from crossdraft.scenes.render import RenderSettings
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.seed_layout import SEED_MANIFEST, split_of


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"x")


def own(folder: Path, clips: dict[str, int]) -> SceneDataset:
    made = [
        Scene(drive, clip, folder, events_file=f"events/{drive}/{clip:06d}.h5")
        for drive, count in clips.items()
        for clip in range(count)
    ]
    write_manifest(folder, map(to_record, made), {})
    return SceneDataset.open(folder)


def seed(folder: Path, entries: Sequence[dict[str, object]]) -> SceneDataset:
    (folder / SEED_MANIFEST).write_text(json.dumps(entries))
    return SceneDataset.open(folder)


def test_own_layout_with_frames_in_their_order(tmp_path: Path) -> None:
    touch(tmp_path, *(f"event_image/a/000001_{i}.png" for i in range(11)))
    touch(tmp_path, "event_image_1f/a/000000_0.png", "event_image/a/.000001_0.png.x.png")
    opened = own(tmp_path, {"b": 1, "a": 2})
    assert [scene.id for scene in opened] == ["a/000000", "a/000001", "b/000000"]
    assert opened.layout == "crossdraft" and opened.drives == ("a", "b")
    assert list(opened[0].frame_sets) == ["event_image_1f"]
    assert opened[1].frame_sets["event_image"] == tuple(
        f"event_image/a/000001_{i}.png" for i in range(11)
    )
    assert opened[2].missing() == ["events events/b/000000.h5"]
    assert SceneDataset.open(tmp_path / "scenes.json").fingerprint == opened.fingerprint


def test_seed_layout_by_its_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "my_egpt_dsec_seq_1s"
    touch(folder, "event_npy/thun/000010.npy", "event_npy/thun/000002.npy", "mp4/thun/000002.mp4")
    touch(folder, "event_image/thun/000002_0.png", "event_image_5Hz/thun/000002_0.png")
    opened = seed(
        folder,
        [
            {"split": folder.name, "event_data": f"thun/{clip}.npy", "video_data": f"thun/{clip}"}
            for clip in ("000010", "000002")
        ],
    )
    assert opened.layout == "seed" and [scene.clip for scene in opened] == [2, 10]
    assert opened[0].split == "test"
    assert opened[0].video_file == "mp4/thun/000002.mp4" and opened[0].missing() == []
    assert sorted(opened[0].frame_sets) == ["event_image", "event_image_5Hz"]
    assert opened[1].missing() == ["video mp4/thun/000010.mp4"]


def test_seed_layout_keeps_what_its_manifest_lists(tmp_path: Path) -> None:
    touch(tmp_path, "event_npy/a/000000.npy", *(f"event_image/a/000000_{i}.png" for i in range(3)))
    turns = [{"from": "human", "value": "Where?"}, {"from": "gpt", "value": ""}]
    opened = seed(
        tmp_path,
        [
            {
                "event_data": "a/000000.npy",
                "event_image": ["a/000000_0.png"],
                "event_image_1f": ["event_image_1f/a/000000_0.png"],
                "conversations": turns,
            }
        ],
    )
    assert len(opened[0].frame_sets["event_image"]) == 3, "what is drawn counts too"
    assert opened[0].missing() == ["event_image_1f event_image_1f/a/000000_0.png"]
    assert opened[0].truth == {"conversations": turns[:1]}
    assert SceneDataset.open(tmp_path)[0] == opened[0]


def test_frames_that_are_lost_are_missed(tmp_path: Path) -> None:
    """Listed by the manifest, promised by the set's note, or a gap in the numbers."""
    frames = [f"a/000000_{i}.png" for i in range(5)]
    touch(tmp_path, "event_npy/a/000000.npy", *(f"event_image/{file}" for file in frames))
    touch(tmp_path, "event_image_10Hz/a/000000_2.png", "event_image_new/a/000000_0.png")
    note_settings(tmp_path / "event_image_new", RenderSettings(parts=2))
    (tmp_path / "event_image" / frames[4]).unlink()
    opened = seed(tmp_path, [{"event_data": "a/000000.npy", "event_image": frames}])
    assert opened[0].frame_sets["event_image"] == tuple(f"event_image/{file}" for file in frames)
    assert opened[0].missing() == [
        "event_image event_image/a/000000_4.png",
        "event_image_10Hz event_image_10Hz/a/000000_0.png",
        "event_image_10Hz event_image_10Hz/a/000000_1.png",
        "event_image_new event_image_new/a/000000_1.png",
    ]
    (tmp_path / "event_image_new" / "render.json").write_text("{")
    assert len(SceneDataset.open(tmp_path)[0].missing()) == 3, "a damaged note promises nothing"


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("my_egpt_dsec_train_1s", "train"), ("my_egpt_dsec_seq_1s", "test"), ("test", "test"),
        ("latest_clips", None), ("constrained", None), ("sequences", None),
    ],
)  # fmt: skip
def test_the_split_is_a_word_of_the_name(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_seed_layout_without_videos_misses_none(tmp_path: Path) -> None:
    touch(tmp_path, "event_npy/a/000000.npy")
    opened = seed(tmp_path, [{"event_data": "a/000000.npy", "video_data": "a/000000"}])
    assert opened[0].video_file is None and opened[0].missing() == []


def test_seed_layout_without_a_manifest(tmp_path: Path) -> None:
    touch(tmp_path, "event_npy/a/000001.npy", "mp4/a/000001.mp4", "mp4/a/000003.mp4", "mp4/a/x.mp4")
    touch(tmp_path, "event_image/b/000000_0.png")
    opened = SceneDataset.open(tmp_path)
    assert [scene.id for scene in opened] == ["a/000001", "a/000003", "b/000000"]
    assert opened[1].events_file is None and opened[2].frame_sets.keys() == {"event_image"}


def test_flat_folder(tmp_path: Path) -> None:
    touch(tmp_path, "thun_00_a_000069.npy", "thun_00_a_000069.mp4", "walk.H5", "notes.md")
    opened = SceneDataset.open(tmp_path)
    assert [scene.id for scene in opened] == sorted([f"{tmp_path.name}/000000", "thun_00_a/000069"])
    both = opened.of_drives(["thun_00_a"])[0]
    assert both.events_file == "thun_00_a_000069.npy"
    assert both.video_file == "thun_00_a_000069.mp4"


def test_flat_folder_with_names_of_every_kind(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    touch(folder, "run_000.npy", "run_001.npz", "aa.npy", "b.csv.gz", "c.txt.gz")
    opened = SceneDataset.open(folder)
    assert [(scene.id, scene.events_file) for scene in opened] == [
        ("run/000000", "run_000.npy"),
        ("run/000001", "run_001.npz"),
        ("run/000002", "aa.npy"),
        ("run/000003", "b.csv.gz"),
        ("run/000004", "c.txt.gz"),
    ]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.npy", "a.h5"), "a.h5 and a.npy are two recordings of one scene"),
        (
            ("x_001.npy", "x_0001.npy"),
            r"x/000001 is listed more than once \(x_0*1.npy, x_0",
        ),
    ],
    ids=["name", "number"],
)
def test_files_in_each_others_way_are_named(
    files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    touch(tmp_path, *files)
    with pytest.raises(InputError, match=message):
        SceneDataset.open(tmp_path)


def test_single_file(tmp_path: Path) -> None:
    touch(tmp_path, "walk.npz", "walk.mp4")
    assert SceneDataset.open(tmp_path / "walk.npz")[0].events_file == "walk.npz"
    assert SceneDataset.open(tmp_path / "walk.mp4")[0].video_file == "walk.mp4"


def test_the_fingerprint_means_the_data_not_the_place(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        touch(folder, "events/a/000000.h5")
    first = own(here, {"a": 1}).fingerprint
    assert own(there, {"a": 1}).fingerprint == first
    touch(here, "event_image/a/000000_0.png")
    assert SceneDataset.open(here).fingerprint == first
    (here / "events/a/000000.h5").write_bytes(b"xy")
    assert SceneDataset.open(here).fingerprint != first
    assert own(there, {"a": 2}).fingerprint != first
    for name in ("one", "two"):
        touch(tmp_path / name, "walk.npy")
    flat = [SceneDataset.open(tmp_path / name).fingerprint for name in ("one", "two")]
    assert flat[0] == flat[1]


def test_drives_are_never_divided(tmp_path: Path) -> None:
    opened = own(tmp_path, {"a": 4, "b": 6, "c": 20})
    rest, held = opened.hold_out(0.3)
    assert set(held.drives) == {"a", "b"} and set(rest.drives) == {"c"}
    assert len(rest) + len(held) == len(opened)
    for share in (0, 1, 5, float("nan")):
        with pytest.raises(InputError, match="a share of"):
            opened.hold_out(share)
    with pytest.raises(InputError, match="1 drive cannot be split"):
        rest.hold_out(0.5)
    with pytest.raises(InputError, match="no drive 'd'"):
        opened.of_drives(["d"])


def test_slices_are_datasets(tmp_path: Path) -> None:
    opened = own(tmp_path, {"a": 4})
    assert isinstance(opened[1:3], SceneDataset)
    assert [scene.clip for scene in opened[1:3]] == [1, 2]


def test_places_that_are_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        SceneDataset.open(tmp_path / "nothing")
    with pytest.raises(InputError, match="holds no scene"):
        SceneDataset.open(tmp_path)
    touch(tmp_path, "train/thun_00_a/events/left/events.h5")
    with pytest.raises(InputError, match="crossdraft scenes dsec"):
        SceneDataset.open(tmp_path)
    (tmp_path / "cut").mkdir()
    own(tmp_path / "cut", {"a": 1})
    with pytest.raises(InputError, match="name one of the datasets in it: cut"):
        SceneDataset.open(tmp_path)


def test_a_clip_listed_twice_is_refused(tmp_path: Path) -> None:
    entry: dict[str, object] = {"event_data": "a/000000.npy"}
    with pytest.raises(InputError, match="clip a/000000 is listed more than once"):
        seed(tmp_path, [entry, entry])


def test_what_a_scene_lacks_is_named(tmp_path: Path) -> None:
    scene = Scene("a", 0, tmp_path)
    with pytest.raises(InputError, match="a/000000: the scene has no video"):
        scene.video_frames(8)
    with pytest.raises(InputError, match="has no event stream") as caught:
        scene.events()
    assert caught.value.where == tmp_path / "a" / "000000"
    assert caught.value.hint == "choose another clip of the dataset"
    with pytest.raises(InputError, match="no event frames 'event_image'") as caught:
        scene.drawn_frames()
    assert caught.value.expected == "a scene with event frames, drawn before"
    drawn = Scene("a", 0, tmp_path, frame_sets={"event_image_1f": ("a.png",)})
    with pytest.raises(InputError, match="expected: one of event_image_1f"):
        drawn.drawn_frames()


def test_what_a_file_lacks_is_said_of_the_path_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("drive.npz", "drive.mp4"):
        Path(name).touch()
    with pytest.raises(InputError) as caught:
        SceneDataset.open(Path("drive.npz"))[0].video_frames(8)
    assert str(caught.value).splitlines() == [
        "drive.npz: the scene has no video",
        "  expected: a scene with a video",
        "  try: add it: --scene drive.npz,VIDEO.mp4",
    ]
    with pytest.raises(InputError) as caught:
        SceneDataset.open(Path("drive.mp4"))[0].events()
    assert str(caught.value).splitlines() == [
        "drive.mp4: the scene has no event stream",
        "  expected: a scene with an event stream",
        "  try: add it: --scene EVENTS.h5,drive.mp4",
    ]


def test_a_window_of_a_recording_is_named_by_its_clip(tmp_path: Path) -> None:
    scene = Scene("a", 3, tmp_path, events_file="a.h5", window_us=(0, 50_000))
    with pytest.raises(InputError, match="a/000003: the scene has no video") as caught:
        scene.video_frames(8)
    assert caught.value.hint == "choose another clip of the dataset"
