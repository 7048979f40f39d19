"""Finding sequences in a folder of DSEC, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes.dsec import Recording, find_recordings, read_timestamps
from crossdraft.scenes.dsec_sequences import TEST, TRAIN, split_of_sequence
from tests.scenes.dsec_folder import make_sequence


def _empty_sequence(folder: Path, *parts: str) -> None:
    for part in parts or ("events", "images"):
        (folder / part).mkdir(parents=True)


def test_the_official_lists() -> None:
    assert (len(TRAIN), len(TEST)) == (41, 12)
    assert len({*TRAIN, *TEST}) == 53
    assert split_of_sequence("interlaken_00_a") == "test"
    assert split_of_sequence("interlaken_00_c") == "train"
    assert split_of_sequence("thun_02_a") == "test"
    assert split_of_sequence("zurich_city_18_a") == "train"
    assert split_of_sequence("my_street") is None


def test_sequences_of_a_split_folder(tmp_path: Path) -> None:
    for name in ("zurich_city_00_a", "interlaken_00_c", "my_street"):
        _empty_sequence(tmp_path / "train" / name)
    _empty_sequence(tmp_path / "test" / "interlaken_00_a")
    (tmp_path / "train" / "readme").mkdir()
    found = find_recordings(tmp_path, "train", "right")
    assert [r.drive for r in found.recordings] == [
        "interlaken_00_c", "my_street", "zurich_city_00_a",
    ]  # fmt: skip
    assert len(found.absent) == 39
    assert "zurich_city_00_b" in found.absent
    first = found.recordings[0]
    folder = tmp_path / "train" / "interlaken_00_c"
    assert first.events_path == folder / "events" / "right" / "events.h5"
    assert first.timestamps_path == folder / "images" / "timestamps.txt"
    assert first.image_path(7) == folder / "images" / "right" / "rectified" / "000007.png"


def test_sequences_without_a_split_folder_are_told_apart_by_the_lists(tmp_path: Path) -> None:
    for name in ("zurich_city_00_a", "interlaken_00_a", "my_street"):
        _empty_sequence(tmp_path / name)
    names = [r.drive for r in find_recordings(tmp_path, "test", "left").recordings]
    assert names == ["interlaken_00_a"], "an unknown one is taken only when it is named"
    named = find_recordings(tmp_path, "test", "left", ["my_street", "my_street"])
    assert [r.drive for r in named.recordings] == ["my_street"]
    assert named.absent == ()


def test_archives_unpacked_side_by_side(tmp_path: Path) -> None:
    _empty_sequence(tmp_path / "train_events" / "thun_00_a", "events")
    _empty_sequence(tmp_path / "train_images" / "thun_00_a", "images")
    (recording,) = find_recordings(tmp_path, "train", "left").recordings
    assert recording.events_path.is_relative_to(tmp_path / "train_events")
    assert recording.timestamps_path.is_relative_to(tmp_path / "train_images")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("zurich_city_00_q", "did you mean zurich_city_00_"),
        ("zurich_city_02_c", "sequence zurich_city_02_c is not there"),
        ("interlaken_00_a", "is a sequence of the test split"),
        ("thun_01_a", "is a sequence of the test split"),
        ("../train/thun_00_a", "no sequence"),
    ],
)
def test_names_that_are_refused(tmp_path: Path, wanted: str, words: str) -> None:
    _empty_sequence(tmp_path / "train" / "zurich_city_00_a")
    _empty_sequence(tmp_path / "interlaken_00_a")
    with pytest.raises(InputError, match=words):
        find_recordings(tmp_path, "train", "left", [wanted])


def test_a_sequence_in_the_wrong_split_folder_is_refused(tmp_path: Path) -> None:
    _empty_sequence(tmp_path / "train" / "thun_01_a")
    with pytest.raises(InputError, match=r"thun_01_a is a sequence of the test split[\s\S]*move"):
        find_recordings(tmp_path, "train", "left")


def test_folders_without_a_sequence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_recordings(tmp_path / "nowhere", "train", "left")
    with pytest.raises(InputError, match="no sequence of the train split"):
        find_recordings(tmp_path, "train", "left")
    _empty_sequence(tmp_path / "thun_00_a")
    with pytest.raises(InputError, match="this is one sequence"):
        find_recordings(tmp_path / "thun_00_a", "train", "left")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("100\n200\nabc\n", "line 3 is 'abc'"),
        ("100\n200.5\n", "line 2"),
        ("100\n\n300\n", "line 2 is ''"),
        ("100\n300\n200\n", "line 3 has 200, the one before it 300"),
        ("100\n100\n", "line 2 has 100"),
        ("-5\n", "line 1"),
    ],
)
def test_damaged_timestamps(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "timestamps.txt"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_timestamps(path)


def test_timestamps_with_other_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "timestamps.txt"
    path.write_bytes(b"51648500652\r\n51648550651\r\n\r\n")
    assert read_timestamps(path).tolist() == [51648500652, 51648550651]
    assert read_timestamps(path).dtype == np.int64


def test_images_are_held_against_the_times(tmp_path: Path) -> None:
    make_sequence(tmp_path, "thun_00_a", images=5)
    (recording,) = find_recordings(tmp_path, "train", "left").recordings
    assert recording.missing_images(5) == frozenset()
    recording.image_path(2).unlink()
    recording.image_path(4).unlink()
    (recording.image_folder / "notes.txt").touch()
    assert recording.missing_images(5) == {2, 4}
    with pytest.raises(InputError, match="3 images up to number 3, and 2 times"):
        recording.missing_images(2)
    shutil.rmtree(recording.image_folder)
    with pytest.raises(InputError, match="holds no images"):
        recording.missing_images(5)


def test_missing_timestamps_are_named(tmp_path: Path) -> None:
    recording = Recording("a", tmp_path / "e", tmp_path / "timestamps.txt", tmp_path / "i")
    with pytest.raises(InputError, match=r"timestamps\.txt: no such file"):
        recording.times_us()
