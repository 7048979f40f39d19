"""Steps: order, skipping, waiting, failing, and a death at every single write."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.base.files import write_json
from crossdraft.base.progress import ProgressSink
from crossdraft.base.result import refuse_taken
from crossdraft.workflow.engine import Engine, Report, Step, StudyError
from crossdraft.workflow.journal import Journal
from crossdraft.workflow.marker import set_aside
from tests.workflow.mortal import DeadError, Mortal


class Bench:
    """A folder of made-up steps that count how often they run."""

    def __init__(self, folder: Path) -> None:
        self.out, self.ran = folder / "out", list[str]()
        self.out.mkdir()

    def step(
        self, name: str, *needs: str, value: int = 1, fail: bool = False, **inputs: Path
    ) -> Step:
        def run(folder: Path, sink: ProgressSink, report: Report) -> None:
            refuse_taken(folder)
            self.ran.append(name)
            if fail:
                raise InputError("it leaks", where=name)
            write_json(folder / "model.json", {"value": value})
            report({"epoch": 1})
            write_json(folder / "result.json", {"value": value})
            (folder / "model.json").with_name("state").touch()

        return Step(
            name, "count", {"value": value}, inputs, needs, run,
            ("result.json", "model.json"), ("state",),
        )  # fmt: skip

    def run(self, *steps: Step, wait_minutes: float = 0, poll_s: float = 0.02) -> list[str]:
        """Names of the steps that ran."""
        self.ran.clear()
        Engine(self.out, steps, wait_minutes, poll_s=poll_s).run(Journal(self.out))
        return list(self.ran)

    def value(self, name: str) -> Any:
        return json.loads((self.out / name / "result.json").read_text())["value"]

    def events(self) -> list[str]:
        lines = (self.out / "study.jsonl").read_text().splitlines()
        return [json.loads(line)["event"] for line in lines]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.json"
    path.write_text("[1]")
    return path


def test_finished_steps_are_skipped(bench: Bench, source: Path) -> None:
    steps = (bench.step("a/train", train=source), bench.step("a/evaluate", "a/train"))
    assert bench.run(*steps) == ["a/train", "a/evaluate"]
    assert bench.run(*steps) == []
    assert bench.events() == ["start", "epoch", "end"] * 2 + ["skip", "skip"]
    assert not (bench.out / "a/train/state").exists()


def test_a_change_runs_only_what_depends_on_it(bench: Bench, source: Path) -> None:
    def steps(value: int) -> tuple[Step, ...]:
        return (
            bench.step("a/train", train=source),
            bench.step("a/other", value=value),
            bench.step("a/evaluate", "a/train"),
            bench.step("b/evaluate", "a/other"),
        )

    bench.run(*steps(1))
    assert bench.run(*steps(2)) == ["a/other", "b/evaluate"]
    assert (bench.value("a/other"), bench.value("a/other.old-1")) == (2, 1)
    assert bench.run(*steps(1)) == ["a/other", "b/evaluate"]
    assert (bench.value("a/other"), bench.value("a/other.old-2")) == (1, 2)
    source.write_text("[2]")
    assert bench.run(*steps(1)) == ["a/train", "a/evaluate"]


def test_a_moved_file_changes_nothing(bench: Bench, source: Path) -> None:
    bench.run(bench.step("a", train=source))
    moved = source.rename(source.with_name("moved.json"))
    assert bench.run(bench.step("a", train=moved)) == []


@pytest.mark.parametrize("gone", ["result.json", "model.json"])
def test_a_lost_output_is_made_again(bench: Bench, gone: str) -> None:
    bench.run(bench.step("a"))
    (bench.out / "a" / gone).unlink()
    assert bench.run(bench.step("a")) == ["a"]
    assert (bench.out / "a" / gone).exists()
    assert (bench.out / "a.old-1").exists()


def test_a_begun_result_without_its_model_is_kept_aside(bench: Bench) -> None:
    bench.run(bench.step("a"))
    marker = bench.out / "a" / "step.json"
    marker.write_text(marker.read_text().replace('"done"', '"started"'))
    (bench.out / "a" / "model.json").unlink()
    assert bench.run(bench.step("a")) == ["a"]
    assert (bench.out / "a.old-1" / "result.json").exists()


@pytest.mark.parametrize("marker", ["", "{", "[]", '{"format": "other"}'])
def test_a_folder_without_a_marker_is_kept_aside(bench: Bench, marker: str) -> None:
    (bench.out / "a").mkdir()
    (bench.out / "a" / "mine.txt").write_text("precious")
    if marker:
        (bench.out / "a" / "step.json").write_text(marker)
    assert bench.run(bench.step("a")) == ["a"]
    assert (bench.out / "a.old-1" / "mine.txt").read_text() == "precious"


def test_a_file_in_the_way_is_kept_aside(bench: Bench) -> None:
    (bench.out / "a").write_text("precious")
    assert bench.run(bench.step("a")) == ["a"]
    assert (bench.out / "a.old-1").read_text() == "precious"


def test_failure_stops_only_what_needs_it(bench: Bench) -> None:
    steps = (
        bench.step("a/train", fail=True),
        bench.step("a/evaluate", "a/train"),
        bench.step("b/train"),
    )
    with pytest.raises(StudyError, match="2 of 3 steps") as caught:
        bench.run(*steps)
    assert caught.value.exit_code == 2
    assert "a/train: a/train: it leaks" in str(caught.value)
    assert "a/evaluate: needs a/train" in str(caught.value)
    assert bench.ran == ["a/train", "b/train"]
    assert not (bench.out / "a/train").exists(), "refused before it wrote anything"


def test_inputs_that_change_meanwhile_spoil_the_step(bench: Bench, source: Path) -> None:
    honest = bench.step("a", train=source)

    def run(folder: Path, sink: ProgressSink, report: Report) -> None:
        honest.run(folder, sink, report)
        source.write_text("[1, 2]")

    meddling = Step("a", "count", honest.options, honest.inputs, (), run, honest.outputs)
    with pytest.raises(StudyError, match="changed while the step ran"):
        bench.run(meddling)
    source.write_text("[1]")
    assert bench.run(honest) == ["a"], "what was read meanwhile is unknown"
    assert bench.run(honest) == []


def test_waiting_blocks_only_what_needs_the_file(bench: Bench, tmp_path: Path) -> None:
    late = tmp_path / "late.jsonl"
    header = '{"format": "crossdraft.pairs", "version": 1, "count": 2}\n'

    def extract() -> None:
        late.write_text(header + '{"clip": "a"}\n')
        time.sleep(0.25)
        with late.open("a") as stream:
            stream.write('{"clip": "b"}\n')

    steps = (
        bench.step("a/train", train=late),
        bench.step("a/evaluate", "a/train"),
        bench.step("b/train"),
    )
    seen: list[str] = []
    writer = threading.Thread(target=extract)
    writer.start()
    inner = steps[0].run

    def run(folder: Path, sink: ProgressSink, report: Report) -> None:
        seen.append(late.read_text())
        inner(folder, sink, report)

    waiting = Step("a/train", "count", steps[0].options, {"train": late}, (), run, steps[0].outputs)
    assert bench.run(waiting, *steps[1:], wait_minutes=1) == ["b/train", "a/train", "a/evaluate"]
    writer.join()
    assert seen == [header + '{"clip": "a"}\n{"clip": "b"}\n']
    assert "waiting" in bench.events()


def test_waiting_ends(bench: Bench, tmp_path: Path) -> None:
    steps = (
        bench.step("a/train", train=tmp_path / "never.json"),
        bench.step("a/evaluate", "a/train"),
        bench.step("b/train"),
    )
    started = time.monotonic()
    with pytest.raises(StudyError, match=r"never\.json: no such file") as caught:
        bench.run(*steps, wait_minutes=0.2 / 60)
    assert 0.2 <= time.monotonic() - started < 5
    assert "a/evaluate: needs a/train" in str(caught.value)
    assert bench.ran == ["b/train"]


def test_without_waiting_nothing_starts(bench: Bench, tmp_path: Path) -> None:
    steps = (bench.step("b/train"), bench.step("a/train", train=tmp_path / "never.json"))
    with pytest.raises(InputError, match=r"never\.json: no such file"):
        Engine(bench.out, steps).refuse_unready()
    Engine(bench.out, steps, wait_minutes=1).refuse_unready()


def test_states(bench: Bench, source: Path) -> None:
    def states(*steps: Step) -> list[tuple[str, str]]:
        return [(s.state, s.detail) for s in Engine(bench.out, steps).states()]

    late = source.with_name("late.json")
    steps = (bench.step("a", train=source), bench.step("b", train=late), bench.step("c", "b"))
    before = sorted(bench.out.rglob("*"))
    missing = ("waiting", f"{late}: no such file")
    assert states(*steps) == [("to do", ""), missing, missing]
    assert sorted(bench.out.rglob("*")) == before
    bench.run(steps[0])
    assert states(*steps)[0] == ("done", "")
    changed = bench.step("a", train=source, value=2)
    assert states(changed) == [("to do", "something it depends on has changed")]
    (bench.out / "a" / "result.json").unlink()
    assert states(steps[0]) == [("to do", "its result is gone")]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("begins", ["fresh", "changed"])
def test_death_at_any_change_leaves_a_state_to_go_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begins: str, after: bool
) -> None:
    """The n-th change of a file is the last, for every n; the next call ends as if nothing had
    happened, and results of earlier options are still there."""
    monkeypatch.setattr("os.fsync", lambda _: None)  # a hundred studies: the disk is slow
    died = 0
    for n in range(1, 200):
        (tmp_path / str(n)).mkdir()
        bench = Bench(tmp_path / str(n))

        def steps(value: int, bench: Bench = bench) -> tuple[Step, ...]:
            return (
                bench.step("a/train", value=value),
                bench.step("a/evaluate", "a/train", value=10 * value),
            )

        if begins == "changed":
            bench.run(*steps(1))
            bench.run(*steps(2))
        with pytest.MonkeyPatch.context() as patch:
            mortal = Mortal(patch, n, after=after)
            try:
                bench.run(*steps(3))
            except DeadError:
                died += 1
        bench.run(*steps(3))
        assert (bench.value("a/train"), bench.value("a/evaluate")) == (3, 30), n
        names = {path.name for path in (bench.out / "a" / "train").iterdir()}
        assert names == {"step.json", "result.json", "model.json"}, n
        if begins == "changed":
            kept = [bench.value(f"a/{name}") for name in ("train.old-1", "train.old-2")]
            assert kept == [1, 2], n
            assert not (bench.out / "a" / "train.old-3").exists(), n
        assert bench.run(*steps(3)) == [], n
        if not mortal.dead:
            break
    assert died == n - 1 > 20


def test_set_aside_finds_a_free_name(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        (tmp_path / "a").mkdir()
        assert set_aside(tmp_path / "a") == tmp_path / f"a.old-{number}"
