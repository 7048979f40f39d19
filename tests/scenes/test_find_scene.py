"""A scene by a short text: files, two files, a clip of a dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.find_scene import find_scene
from crossdraft.scenes.writers import write_h5
from tests.scenes.event_files import made_stream
from tests.scenes.scene_folders import make_scenes
from tests.scenes.videos import make_video, numbered_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of three clips, and a clip as two files in two folders."""
    place = tmp_path_factory.mktemp("scenes")
    make_scenes(place / "clips", events=40)
    for name in ("sensor", "camera", "single"):
        (place / name).mkdir()
    write_h5(made_stream(500), place / "sensor" / "drive_007.h5")
    write_h5(made_stream(20), place / "single" / "only.h5")
    make_video(place / "camera" / "front.mp4", numbered_frames(4))
    return place


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def test_one_file_is_one_sensor() -> None:
    events = find_scene("sensor/drive_007.h5")
    assert (events.id, events.video_path) == ("drive/000007", None)
    assert len(events.events()) == 500
    video = find_scene("camera/front.mp4")
    assert video.events_path is None
    assert len(video.video_frames(2).frames) == 2


@pytest.mark.parametrize(
    "text", ["sensor/drive_007.h5,camera/front.mp4", "camera/front.mp4, sensor/drive_007.h5"]
)
def test_two_files_of_a_clip_in_any_order(text: str, folder: Path) -> None:
    scene = find_scene(text)
    assert scene.id == "drive/000007"
    assert (scene.folder, scene.missing()) == (folder, [])
    assert len(scene.events()) == 500
    assert len(scene.video_frames(2).frames) == 2


@pytest.mark.parametrize("text", ["clips/second/000003", "clips/second/3", " clips/second/3/ "])
def test_a_clip_of_a_dataset(text: str, folder: Path) -> None:
    for scene in (find_scene(text), find_scene(f"{folder}/{text.strip()}")):
        assert (scene.drive, scene.clip, scene.split) == ("second", 3, "test")
        assert scene.window_us is not None
        assert set(scene.frame_sets) == {"event_image"}


def test_a_folder_with_one_scene() -> None:
    assert find_scene("single").events_file == "only.h5"


def test_a_comma_in_a_folder_of_a_dataset(folder: Path) -> None:
    (folder / "a,b").symlink_to(folder / "clips")
    assert find_scene("a,b/second/3").clip == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere", "nowhere: no such file or folder"),
        (" ", "names no scene"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name/a: "),
        ("no/such/000001", "EVENTS,VIDEO, or DATASET/drive/clip"),
        ("clips", "holds 3 scenes"),
        ("clips", "name it: clips/first/000000"),
        ("clips/second/4", "no scene second/4 among the 3 of clips"),
        ("clips/second/4", "the nearest: second/000003"),
        ("clips/secnd/000003", "the nearest: second/000003"),
        ("clips/second/front", "no scene second/front"),
        ("camera/front.mp4,absent.h5", "absent.h5: no such file"),
        ("camera/front.mp4,camera/front.mp4", "0 event files and 2 videos"),
        ("sensor/drive_007.h5,camera/front.mp4,single/only.h5", "2 event files and 1 videos"),
    ],
)
def test_what_names_no_scene_is_refused(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        find_scene(text)
    assert said in str(caught.value)
