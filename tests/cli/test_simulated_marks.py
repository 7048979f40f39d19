"""Whatever is computed from simulated events says so, on the terminal and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.find_scene import find_scene
from crossdraft.scenes.preview import preview
from crossdraft.scenes.simulate import SimulatorSettings
from crossdraft.scenes.simulate_source import video_source
from crossdraft.scenes.simulate_video import simulate_video
from crossdraft.scenes.video import write_mp4
from tests.bench.tiny_pair import write_pair
from tests.cli.run import crossdraft_here
from tests.scenes.videos import FRAMES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated dataset `data`."""
    folder = tmp_path_factory.mktemp("made")
    write_mp4(folder / "street.mp4", FRAMES[:8])
    simulate_video(video_source(folder / "street.mp4"), folder / "data", SimulatorSettings())
    return folder


FILES = ("events/street/000000.h5", "video/street/000000.mp4")


@pytest.mark.parametrize(
    "text", ["data", "data/street/0", f"data/{FILES[0]}", f"data/{FILES[0]},data/{FILES[1]}"]
)
def test_a_scene_stays_simulated_however_it_is_named(
    folder: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    assert find_scene(text).simulated
    assert not find_scene("street.mp4").simulated


def test_links_and_a_folder_of_files_keep_the_mark_and_copies_do_not(
    folder: Path, tmp_path: Path
) -> None:
    events = folder / "data" / FILES[0]
    assert [scene.simulated for scene in SceneDataset.open(events.parent)] == [True]
    for name in ("walk.h5", "walk_000003.h5"):
        (tmp_path / name).symlink_to(events)
        assert find_scene(str(tmp_path / name)).simulated
    (tmp_path / "run.h5").write_bytes(events.read_bytes())
    marks = {scene.events_file: scene.simulated for scene in SceneDataset.open(tmp_path)}
    assert marks == {"walk.h5": True, "walk_000003.h5": True, "run.h5": False}
    (tmp_path / "drive").symlink_to(events.parent)
    assert SceneDataset.open(tmp_path / "drive")[0].simulated


@pytest.mark.parametrize(
    "manifest", ["{", "", "[]", '{"format": "theirs", "version": 7}', None], ids=repr
)
def test_a_manifest_of_somebody_else_knows_nothing(
    folder: Path, tmp_path: Path, manifest: str | None
) -> None:
    home = tmp_path / "events" / "street"
    home.mkdir(parents=True)
    (home / "000000.h5").write_bytes((folder / "data" / FILES[0]).read_bytes())
    if manifest is None:
        (tmp_path / "scenes.json").symlink_to("scenes.json")
    else:
        (tmp_path / "scenes.json").write_text(manifest)
    for path in (home, home / "000000.h5"):
        assert [scene.simulated for scene in SceneDataset.open(path)] == [False]


def test_a_timeline(folder: Path) -> None:
    write_pair(folder)
    words = [
        "generate",
        "--pair",
        "tiny.yaml",
        "--scene",
        "data",
        "-q",
        "Why?",
        "--drafter",
        "none",
    ]
    more = ["--nodes", "0", "--max-new-tokens", "2", "--timeline", "trace.json"]
    assert crossdraft_here(*words, *more, cwd=folder).returncode == 0
    assert json.loads((folder / "trace.json").read_text())["otherData"]["simulated"] is True


def test_the_contact_sheet(folder: Path) -> None:
    assert "SIMULATED events" in preview(find_scene(str(folder / "data"))).facts


@pytest.mark.parametrize(
    "call",
    [
        ["scenes", "info", "data", "--no-sheet"],
        ["scenes", "info", f"data/{FILES[0]}", "--no-sheet"],
        ["scenes", "render", "data", "--workers", "1"],
        ["verify", "--pair", "PAIR", "--scene", "data", "--questions", "1", "--gamma", "1",
         "--max-new-tokens", "3"],
        ["generate", "--pair", "PAIR", "--scene", "data", "-q", "What is ahead?", "--drafter",
         "none", "--nodes", "0", "--max-new-tokens", "3"],
        ["doctor", "--pair", "PAIR", "--scene", "data", "--only", "vocabulary"],
    ],
    ids=lambda call: " ".join(call[:3]),
)  # fmt: skip
def test_every_result_says_it(folder: Path, call: list[str]) -> None:
    pair = folder / "tiny.yaml"
    if "PAIR" in call and not pair.exists():
        write_pair(folder)
    words = [str(pair) if word == "PAIR" else word for word in call]
    said = crossdraft_here(*words, cwd=folder)
    done = crossdraft_here(*words, "--json", cwd=folder)
    assert (said.returncode, done.returncode) == (0, 0), said.stderr + done.stderr
    assert "no sensor saw them" in " ".join(json.loads(done.stdout)["warnings"])
    assert "simulated" in (said.stdout + said.stderr).lower()
