"""`crossdraft extract` from the outside: killed, shared out, on a full disk."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from crossdraft.pairs.extract.work import Work
from crossdraft.pairs.store import PairStore
from crossdraft.scenes.scene import SIMULATED
from tests.cli.run import crossdraft_here
from tests.pairs.extract.ground import Ground, content, made_up, prepare

_PROGRAM = Path(sys.executable).with_name("crossdraft")
_CALL = (
    "extract", "--pair", "tiny.yaml", "--scenes", "world", "--max-questions", "2",
    "--batch-clips", "1",
    "--max-new-tokens", "4", "--chunk-size", "4", "--save-interval", "2",
)  # fmt: skip
_ONE = ("--workers", "1")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepare(tmp_path_factory.mktemp("extract"))


@pytest.fixture(scope="module")
def wanted(ground: Ground) -> Any:
    """What an undisturbed call leaves."""
    done = _here(ground, "--out", "whole", *_ONE)
    assert done.returncode == 0, done.stderr
    return content(ground.folder / "whole")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Work, "rows", made_up)
    monkeypatch.setattr(Work, "prepare", lambda *_: None)


def _here(ground: Ground, *more: str | Path) -> subprocess.CompletedProcess[str]:
    return crossdraft_here(*_CALL, *more, cwd=ground.folder)


def _started(
    ground: Ground, *more: str | Path, environment: Mapping[str, str] = {}
) -> subprocess.Popen[str]:
    """The program in a process of its own, one thread as here."""
    return subprocess.Popen(
        [str(_PROGRAM), *_CALL, *map(str, more)], cwd=ground.folder, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _wait_for(process: subprocess.Popen[str], pattern: str, folder: Path) -> None:
    until = time.monotonic() + 120
    while not list(folder.glob(pattern)):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.002)


@pytest.mark.usefixtures("quick")
def test_what_is_said(ground: Ground, tmp_path: Path) -> None:
    done = _here(ground, "--out", tmp_path / "store", *_ONE)
    assert done.returncode == 0, done.stderr
    assert re.search(
        r"6 clips x 2 questions = 12 pairs in 3 shards; at most .*kB \(.* are free\)", done.stderr
    )
    assert re.search(r"s a clip: about \d+ s for 5; the store about .*kB", done.stderr)
    assert re.search(r"shard 2 of 3 is done: 4 pairs; .* pairs/s, \d+ s left", done.stderr)
    assert re.search(
        r"store: 12 pairs in 3 shards, \d+ target and \d+ drafter tokens, .*kB; .* pairs/s",
        done.stdout,
    )
    assert f"warning: {SIMULATED}" in done.stdout
    again = json.loads(_here(ground, "--out", tmp_path / "store", *_ONE, "--json").stdout)
    assert (again["command"], again["pairs"], again["made"]) == ("extract", 12, 0)
    assert again["finished"] is True and again["failed"] == []
    assert again["warnings"] == [SIMULATED]
    assert again["config"]["questions"] == list(
        PairStore.open(tmp_path / "store").manifest.questions
    )
    status = _here(ground, "--out", tmp_path / "store", "--status").stdout
    assert "finished; of 3 shards 3 done, 0 being made, 0 waiting\n12 of 12 pairs\n" in status
    alone = crossdraft_here("extract", "--out", tmp_path / "store", "--status", "--json",
                            cwd=tmp_path)  # fmt: skip
    assert json.loads(alone.stdout)["pairs"] == 12


@pytest.mark.usefixtures("quick")
def test_clips_that_fail_are_listed_and_the_exit_code_is_1(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(work: Work, *arguments: Any) -> Any:
        if 1 in arguments[1]:
            raise ValueError("states that are not finite")
        return made_up(work, *arguments)

    monkeypatch.setattr(Work, "rows", failing)
    done = _here(ground, "--out", tmp_path, *_ONE, "--retries", "1")
    assert done.returncode == 1
    assert (
        "failed train-0000/000001: ValueError: states that are not finite (tried 2" in done.stdout
    )
    assert "1 clip failed; the same call tries again" in done.stdout
    assert PairStore.open(tmp_path).manifest.missing


@pytest.mark.usefixtures("quick")
def test_an_interrupt_and_a_polite_end_say_how_to_go_on(
    ground: Ground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(number: int) -> Any:
        def rows(work: Work, *arguments: Any) -> Any:
            if arguments[0] == "both" and 1 in arguments[1]:
                os.kill(os.getpid(), number)
            return made_up(work, *arguments)

        return rows

    monkeypatch.setattr(Work, "rows", broken(signal.SIGTERM))
    done = _here(ground, "--out", tmp_path / "store", *_ONE)
    assert done.returncode == 130
    assert "interrupted; what is done is kept, go on with: crossdraft" in done.stderr
    status = _here(ground, "--out", tmp_path / "store", "--status").stdout
    assert "nobody is at work; of 3 shards 1 done, 0 being made, 2 waiting" in status
    assert "4 of 12 pairs" in status, "the open shard was finished"
    monkeypatch.setattr(Work, "rows", broken(signal.SIGINT))
    done = _here(ground, "--out", tmp_path / "other", *_ONE)
    assert done.returncode == 130
    status = _here(ground, "--out", tmp_path / "other", "--status").stdout
    assert "2 of 12 pairs, 2 of them in open shards" in status


def test_a_dry_run_measures_a_clip_and_writes_nothing(ground: Ground, tmp_path: Path) -> None:
    done = _here(ground, "--out", tmp_path / "store", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["clips"], result["pairs"], result["shards"]) == (6, 12, 3)
    assert 0 < result["bytes"] <= result["most_bytes"] and result["seconds"] > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--states", "layers:7"], "layer 7 of the target, which has 2"),
        (["--split", "test"], "no scene of the split"),
        (["--quant", "fp16", "--set", "target.model=nowhere"], "nowhere"),
        (["--questions", "tiny.yaml"], "holds no list of questions"),
        (["--scenes", "absent"], "absent"),
        (["--out", "tiny.yaml"], "this is no folder"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_wrong_calls_write_nothing(ground: Ground, more: list[str], said: str) -> None:
    before = sorted(ground.folder.iterdir())
    done = _here(ground, "--out", "refused", *more)
    assert done.returncode == 2 and said in done.stderr
    assert sorted(ground.folder.iterdir()) == before


def test_a_dataset_is_needed_but_for_the_status(ground: Ground, tmp_path: Path) -> None:
    done = crossdraft_here("extract", "--out", tmp_path / "store", cwd=ground.folder)
    assert done.returncode == 2 and "--scenes: no dataset" in done.stderr
    done = crossdraft_here("extract", "--out", tmp_path, "--status", cwd=ground.folder)
    assert done.returncode == 2 and "no extraction has begun here" in done.stderr


def test_killed_twice_it_ends_with_the_same_bytes(
    ground: Ground, wanted: Any, tmp_path: Path
) -> None:
    chance = random.Random(0)
    for pattern in ("open/*-both-*.safetensors", "shards/*.safetensors"):
        process = _started(ground, "--out", tmp_path, *_ONE)
        _wait_for(process, pattern, tmp_path)
        time.sleep(chance.random() * 0.2)
        process.kill()
        process.communicate(timeout=60)
        assert not (tmp_path / "store.json").exists(), "it was in the middle of its work"
    done = _here(ground, "--out", tmp_path, *_ONE)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path) == wanted


def test_two_ranks_on_one_folder(ground: Ground, wanted: Any, tmp_path: Path) -> None:
    both = [
        _started(ground, "--out", tmp_path, environment={"RANK": str(rank), "WORLD_SIZE": "2"})
        for rank in range(2)
    ]
    for process in both:
        _, said = process.communicate(timeout=240)
        assert process.returncode == 0, said
    assert content(tmp_path) == wanted
    logs = [path.read_text() for path in (tmp_path / "log").iterdir()]
    shards = [line for log in logs for line in log.splitlines() if '"shard", ' in line]
    assert len(shards) == 3, "no shard is made twice"


def test_a_team_one_of_whom_is_killed(ground: Ground, wanted: Any, tmp_path: Path) -> None:
    process = _started(ground, "--out", tmp_path, "--workers", "2")
    _wait_for(process, "open/*-both-*.safetensors", tmp_path)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    logs = {path.stem.rpartition("-")[2] for path in (tmp_path / "log").iterdir()}
    victim = next(child for child in children if child in logs)
    os.kill(int(victim), signal.SIGKILL)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert content(tmp_path) == wanted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB, half of what a store takes."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.usefixtures("quick")
def test_a_disk_that_is_full_stops_it_and_keeps_what_is_done(
    ground: Ground, small_disk: Path
) -> None:
    out = small_disk / "store"
    done = _here(ground, "--out", out, *_ONE, "--dtype", "fp32", "--chunk-size", "2")
    assert done.returncode == 2, done.stdout
    assert "No space left on device" in done.stderr and "make room" in done.stderr
    assert "failed" not in done.stderr
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    done = _here(ground, "--out", out, *_ONE, "--dtype", "fp32", "--chunk-size", "2", "--json")
    assert done.returncode == 0, done.stderr
    assert 0 < json.loads(done.stdout)["made"] < 12


@pytest.mark.usefixtures("quick")
def test_what_is_asked_and_of_whom(ground: Ground, tmp_path: Path) -> None:
    questions = tmp_path / "questions.json"
    listed = [{"question": text, "count": 9} for text in ("Where?", "What is ahead?", "Who?")]
    questions.write_text(json.dumps(listed))
    done = crossdraft_here(
        "extract", "--pair", "tiny.yaml", "--scenes", "world", "--out", tmp_path / "store",
        "--questions", questions, "--max-questions", "2", "--max-samples", "2",
        "--split", "train", "--quant", "4bit", "--batch-clips", "1", *_ONE, cwd=ground.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = PairStore.open(tmp_path / "store").manifest
    assert found.questions == ("Where?", "What is ahead?")
    assert found.pairs == 4 and found.source["dataset"]["split"] == "train"
    assert {model["dtype"] for model in found.source["models"].values()} == {"nf4"}
    done = crossdraft_here(
        "extract", "--pair", "tiny.yaml", "--scenes", "world", "--out", tmp_path / "first",
        "--max-questions", "1", "--batch-clips", "1", *_ONE, cwd=ground.folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first = PairStore.open(tmp_path / "first").manifest
    assert first.questions == ("What are the key elements in this scene?",)


def test_ids_of_a_store_become_the_seed_studys_token_file(ground: Ground, tmp_path: Path) -> None:
    done = _here(
        ground, "--out", tmp_path / "store", *_ONE, "--states", "none", "--max-samples", "2"
    )
    assert done.returncode == 0, done.stderr
    store = PairStore.open(tmp_path / "store")
    assert not store.manifest.schema.kinds
    done = crossdraft_here("convert", tmp_path / "store", tmp_path / "tokens.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "tokens.json").read_text())
    assert written["num_questions"] == 2
    for pair, item in zip(store.pairs(), written["results"], strict=True):
        assert (item["vl_tokens"], item["vl_text"]) == (list(pair.target_tokens), pair.target_text)
        assert item["egpt_tokens"] == list(pair.draft_tokens)
        assert (item["query"], item["sample_id"]) == (pair.question, pair.clip)
