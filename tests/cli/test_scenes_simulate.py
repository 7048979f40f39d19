"""`crossdraft scenes simulate` from the outside."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from crossdraft.scenes import simulate_video
from crossdraft.scenes.video import write_mp4
from tests.cli.run import crossdraft_here
from tests.scenes.videos import FRAMES


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "street.mp4"
    write_mp4(path, FRAMES[:8])
    return path


def test_a_dataset_that_says_what_it_is(video: Path, tmp_path: Path) -> None:
    done = crossdraft_here("scenes", "simulate", video, "--out", "data", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "data: scene street/000000, 96x64 pixels" in done.stdout
    assert "no sensor saw them" in done.stdout and "50 ms apart" in done.stdout
    looked = crossdraft_here("scenes", "info", "data", "--no-sheet", cwd=tmp_path)
    assert looked.returncode == 0
    assert "simulated     events of 1 scene" in looked.stdout
    again = crossdraft_here("scenes", "simulate", video, "--out", "data", cwd=tmp_path)
    assert again.returncode == 2 and "this folder holds something" in again.stderr


def test_json_and_every_option(video: Path, tmp_path: Path) -> None:
    done = crossdraft_here(
        "scenes", "simulate", video, "--out", "data", "--threshold-on", "0.2", "--threshold-off",
        "0.25", "--threshold-sigma", "0.02", "--refractory", "100us", "--leak-hz", "0.1",
        "--seed", "3", "--size", "48x32", "--duration", "300ms", "--drive", "north", "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert result["simulated"] is True and "no sensor saw them" in result["warnings"][0]
    assert (result["scene"], result["width"], result["height"]) == ("north/000000", 48, 32)
    assert (result["duration_us"], result["frames"]) == (300_000, 7)
    simulator = json.loads((tmp_path / "data" / "scenes.json").read_text())["made_with"][
        "simulator"
    ]
    assert simulator == {
        "threshold_on": 0.2, "threshold_off": 0.25, "threshold_sigma": 0.02,
        "refractory_us": 100, "leak_hz": 0.1, "eps": 0.01, "seed": 3,
    }  # fmt: skip
    assert result["config"].items() >= simulator.items()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--threshold-on", "0"], "--threshold-on"),
        (["--threshold-sigma", "0.5"], "--threshold-sigma"),
        (["--refractory", "100"], "--refractory"),
        (["--leak-hz", "-1"], "--leak-hz"),
        (["--seed", "-1"], "--seed"),
        (["--size", "big"], "--size"),
        (["--size", "31x32"], "--size"),
        (["--duration", "0s"], "--duration"),
        (["--duration", "49ms"], "--duration 50ms"),
        (["--drive", "a/b"], "--drive"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_calls_leave_nothing(
    video: Path, tmp_path: Path, options: list[str], named: str
) -> None:
    done = crossdraft_here("scenes", "simulate", video, "--out", "data", *options, cwd=tmp_path)
    assert done.returncode == 2 and named in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["street.mp4"]


def test_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    for name in ("absent.mp4", "text.mp4"):
        done = crossdraft_here("scenes", "simulate", name, "--out", "data", cwd=tmp_path)
        assert done.returncode == 2 and name in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_polite_end_leaves_nothing(
    video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(simulate_video, "write_manifest", ended)
    done = crossdraft_here("scenes", "simulate", video, "--out", "data", cwd=tmp_path)
    assert done.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["street.mp4"]
