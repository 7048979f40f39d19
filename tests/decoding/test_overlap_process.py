"""The event model in a process: its words, and every way in which the process can fail."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.bench.made_scene import MadeScene
from crossdraft.decoding import overlap_child, overlap_process
from crossdraft.decoding.event_words import EventWords
from crossdraft.decoding.overlap import Way
from crossdraft.decoding.overlap_process import InProcess
from crossdraft.decoding.speculator import Speculator
from crossdraft.drafters.base import Budget
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from tests.bench.tiny_pair import QUESTION
from tests.decoding.overlap_kit import (
    Fatal,
    Patient,
    Planted,
    Unreadable,
    begun,
    float64_pair,
    own_words,
    until,
    words_of,
)
from tests.decoding.test_speculator import Listener

TREE = Budget.tree(8, 4)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> ModelPair:
    return float64_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def models(pair: ModelPair) -> PairModels:
    return PairModels(pair)


@pytest.fixture(scope="module")
def plain(models: PairModels) -> tuple[int, ...]:
    return Speculator(models, "none").ask(MadeScene(), QUESTION, max_new_tokens=16).tokens


@pytest.fixture(scope="module")
def one(pair: ModelPair) -> Iterator[InProcess]:
    side = InProcess(pair, patience_ms=50.0)
    yield side
    side.close()


@pytest.fixture
def side(one: InProcess) -> InProcess:
    """A process that is there, whatever an earlier test did to it."""
    one._lives = 1
    one.look()
    if one._child is None:
        one._revive()
    assert one.wait_until_ready()
    while one._given:
        words_heard(one)
    return one


def words_heard(side: InProcess) -> None:
    """Let what earlier tests left behind come in."""
    time.sleep(0.002)
    side.look()


def pid_of(side: InProcess) -> int:
    assert side._child is not None
    return side._child.process.pid


def kill(side: InProcess) -> None:
    """End the process from outside; all of its threads are gone behind this."""
    assert side._child is not None
    os.kill(pid_of(side), signal.SIGKILL)
    side._child.process.wait()


def asked(side: InProcess, models: PairModels, scene: Any, drafter: Any = Patient) -> Any:
    return Speculator(models, drafter(), width=TREE, overlap=side).ask(
        scene, QUESTION, max_new_tokens=16
    )


@pytest.mark.parametrize("drafter", ["drafter-text", "suffix+drafter-text", Listener, Patient])
@pytest.mark.parametrize("goes_on", [True, False])
def test_the_answer_is_the_targets_own(
    side: InProcess, models: PairModels, plain: tuple[int, ...], drafter: Any, goes_on: bool
) -> None:
    named = drafter if isinstance(drafter, str) else drafter()
    speculator = Speculator(models, named, width=TREE, overlap=side)
    speculator.way = Way("process", goes_on)
    for _ in range(2):
        answer = speculator.ask(MadeScene(), QUESTION, max_new_tokens=16)
        assert (answer.tokens, answer.overlap) == (plain, str(speculator.way))
        assert answer.warnings == ()
    assert drafter is not Patient or sum(answer.drafted) > 0


def test_words_and_stages_are_those_of_the_same_model_here(
    side: InProcess, models: PairModels
) -> None:
    scene = MadeScene()
    said = own_words(models.drafter, scene, 12)
    assert words_of(side, scene, 12) == (said, None)
    side.forget()
    stream, own = begun(side, scene, 12)
    until(lambda: stream.snapshot().closed)
    assert stream.own == said
    assert {span.name for span in own.spans.spans} >= {"vision", "prefill", "decode"}
    assert list(stream.arrival_ms) == sorted(stream.arrival_ms)
    assert all(0 <= span.start_ms <= span.end_ms for span in own.spans.spans)
    # Sent again it is the same scene, though another object in the process.
    stream, own = begun(side, scene, 12)
    until(lambda: stream.snapshot().closed)
    assert "vision" not in {span.name for span in own.spans.spans}


def test_nobody_is_asked_before_the_process_is_there(
    pair: ModelPair, models: PairModels, plain: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it loads: it is not taken for one that hangs, and may be forgotten at will."""
    pretend(monkeypatch, "import time; time.sleep(60)")
    side = InProcess(pair, patience_ms=0.0)
    pid = pid_of(side)
    for _ in range(300):
        side.forget()
    for turn in range(5):
        answer = asked(side, models, MadeScene(), Listener)
        assert (answer.tokens, sum(answer.drafted)) == (plain, 0)
        assert ("still busy" in "".join(answer.warnings)) == (turn > 1)
        side.forget()
    assert pid_of(side) == pid
    large = MadeScene()
    large.__dict__["more"] = b"x" * 400_000
    assert "large" in str(words_of_none(InProcess(pair), large))
    side.close()


def test_killed_before_a_question(
    side: InProcess, models: PairModels, plain: tuple[int, ...]
) -> None:
    pid = pid_of(side)
    kill(side)
    answer = asked(side, models, MadeScene(), Listener)
    assert answer.tokens == plain
    assert pid_of(side) != pid, "the next one loads already"
    assert side.wait_until_ready()
    assert sum(asked(side, models, MadeScene()).drafted) > 0


def test_killed_by_a_question_and_after_one(
    side: InProcess, models: PairModels, plain: tuple[int, ...]
) -> None:
    answer = asked(side, models, Fatal())
    assert (answer.tokens, sum(answer.drafted)) == (plain, 0)
    assert "exit code 7" in answer.warnings[0]
    assert words_of(side, MadeScene()) == (own_words(models.drafter, MadeScene()), None)
    stream, own = begun(side, MadeScene())
    until(lambda: stream.snapshot().closed)
    kill(side)
    own.end()
    assert own.warning is None, "it had been answered"


