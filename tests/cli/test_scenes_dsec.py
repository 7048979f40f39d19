"""`crossdraft scenes dsec` from the outside, killed at any moment too."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossdraft.base.errors import InputError
from crossdraft.cli.app import app
from crossdraft.scenes.cut import run_cut
from crossdraft.scenes.cut_plan import plan_cut
from crossdraft.scenes.cut_settings import CutSettings
from crossdraft.scenes.dataset import SceneDataset
from tests.cli.run import crossdraft
from tests.scenes.dsec_folder import make_sequence, tree

_PROGRAM = Path(sys.executable).with_name("crossdraft")
_CALL = ["scenes", "dsec", "DSEC", "--out", "out", "--split", "train", "--durations", "250ms,500ms"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two sequences of DSEC in it."""
    train = tmp_path / "DSEC" / "train"
    make_sequence(train, "thun_00_a", images=45, sensor=(160, 120))
    make_sequence(train, "interlaken_00_c", images=31, seed=1, sensor=(160, 120))
    return tmp_path


def _running(folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(_PROGRAM), *_CALL, *more],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _alive(process: int) -> bool:
    """Whether a process runs; one that has ended and is not yet collected does not."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"
    return False


def _wait_for_records(process: subprocess.Popen[str], folder: Path, count: int) -> None:
    until = time.monotonic() + 60
    while len(list((folder / "out").glob("*/.records/*/*.json"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.001)


def test_killed_at_any_moment_it_ends_with_the_same_files(folder: Path) -> None:
    run_cut(plan_cut(folder / "DSEC", folder / "whole", CutSettings("train"), [250_000, 500_000]))
    rng = random.Random(4)
    for records, workers in ((0, "2"), (3, "1"), (12, "2")):
        with _running(folder, "--workers", workers) as process:
            _wait_for_records(process, folder, records)
            time.sleep(rng.uniform(0, 0.03))
            children = _children(process.pid)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, "it was in the middle of its work"
        until = time.monotonic() + 10
        while any(_alive(child) for child in children):
            assert time.monotonic() < until, "workers end with the process that started them"
            time.sleep(0.01)
    assert tree(folder / "out") != tree(folder / "whole")
    done = crossdraft(*_CALL, "--workers", "2", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["kept"] >= 12
    assert result["cut"] >= 1
    assert tree(folder / "out") == tree(folder / "whole")


@pytest.mark.parametrize(
    ("way", "workers"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1")], ids=["ctrl-c", "sigterm"]
)
def test_an_interrupt_says_how_to_go_on(folder: Path, workers: str, way: signal.Signals) -> None:
    with _running(folder, "--workers", workers) as process:
        _wait_for_records(process, folder, 3)
        if way == signal.SIGINT:
            os.killpg(process.pid, way)  # a terminal sends it to the workers too
        else:
            process.send_signal(way)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    call = " ".join(_CALL)
    assert f"go on with: crossdraft {call} --workers {workers}" in errors
    assert "Traceback" not in errors
    assert not list((folder / "out").rglob(".0*")), "nothing is left half-written"
    assert not list((folder / "out").rglob("scenes.json"))


def test_a_dry_run_counts_and_writes_nothing(folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    done = crossdraft(*_CALL, "--dry-run", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["500ms", "thun_00_a", "7", "0"] in [line[:4] for line in lines]
    assert ["250ms", "interlaken_00_c", "9", "0"] in [line[:4] for line in lines]
    assert "33 of 33 clips to cut, about" in done.stdout
    short = crossdraft(*_CALL, "--dry-run", "--durations", "1s,50s", cwd=folder)
    rows = [line.split() for line in short.stdout.splitlines()]
    assert ["50s", "thun_00_a", "0", "0"] in [line[:4] for line in rows], "too short is said"
    assert "absent, 39 of the official list: interlaken_00_{d,e,f,g}, " in done.stdout
    done = crossdraft(*_CALL, "--dry-run", "--json", "--max-clips", "2", cwd=folder)
    result = json.loads(done.stdout)
    assert (result["clips"], result["to_cut"], len(result["absent"])) == (8, 8, 39)
    assert (result["command"], result["config"]["split"]) == ("scenes dsec", "train")
    assert result["sequences"][0]["sequence"] == "interlaken_00_c"
    assert result["bytes"] == sum(row["bytes"] for row in result["sequences"])
    assert sorted(folder.rglob("*")) == before


def test_both_layouts_and_what_is_printed(folder: Path) -> None:
    images = folder / "DSEC" / "train" / "thun_00_a" / "images" / "left" / "rectified"
    (images / "000040.png").unlink()
    (images / "000003.png").write_bytes(b"no image")
    call = ("--max-clips", "99", "--durations", "1s", "--workers", "1")
    done = crossdraft(*_CALL, *call, "--num-frames", "3", "--video-size", "48x32", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "out/train_1s: 3 clips" in done.stdout
    assert "failed train_1s/thun_00_a/000000: " in done.stdout
    assert "000003.png" in done.stdout
    assert "1 clips failed; the same call tries them again" in done.stdout
    assert "clips to cut, about" in done.stderr
    assert "Traceback" not in done.stderr
    scene = SceneDataset.open(folder / "out" / "train_1s")[0]
    assert len(scene.drawn_frames()) == 3
    done = crossdraft(
        *_CALL, *call, "--layout", "seed", "--sequences", "interlaken_00_c", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    dataset = SceneDataset.open(folder / "out" / "my_egpt_dsec_train" / "my_egpt_dsec_train_1s")
    assert (dataset.layout, len(dataset)) == ("seed", 1)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--sequences", "thun_00_b"], "did you mean thun_00_a?"),
        (["--sequences", "thun_01_a"], "is a sequence of the test split"),
        (["--split", "test"], "no sequence of the test split"),
        (["--sequences", " , "], "names of sequences, separated by commas"),
        (["--durations", "500"], "not a duration: '500'"),
        (["--durations", "520ms"], "multiples of 50ms"),
        (["--durations", ","], "no duration"),
        (["--overlap", "1"], "0 or more, below 1"),
        (["--video-size", "48"], "width and height"),
        (["--video-size", "47x32"], "even numbers"),
        (["--preset", "pretty"], "one of default, official"),
        (["--num-frames", "0"], "a whole number from 1"),
        (["--workers", "0"], "one or more"),
        (["--max-clips", "0"], "one or more"),
        (["--no-video", "--no-events", "--no-frames"], "nothing to write"),
    ],
)
def test_bad_calls_write_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: list[str], words: str
) -> None:
    (tmp_path / "DSEC" / "train" / "thun_00_a" / "events").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(words)):
        CliRunner().invoke(app, [*_CALL, *more], catch_exceptions=False)
    assert not (tmp_path / "out").exists()


def test_a_damaged_sequence_exits_2(folder: Path) -> None:
    events = folder / "DSEC" / "train" / "thun_00_a" / "events" / "left" / "events.h5"
    events.write_bytes(events.read_bytes()[:5000])
    done = crossdraft(*_CALL, cwd=folder)
    assert done.returncode == 2, done.stdout
    assert "error: DSEC/train/thun_00_a/events/left/events.h5: not a readable HDF5" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()


def test_the_kill_really_meets_workers() -> None:
    """`_children` sees children at all; where it does not, the test above would prove nothing."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as child:
        try:
            assert child.pid in _children(os.getpid())
        finally:
            child.kill()
    assert not _alive(child.pid)
