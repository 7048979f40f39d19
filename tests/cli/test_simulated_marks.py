"""Whatever is computed from simulated events says so, on the terminal and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
