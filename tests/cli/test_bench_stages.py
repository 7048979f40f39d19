"""`crossdraft bench stages` from the outside."""

from __future__ import annotations

import json
import re
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from crossdraft.evaluation.stage_file import read_stage_file
from crossdraft.scenes.scene import SIMULATED
from tests.cli.run import crossdraft_here
from tests.pairs.extract.ground import Ground, prepare

QUICK = ("--pair", "tiny.yaml", "--clips", "2", "--max-new-tokens", "3", "--warmup", "1")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return prepare(tmp_path_factory.mktemp("stages"))


def called(ground: Ground, *arguments: str | Path) -> CompletedProcess[str]:
    return crossdraft_here("bench", "stages", *QUICK, *arguments, cwd=ground.folder)


def test_tables_and_a_run_folder(ground: Ground) -> None:
    done = called(ground, "--scenes", "world", "-q", "What is ahead?")
    assert done.returncode == 0, done.stderr
    for said in (
        "stages, ms", "1 load", "of it drawing events", "5 decode", "prefill complete",
        "free window", "its last prefill pass starts", "asked: What is ahead?",
    ):  # fmt: skip
        assert said in done.stdout, said
    assert SIMULATED[:40] in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    (run,) = (ground.folder / "runs").iterdir()
    assert run.name.startswith("stages_")
    names = {path.name for path in run.iterdir()}
    assert names == {"config.yaml", "result.json", "RESULTS.md", "stages.png", "seed.json"}
    result = json.loads((run / "result.json").read_text())
    assert result["config"] == yaml.safe_load((run / "config.yaml").read_text())
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "bench stages")
    assert result["warnings"] == [SIMULATED]
    assert len(read_stage_file(run / "seed.json", eos=-1).clocks) == 2


def test_lengths_have_files_of_their_own_and_damage_is_an_exit_code(
    ground: Ground, tmp_path: Path
) -> None:
    entries = json.loads((ground.world / "scenes.json").read_text())
    for entry in entries["scenes"]:
        for part in ("events", "video"):
            file = tmp_path / entry[part]["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.symlink_to(ground.world / entry[part]["file"])
        entry["start_us"], entry["end_us"] = 0, 300_000
    (tmp_path / "scenes.json").write_text(json.dumps(entries))
    events = tmp_path / entries["scenes"][0]["events"]["file"]
    events.unlink()
    both = ("--scenes", "world", "--scenes", tmp_path, "--json")
    done = called(ground, *both, "--out", tmp_path / "run")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert [one["failed"] for one in result["durations"]] == [1, 0]
    files = [one["seed_file"] for one in result["durations"]]
    assert files[0] == "seed_300ms.json" and re.fullmatch(r"seed_\d+m?s\.json", files[1])
    assert all((tmp_path / "run" / name).is_file() for name in files)
    assert "failed and in no number: 1 clip;" in result["warnings"][-1]
    again = called(ground, *both, "--out", tmp_path / "run")
    assert (again.returncode, "already holds a result" in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--scenes"),
        (("--scenes", "nowhere"), "no such folder"),
        (("--scenes", "world", "--split", "test"), "split 'test'"),
        (("--scenes", "world", "--max-new-tokens", "0"), "1 or more"),
        (("--scenes", "world", "--set", "drafter.nothing=1"), "drafter.nothing"),
    ],
)
def test_wrong_calls(ground: Ground, arguments: tuple[str, ...], said: str) -> None:
    done = called(ground, *arguments)
    assert done.returncode == 2
    assert said in done.stderr + done.stdout