def test_one_that_hangs_costs_its_words_and_is_replaced(
    side: InProcess, models: PairModels, plain: tuple[int, ...]
) -> None:
    pid = pid_of(side)
    stop(pid)
    side._patience_ms = 60_000.0
    for _ in range(3):
        answer = asked(side, models, MadeScene(), Listener)
        assert (answer.tokens, sum(answer.drafted)) == (plain, 0)
    assert "still busy" in answer.warnings[0]
    assert pid_of(side) == pid
    side._patience_ms = 0.0
    assert asked(side, models, MadeScene(), Listener).tokens == plain
    side._patience_ms = 60_000.0
    assert pid_of(side) != pid
    assert side.wait_until_ready()
    assert sum(asked(side, models, MadeScene()).drafted) > 0
    side._patience_ms = 50.0


def test_a_large_scene_does_not_wait_for_one_that_takes_nothing(side: InProcess) -> None:
    scene = MadeScene()
    scene.__dict__["more"] = b"x" * 4_000_000
    assert words_of(side, scene)[1] is None
    stop(pid_of(side))
    words, warning = words_of(side, scene)
    assert words == ()
    assert warning is not None and "its process ended" in warning


@pytest.mark.parametrize(
    ("scene", "why"),
    [
        (Planted(InputError), "planted"),
        (Planted(MemoryError), "MemoryError: planted"),
        (Unreadable(), "planted where it is put together"),
        (lambda: None, "cannot be sent to another process"),
    ],
    ids=["refused", "no memory", "unreadable", "not to be pickled"],
)
def test_a_scene_that_fails_costs_its_own_words(
    side: InProcess, models: PairModels, plain: tuple[int, ...], scene: Any, why: str
) -> None:
    if callable(scene):
        bad = MadeScene()
        bad.__dict__["pixels"] = scene
        scene = bad
    answer = asked(side, models, scene)
    assert (answer.tokens, sum(answer.drafted)) == (plain, 0)
    assert len(answer.warnings) == 1
    assert why in answer.warnings[0]
    assert "\n" not in answer.warnings[0]
    pid = pid_of(side)
    assert sum(asked(side, models, MadeScene()).drafted) > 0
    assert pid_of(side) == pid


def test_a_model_that_cannot_be_loaded_is_tried_once(
    models: PairModels, plain: tuple[int, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = float64_pair(tmp_path)
    shutil.rmtree(tmp_path / "drafter")
    side = InProcess(other)
    assert not side.wait_until_ready()
    for _ in range(3):
        answer = asked(side, models, MadeScene())
        assert answer.tokens == plain
        assert str(tmp_path / "drafter") in answer.warnings[0]
    assert side._lives == 1
    assert capfd.readouterr() == ("", "")


def test_processes_that_die_are_not_started_for_ever(
    pair: ModelPair, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    started = pretend(monkeypatch, "print('loading'); raise SystemExit('no such library\\n')")
    side = InProcess(pair)
    assert not side.wait_until_ready()
    said = [words_of(side, MadeScene())[1] or "" for _ in range(6)]
    assert len(started) == overlap_process._LIVES == 4
    assert all(text.endswith("(exit code 1: no such library)") for text in said)
    assert "ended too often" in said[-1] and "too often" not in said[0]
    assert capfd.readouterr() == ("", ""), "what it prints is not for the user's screen"


def test_an_end_is_an_end_and_a_question_behind_it_a_new_beginning(pair: ModelPair) -> None:
    side = EventWords(PairModels(pair)).side(Way("process"))
    assert isinstance(side, InProcess)
    first = side._child
    side.close()
    side.close()
    assert first is not None and first.process.returncode is not None
    assert side._lives == 0
    _, own = begun(side, MadeScene())
    assert own.warning is None
    assert side._child is not None
    second = side._child.process
    del side, own, _
    gc.collect()
    assert second.returncode is not None, "and so is forgetting it"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_it_ends_with_its_parent_without_a_word(pair: ModelPair, tmp_path: Path, end: int) -> None:
    """In the middle of loading, too; Ctrl-C reaches the parent's group alone."""
    program = f"""
        import sys, time
        from crossdraft.decoding.overlap_process import InProcess
        from crossdraft.vlm.pair import ModelPair

        side = InProcess(ModelPair.find({pair_file(pair)!r}, ()))
        try:
            print(side._child.process.pid, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(130)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    os.killpg(parent.pid, end)
    _, said = parent.communicate(timeout=60)
    assert said == ""
    until(lambda: not alive(child))


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and that nobody asked about does not."""
    return state_of(pid) not in ("", "Z")


def state_of(pid: int) -> str:
    """As the kernel names it; nothing where there is no such process."""
    try:
        about = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return about.rpartition(")")[2].split()[0]


def pair_file(pair: ModelPair) -> str:
    return str(Path(pair.target.model).parent / "tiny.yaml")


def pretend(monkeypatch: pytest.MonkeyPatch, program: str) -> list[int]:
    """Start this in place of the event model's process; the list grows with each."""
    started: list[int] = []

    def command(number: int) -> list[str]:
        started.append(number)
        return [sys.executable, "-S", "-c", program]

    monkeypatch.setattr(overlap_child, "command", command)
    return started


def stop(pid: int) -> None:
    """Make a process hang."""
    os.kill(pid, signal.SIGSTOP)
    until(lambda: state_of(pid) == "T")


def words_of_none(side: InProcess, scene: Any) -> str | None:
    """The warning of a question that was not even asked."""
    _, own = begun(side, scene)
    side.close()
    return own.warning
