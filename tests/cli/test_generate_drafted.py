"""`crossdraft generate` with drafts: the target's own answer, its streaming, its records."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from crossdraft.base.errors import InputError
from crossdraft.base.tree import DraftTree
from crossdraft.bench.made_scene import MadeScene
from crossdraft.cli.app import app
from crossdraft.decoding.memory import Memory
from crossdraft.drafters import registry
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.scenes.video_write import write_mp4
from crossdraft.scenes.writers import write_npz
from tests.bench.tiny_pair import QUESTION, write_pair
from tests.cli.run import crossdraft
from tests.cli.run import crossdraft_here as here


class Stutter(Drafter):
    """A new idea: everything is said twice."""

    name = "stutter"

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        return DraftTree.chain(list(prefix[-1:])[: budget.nodes], source=self.name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pair in float64, and events and video of one made-up drive."""
    folder = tmp_path_factory.mktemp("generate")
    made = MadeScene()
    write_npz(made.events(), folder / "drive.npz")
    write_mp4(folder / "drive.mp4", made.video_frames(16).frames)
    write_pair(folder)
    return folder


#: In turn: no test here needs a process for the event model.
WORDS = ("--drafter", "drafter-text", "--overlap", "sequential")
CALL = (
    *("generate", "--pair", "tiny.yaml", "--scene", "drive.npz,drive.mp4", "-q", QUESTION),
    *("--max-new-tokens", "16", "--set", "target.dtype=float64"),
)


