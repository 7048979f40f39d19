"""`crossdraft scenes info`: what it prints, writes and returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.run import crossdraft, crossdraft_here
from tests.scenes.scene_folders import make_scenes


def test_a_healthy_dataset(tmp_path: Path) -> None:
    make_scenes(tmp_path / "drives")
    done = crossdraft("scenes", "info", "drives", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "3 of 2 drives: first 2, second 1",
        "test 1, train 2",
        "0.6833 s (0.05 to 1)",
        "3,000 in all",
        "96x64",
        "event_image: 15 (5 in 3 scenes)",
        "nothing is missing or damaged",
        "contact sheet: drives_contact_sheet.png",
    ):
        assert text in done.stdout
    with Image.open(tmp_path / "drives_contact_sheet.png") as sheet:
        assert sheet.width > 1_000


def test_json_and_a_missing_part(tmp_path: Path) -> None:
    folder = make_scenes(tmp_path / "drives").folder
    (folder / "video/first/000000.mp4").unlink()
    done = crossdraft(
        "scenes", "info", "drives", "--json", "--sheet", "look.png", "--scenes", "1", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (1, "")
    result = json.loads(done.stdout)
    assert result["command"] == "scenes info"
    assert result["missing"] == [{"scene": "first/000000", "part": "video video/first/000000.mp4"}]
    assert result["sheet"] == "look.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drives", "look.png"]


def test_one_drive(tmp_path: Path) -> None:
    make_scenes(tmp_path / "drives")
    done = crossdraft_here(
        "scenes", "info", "drives", "--drive", "first", "--no-sheet", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "2 of 1 drive: first 2" in done.stdout
    done = crossdraft_here("scenes", "info", "drives", "--drive", "third", cwd=tmp_path)
    assert done.returncode == 2
    assert "no drive 'third'" in done.stderr


def test_damage_is_listed(tmp_path: Path) -> None:
    folder = make_scenes(tmp_path / "drives").folder
    video = folder / "video/first/000000.mp4"
    video.write_bytes(video.read_bytes()[:700])
    done = crossdraft("scenes", "info", "drives", "--no-sheet", "--all", cwd=tmp_path)
    assert done.returncode == 1
    assert "damaged       first/000000: video" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["drives"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no such folder or file"),
        (["."], "holds no scene"),
        (["drives", "--sheet", "a.png", "--no-sheet"], "both --sheet and --no-sheet"),
        (["drives", "--sheet", "no/a.png"], "in a folder that exists"),
        (["drives", "--sheet", "a.txt"], "ends in .png"),
        (["drives", "--sheet", "drives/folder.png"], "cannot draw a contact sheet here"),
        (["drives", "--sensor", "big"], "width and height in pixels"),
    ],
    ids=["missing", "empty", "both", "folder", "name", "a folder", "sensor"],
)
def test_bad_calls(tmp_path: Path, arguments: list[str], message: str) -> None:
    make_scenes(tmp_path / "drives", events=20)
    (tmp_path / "drives" / "folder.png").mkdir()
    done = crossdraft("scenes", "info", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["drives"]
