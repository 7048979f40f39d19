"""A study from nothing to a table: its steps, what they share, and deaths on the way."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.cli.study import study as study_command
from crossdraft.pairs.store import PairStore
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.workflow.check import read_study
from crossdraft.workflow.study import Study
from tests.workflow.ground import WHOLE, content, here, run, write
from tests.workflow.mortal import DeadError, Mortal

#: What is timed is no part of what must be equal.
TIMELESS = {"wallclock": None}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and its finished output in `out`."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        here(patch)
        ran, _ = run(write(folder), folder / "out")
    assert ran == WHOLE
    return folder


@pytest.fixture
def done(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished / "out", tmp_path / "out")
    shutil.copyfile(finished / "tiny.yaml", tmp_path / "tiny.yaml")
    return tmp_path


def states(path: Path, out: Path) -> dict[str, str]:
    return {one.step.name: one.state for one in Study(read_study(path), out).states()}


def test_one_table_holds_variants_controls_and_times(finished: Path) -> None:
    text = (finished / "out" / "SUMMARY.md").read_text()
    for words in (
        "4 clips of train drives, 4 clips of test drives", "8 pairs", "| slow |",
        "| slow@shuffled |", "| token-adapter@shuffled |", "| position |",
        "| speed-up | speed-up, seed procedure |", "| seed-procedure=slow |",
        "## Against the clock",
    ):  # fmt: skip
        assert words in text, words
    result = json.loads((finished / "out" / "result.json").read_text())
    names = [one["name"] for one in result["wallclock"]["configurations"]]
    assert names == ["none", "token-adapter", "seed-procedure=slow", "l1"]
    trained = {one["drafter"]: one for one in result["datasets"][0]["trainings"]}
    assert trained["slow"]["options"] == {"learning_rate": 1e-5}
    rows = result["datasets"][0]["evaluations"][0]["drafters"]
    assert {"slow", "slow@shuffled", "token-adapter", "l1", "l1@shuffled"} <= rows.keys()
    states = result["datasets"][0]["evaluations"][0]["states"]
    twins = {one["alignment"] for one in states if one["source"] == "l1@shuffled"}
    assert twins == {"own", "forced"}, "the shuffled store has both"
    assert "slow" in result["datasets"][0]["evaluations"][0]["differences"]


def test_the_command_shows_times_beside_acceptance(
    done: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study_command(write(done), done / "out")
    shown = capsys.readouterr().out
    for words in (
        "against the clock",
        "seed-procedure=slow",
        f"0 of {len(WHOLE)} steps ran",
        "SUMMARY.md",
    ):
        assert words in shown, words


def test_stores_have_states_of_every_reading(finished: Path) -> None:
    store = PairStore.open(finished / "out" / "extract-train" / "train")
    kinds = {kind.name for kind in store.manifest.schema.kinds}
    assert kinds == {"target", "own", "forced"}
    assert (len(store), store.manifest.schema.top) == (8, 3)


def test_against_the_clock_it_is_asked_what_it_learned(finished: Path) -> None:
    timed = json.loads((finished / "out" / "wallclock" / "result.json").read_text())
    assert timed["config"]["texts"] == [one.text for one in DEFAULT_QUESTIONS[:2]]


@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_time_it_ends_in_the_same_files(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    here(monkeypatch)
    shutil.copyfile(finished / "tiny.yaml", tmp_path / "tiny.yaml")
    path, out = write(tmp_path, **TIMELESS), tmp_path / "out"
    dice, deaths = random.Random(seed), 0
    for _ in range(6):
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(patch, dice.randint(1, 150), after=dice.random() < 0.5)
            try:
                run(path, out)
            except DeadError:
                deaths += 1
        if not mortal.dead:
            break
    run(path, out)
    assert deaths > 1
    assert content(out) == content(finished / "out")
    mine, wanted = (json.loads((o / "result.json").read_text()) for o in (out, finished / "out"))
    for key in ("scenes", "extracted", "datasets"):
        assert mine[key] == wanted[key]
    assert run(path, out)[0] == []


def test_a_change_runs_what_stands_behind_it(done: Path) -> None:
    out = done / "out"
    assert set(states(write(done), out).values()) == {"done"}
    slower = [{"slow": {"drafter": "token-adapter", "learning_rate": 2e-5}}, "token-adapter"]
    todo = states(write(done, drafters=slower), out)
    changed = {"tiny/train-slow", "tiny/evaluate", "wallclock"}
    assert {name for name, state in todo.items() if state == "to do"} == changed
    longer = {**json.loads(write(done).read_text())["extract"], "max_new_tokens": 6}
    todo = states(write(done, extract=longer), out)
    assert {name for name, state in todo.items() if state == "done"} == {"scenes"}


def test_other_ways_of_doing_the_same_change_nothing(done: Path) -> None:
    given = json.loads(write(done).read_text())
    extract = {**given["extract"], "workers": 2, "save_interval": 50}
    path = write(done, scenes={**given["scenes"], "workers": 2}, extract=extract)
    assert set(states(path, done / "out").values()) == {"done"}


def test_scenes_from_elsewhere(finished: Path, done: Path) -> None:
    given = json.loads(write(done).read_text())
    world = finished / "out" / "scenes" / "world"
    extract = {**given["extract"], "scenes": str(world)}
    out = done / "new"
    path = write(done, extract=extract, scenes=None, datasets=None, wallclock=None)
    assert run(path, out)[0] == WHOLE[1:4]
    ours, theirs = (o / "extract-test/test/store.json" for o in (out, finished / "out"))
    assert json.loads(ours.read_text())["shards"] == json.loads(theirs.read_text())["shards"]
    (world_copy := done / "gone").mkdir()
    late = write(done, extract={**extract, "scenes": str(world_copy)}, scenes=None, datasets=None,
                 wallclock=None)  # fmt: skip
    with pytest.raises(InputError, match=r"scenes\.json: no such file"):
        run(late, done / "other")