@pytest.fixture(scope="module")
def plain(place: Path) -> str:
    """What the target says by itself."""
    done = crossdraft(*CALL, "--answer-with", "target", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    return done.stdout


@pytest.mark.parametrize(
    "drafting",
    [
        ("--gamma", "4"),
        (*WORDS, "--gamma", "5"),
        ("--drafter", "suffix+drafter-text", *WORDS[2:], "--nodes", "8"),
        ("--drafter", "none"),
        ("--nodes", "0"),
    ],
    ids=" ".join,
)
def test_the_answer_is_the_targets_own(place: Path, plain: str, drafting: tuple[str, ...]) -> None:
    done = here(*CALL, *drafting, cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == plain
    assert "16 tokens (length) in" in done.stderr
    words = "drafter-text" in " ".join(drafting)
    told = "event model before the target (sequential): 16 words before the first token"
    assert (told in done.stderr) == words
    if words:  # its passes with drafts are told, and not as plain steps
        assert ", verify " in done.stderr


@pytest.mark.usefixtures("quiet_machine")
def test_costs_are_measured_once_and_what_was_said_is_remembered(
    place: Path, plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path))
    first = here(*CALL, "--remember", cwd=place)
    assert (first.returncode, first.stdout) == (0, plain), first.stderr
    second = here(*CALL, "--remember", "--nodes", "16", "--json", cwd=place)
    assert second.returncode == 0, second.stderr
    result = json.loads(second.stdout)
    assert result["drafter"] == "suffix"
    assert result["tau"] > 1.5, "what the first call said is known"
    assert result["text"].strip() == plain.strip()
    assert sum(result["accepted"]) + len(result["accepted"]) >= len(result["tokens"]) == 16
    third = here(*CALL, "--auto", cwd=place)
    assert "costs: measured on" in third.stderr
    assert "costs: measuring" in first.stderr
    assert "costs:" not in second.stderr


def test_an_answer_is_not_lost_with_what_it_would_have_taught(
    place: Path, plain: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory turns out to be damaged when the answer is already there."""
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path))
    monkeypatch.chdir(place)

    def refuse(_: Memory) -> None:
        raise InputError("damaged", where="memory")

    monkeypatch.setattr(Memory, "save", refuse)
    timeline = tmp_path / "trace.json"
    call = [*CALL, "--remember", "--gamma", "2", "--json", "--timeline", str(timeline)]
    done = CliRunner().invoke(app, call)
    assert isinstance(done.exception, InputError)
    assert json.loads(done.stdout)["text"].strip() == plain.strip()
    assert timeline.exists()


def test_what_is_refused_is_refused_before_costs_are_measured(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path))
    for wrong in (("--scene", "drive.npz"), ("--stop", "")):
        done = here(*CALL, *wrong, cwd=place)
        assert done.returncode == 2, done.stderr
        assert "measur" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_sampling_lossy_rules_and_stop_strings(place: Path, plain: str) -> None:
    sampled = ("--temperature", "1.5", "--top-p", "0.9", "--seed", "3")
    alone = here(*CALL, *sampled, "--answer-with", "target", cwd=place)
    drafted = here(*CALL, *sampled, "--nodes", "8", *WORDS, cwd=place)
    assert alone.returncode == drafted.returncode == 0, drafted.stderr
    assert alone.stdout == drafted.stdout != plain
    relaxed = ("--relaxed", "top-k=5", "--gamma", "4", "--timeline", "lossy.json", "--json")
    lossy = here(*CALL, *relaxed, cwd=place)
    assert lossy.returncode == 0, lossy.stderr
    assert "LOSSY" in json.loads(lossy.stdout)["warnings"][0]
    about = json.loads((place / "lossy.json").read_text())["otherData"]
    assert about["lossy"] is True
    assert about["rule"] == "lossy top-5"
    assert "LOSSY" in here(*CALL, *relaxed[:4], cwd=place).stderr
    word = next(letter for letter in plain if letter.isascii() and letter.strip())
    done = here(*CALL, "--stop", word, "--gamma", "4", cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == plain[: plain.index(word)] + "\n"
    assert "(stop)" in done.stderr


def test_a_timeline_is_a_trace(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    call = (*CALL, *WORDS, "--gamma", "4", "--timeline", str(file))
    assert here(*call, cwd=place).returncode == 0
    events = json.loads(file.read_text())["traceEvents"]
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"target", "drafter"} <= tracks
    names = {event["name"] for event in events if event["ph"] == "X"}
    assert {"vision", "prefill", "decode", "draft"} <= names
    runs = [int(event["name"].split()[0]) for event in events if event["ph"] == "i"]
    assert sum(runs) == 16
    alone = (*CALL, "--answer-with", "drafter", "--timeline", str(file))
    assert here(*alone, cwd=place).returncode == 0
    events = json.loads(file.read_text())["traceEvents"]
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert tracks == {"drafter"}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--nodes", "4", "--gamma", "4"), "one of them"),
        (("--nodes", "4", "--auto"), "one of them"),
        (("--top-k", "4"), "--top-k beside a greedy answer"),
        (("--temperature", "1", "--top-p", "1.5"), "top_p"),
        (("--temperature", "1", "--seed", "-1"), "seed"),
        (("--seed", "3"), "--temperature is 0"),
        (("--relaxed", "top-k=3", "--temperature", "0.5"), "--temperature beside --relaxed"),
        (("--answer-with", "target"), "--gamma beside --answer-with target"),
        (("--relaxed", "top-k=0"), "1 or more"),
        (("--relaxed", "hope"), "--relaxed"),
        (("--drafter", "telepathy"), "telepathy"),
        (("--drafter", "translator"), "train"),
        (("--drafter", "position", "--remember"), "suffix"),
        (("--stop", ""), "empty stop string"),
        (("--timeline", "nowhere/trace.json"), "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_calls_say_what_is_wrong(place: Path, arguments: tuple[str, ...], found: str) -> None:
    done = here(*CALL, *(() if "--nodes" in arguments else ("--gamma", "2")), *arguments, cwd=place)
    assert done.returncode == 2
    assert found in done.stderr
    assert "Traceback" not in done.stderr


def test_a_new_drafter_is_one_registry_line(
    place: Path, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.REGISTRY, "stutter", f"{__name__}:Stutter")
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, [*CALL, "--drafter", "stutter", "--gamma", "2"])
    assert done.exit_code == 0, done.output
    assert done.stdout == plain
    assert "speculative (stutter)" in done.stderr
