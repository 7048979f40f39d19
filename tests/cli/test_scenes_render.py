"""`crossdraft scenes render` from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.writers import write_npy
from tests.cli.run import crossdraft
from tests.scenes.event_files import made_stream


def make_dataset(folder: Path, clips: int, events: int = 500) -> Path:
    """Clips of one drive in the seed study's folders."""
    place = folder / "event_npy" / "drive"
    place.mkdir(parents=True)
    for clip in range(clips):
        write_npy(made_stream(events, seed=clip), place / f"{clip:06d}.npy")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_a_dataset_gets_its_frames(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", 3)
    done = crossdraft("scenes", "render", data, "--num-frames", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 clips drawn (6 frames)" in done.stdout
    assert len(SceneDataset.open(data)[0].frame_sets["event_image"]) == 2
    again = crossdraft(
        "scenes", "render", data, "--num-frames", "2", "--workers", "1", "--json", cwd=tmp_path
    )
    result = json.loads(again.stdout)
    assert (result["drawn"], result["skipped"], result["failed"]) == (0, 3, [])
    assert result["config"]["parts"] == 2
    other = crossdraft(
        "scenes", "render", data, "--preset", "training", "--window", "last:10ms", cwd=tmp_path
    )
    assert other.returncode == 2
    assert "were drawn with" in other.stderr and "--name" in other.stderr
    named = crossdraft(
        "scenes", "render", data, "--preset", "training", "--overlap", "negative",
        "--name", "event_image_new", "--workers", "1", "--json", cwd=tmp_path,
    )  # fmt: skip
    assert json.loads(named.stdout)["config"]["overlap"] == "negative"
    assert sorted(SceneDataset.open(data)[0].frame_sets) == ["event_image", "event_image_new"]


def test_failures_end_with_one_and_the_rest_is_drawn(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", 3)
    (data / "event_npy" / "drive" / "000001.npy").write_bytes(b"nothing")
    done = crossdraft("scenes", "render", data, cwd=tmp_path)
    assert done.returncode == 1
    assert "2 clips drawn (10 frames), 1 failed" in done.stdout
    assert "failed: drive/000001" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_file_goes_where_it_is_told(tmp_path: Path) -> None:
    write_npy(made_stream(100, sensor=(1280, 720)), tmp_path / "big.npy")
    assert crossdraft("scenes", "render", "big.npy", cwd=tmp_path).returncode == 2
    small = crossdraft("scenes", "render", "big.npy", "--out", "frames", cwd=tmp_path)
    assert small.returncode == 2
    assert "--sensor" in small.stderr
    assert not (tmp_path / "frames").exists()
    done = crossdraft(
        "scenes", "render", "big.npy", "--out", "more/frames", "--sensor", "1280x720",
        "--keep", "first", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert [p.name for p in sorted((tmp_path / "more" / "frames").glob("*.png"))] == ["big_0.png"]


@pytest.mark.parametrize(
    "options",
    [
        ("--preset", "best"),
        ("--overlap", "first"),
        ("--window", "last:50"),
        ("--num-frames", "0"),
        ("--num-frames", "3", "--hz", "3"),
        ("--sensor", "640"),
        ("--name", "frames"),
        ("--name", "../event_image"),
        ("--workers", "0"),
    ],
    ids=" ".join,
)
def test_a_wrong_call_writes_nothing(options: tuple[str, ...], tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", 1)
    before = contents(tmp_path)
    done = crossdraft("scenes", "render", data, *options, cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert contents(tmp_path) == before


def test_nothing_to_draw_is_said(tmp_path: Path) -> None:
    (tmp_path / "video.mp4").touch()
    done = crossdraft("scenes", "render", ".", "--out", "frames", cwd=tmp_path)
    assert done.returncode == 2
    assert "no scene has events" in done.stderr
    assert not (tmp_path / "frames").exists()


def test_a_killed_run_ends_with_the_same_files(tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "data", 60, events=20_000)
    crossdraft("scenes", "render", data, "--name", "event_image_whole", cwd=tmp_path)
    program = Path(sys.executable).with_name("crossdraft")
    folder = data / "event_image"
    with subprocess.Popen([str(program), "scenes", "render", str(data), "--workers", "2"]) as run:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("drive/0*.png"))) < 20 and time.monotonic() < deadline:
            time.sleep(0.005)
        run.kill()
    time.sleep(0.5)  # workers end with their parent
    assert 20 <= len(list(folder.glob("drive/0*.png"))) < 300, "killed on the way"
    done = crossdraft("scenes", "render", data, "--json", cwd=tmp_path)
    result = json.loads(done.stdout)
    assert result["drawn"] + result["skipped"] == 60
    assert result["skipped"] >= 3
    assert contents(folder) == contents(data / "event_image_whole")
