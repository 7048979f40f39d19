"""`crossdraft scenes synth` from the outside, killed too."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base import device
from crossdraft.scenes import synth_clip, synth_estimate
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.scene import SIMULATED
from crossdraft.scenes.synth_settings import SynthSettings
from crossdraft.scenes.video_write import write_mp4
from tests.cli.run import crossdraft_here
from tests.cli.test_scenes_dsec import _alive, _children
from tests.scenes.dsec_folder import tree
from tests.scenes.synth_world import draw_waves

_PROGRAM = Path(sys.executable).with_name("crossdraft")
_CALL = ["scenes", "synth", "--out", "world", "--size", "32", "--events-fps", "40"]


def _synth(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return crossdraft_here(*_CALL, "--drives", "2", "--clips-per-drive", "2", *more, cwd=folder)


@pytest.fixture
def waves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips that are quickly drawn, where they are made in this process."""
    draw_waves(monkeypatch)


@pytest.mark.usefixtures("waves")
def test_both_splits_in_one_folder_and_what_is_printed(tmp_path: Path) -> None:
    done = _synth(tmp_path, "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert re.search(r"4 of 4 clips to make, about .*kB and \d+ s \(.* are free\)", done.stderr)
    assert "world: 4 clips\n4 clips made in" in done.stdout
    assert "no sensor saw them" in done.stdout
    done = _synth(tmp_path, "--workers", "1", "--split", "test", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["made"], result["kept"], result["failed"]) == (4, 0, [])
    assert result["clips"] == {"world": 8}
    assert result["config"]["simulator"]["threshold_on"] == 0.3
    assert result["warnings"] == [SIMULATED]
    dataset = SceneDataset.open(tmp_path / "world")
    assert dataset.drives == ("test-0000", "test-0001", "train-0000", "train-0001")


@pytest.mark.usefixtures("waves")
def test_the_dataset_can_be_looked_at(tmp_path: Path) -> None:
    assert _synth(tmp_path, "--workers", "1").returncode == 0
    done = crossdraft_here("scenes", "info", "world", "--sheet", "sheet.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "simulated     events of 4 scenes were computed, no sensor saw them" in done.stdout
    assert "splits        train 4" in done.stdout
    assert "nothing is missing or damaged" in done.stdout
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(tmp_path: Path) -> None:
    done = _synth(tmp_path, "--dry-run", "--drives", "20")
    assert done.returncode == 0, done.stderr
    for words in ("road      ", "winding road ", "time      day ", "40 of 40 clips to make"):
        assert words in done.stdout
    result = json.loads(_synth(tmp_path, "--dry-run", "--json").stdout)
    assert (result["clips"], result["to_make"], result["command"]) == (4, 4, "scenes synth")
    assert sum(result["shown"]["road"].values()) == 4
    assert result["bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_the_options_begin_with_the_defaults_of_the_settings(tmp_path: Path) -> None:
    done = crossdraft_here("scenes", "synth", "--out", "world", "--dry-run", "--json", cwd=tmp_path)
    assert SynthSettings().to_json().items() <= json.loads(done.stdout)["config"].items()


@pytest.mark.usefixtures("waves")
def test_an_interrupt_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, *arguments: Any, **options: Any) -> None:
        if path.parts[-2:] == ("train-0001", "000000.mp4"):
            raise KeyboardInterrupt
        write_mp4(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(synth_clip, "write_mp4", interrupted)
        done = _synth(tmp_path, "--workers", "1")
    assert done.returncode == 130
    assert "interrupted; what is done is kept, go on with: crossdraft" in done.stderr
    assert not (tmp_path / "world" / "scenes.json").exists()
    done = _synth(tmp_path, "--workers", "1")
    assert "2 clips made in" in done.stdout
    assert done.stdout.rstrip().split("\n")[1].endswith("2 were there")


def test_killed_it_ends_with_the_same_files(tmp_path: Path) -> None:
    more = ["--clips-per-drive", "6", "--workers", "2"]
    with subprocess.Popen(
        [str(_PROGRAM), *_CALL, "--drives", "2", *more], cwd=tmp_path, start_new_session=True
    ) as process:
        until = time.monotonic() + 60
        while len(list((tmp_path / "world").glob(".records/*/[!.]*.json"))) < 3:
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.001)
        workers = _children(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL, "it was in the middle of its work"
    assert not (tmp_path / "world" / "scenes.json").exists()
    while any(_alive(worker) for worker in workers):
        assert time.monotonic() < until, "workers end with the process that started them"
        time.sleep(0.01)
    done = _synth(tmp_path, "--clips-per-drive", "6", "--workers", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kept"] >= 3
    assert result["made"] >= 1
    here = crossdraft_here(
        *_CALL, "--out", "whole", "--drives", "2", "--clips-per-drive", "6", "--workers", "1",
        cwd=tmp_path,
    )  # fmt: skip
    assert here.returncode == 0, here.stderr
    assert tree(tmp_path / "world") == tree(tmp_path / "whole")


@pytest.mark.usefixtures("waves")
def test_clips_that_fail_are_listed(tmp_path: Path) -> None:
    done = _synth(tmp_path, "--workers", "1", "--threshold", "9")
    assert done.returncode == 1, done.stderr
    assert "failed world/train-0000/000000: train-0000/000000: no events" in done.stdout
    assert "4 clips failed; the same call tries them again" in done.stdout


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--workers", "0"], "--workers: 0"),
        (["--size", "33"], "an even number from 32 to 256"),
        (["--events-fps", "30"], "a multiple of 20"),
        (["--drives", "0"], "from 1 to 10,000"),
        (["--drives", "2000", "--clips-per-drive", "501"], "expected: 1,000,000 clips in all"),
        (["--threshold", "0"], "--threshold: 0"),
        (["--threshold", "11"], "--threshold: 11"),
        (["--threshold", "nan"], "--threshold: nan"),
        (["--seed", "-1"], "0 or more"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_calls_write_nothing(tmp_path: Path, more: list[str], words: str) -> None:
    done = _synth(tmp_path, *more)
    assert done.returncode == 2
    assert words in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["made", "planned"])
def test_a_place_that_is_no_folder_is_named(tmp_path: Path, more: list[str]) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    for out, message in (
        ("file", "file: this is no folder"),
        ("link", "link: this link leads to no folder"),
        ("file/new/world", "file: this is no folder"),
    ):
        done = _synth(tmp_path, "--out", out, *more)
        assert done.returncode == 2
        assert f"error: {message}\n  expected: a folder, or a name that is free\n" in done.stderr
        assert "try: name another folder with --out" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


@pytest.mark.parametrize(
    ("workers", "free_cores", "busy"), [(8, 2, 2), (2, 8, 2), (8, 8, 4)], ids=repr
)
def test_the_time_is_that_of_as_many_as_can_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, free_cores: int, busy: int
) -> None:
    monkeypatch.setattr(device, "usable_cores", lambda: free_cores)
    monkeypatch.setattr(synth_estimate, "clip_s", lambda _: 10.0)
    done = _synth(tmp_path, "--dry-run", "--workers", str(workers))
    assert f" and {40 // busy} s (" in done.stdout


@pytest.mark.usefixtures("waves")
def test_other_settings_in_the_same_folder_exit_2(tmp_path: Path) -> None:
    assert _synth(tmp_path, "--workers", "1").returncode == 0
    before = tree(tmp_path)
    done = _synth(tmp_path, "--seed", "1")
    assert done.returncode == 2
    assert "the clips here were made with seed 0 (now 1)" in done.stderr
    assert tree(tmp_path) == before
