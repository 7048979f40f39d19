"""`crossdraft generate --overlap`: the same answer whichever way the event model works."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.bench.made_scene import MadeScene
from crossdraft.cli.generate_choices import overlap_of
from crossdraft.decoding import speculator
from crossdraft.decoding.overlap import Way
from crossdraft.scenes.video_write import write_mp4
from crossdraft.scenes.writers import write_npz
from tests.bench.tiny_pair import QUESTION, write_pair
from tests.cli.run import crossdraft_here as here


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a pair in float64, and events and video of one made-up drive."""
    folder = tmp_path_factory.mktemp("overlap")
    made = MadeScene()
    write_npz(made.events(), folder / "drive.npz")
    write_mp4(folder / "drive.mp4", made.video_frames(16).frames)
    write_pair(folder)
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path))
    return tmp_path


ASKED = (
    *("generate", "--pair", "tiny.yaml", "--scene", "drive.npz,drive.mp4", "-q", QUESTION),
    *("--max-new-tokens", "12", "--set", "target.dtype=float64"),
)
CALL = (*ASKED, "--gamma", "4")
WORDS = ("--drafter", "drafter-text")


@pytest.fixture(scope="module")
def plain(place: Path) -> str:
    done = here(*CALL, "--drafter", "none", cwd=place)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("none", "event model not asked (none)"),
        ("sequential", "event model before the target (sequential): 12 words before"),
        ("thread", "event model beside (thread): "),
        ("thread:prefill", "event model beside (thread:prefill): "),
        ("process", "event model beside (process): "),
    ],
)
def test_the_answer_is_the_same_every_way(place: Path, plain: str, way: str, told: str) -> None:
    done = here(*CALL, *WORDS, "--overlap", way, cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stdout == plain
    assert told in done.stderr
    assert "warning" not in done.stderr


def test_the_record_says_how_and_the_timeline_has_both_models(
    place: Path, plain: str, cache: Path
) -> None:
    file = cache / "trace.json"
    call = (*CALL, *WORDS, "--overlap", "thread", "--json", "--timeline", str(file))
    result = json.loads(here(*call, cwd=place).stdout)
    assert result["text"].strip() == plain.strip()
    assert result["overlap"] == "thread"
    assert result["drafter_spans"]
    assert result["config"]["overlap"] == "thread"
    events = json.loads(file.read_text())["traceEvents"]
    tracks = {event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert {"target", "drafter"} <= tracks


@pytest.mark.usefixtures("quiet_machine")
def test_auto_says_that_it_measures_and_keeps_what_it_found(
    place: Path, plain: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = (Way("none"), Way("sequential"), Way("thread"))
    monkeypatch.setattr(speculator, "ways_of", lambda *_: ways)
    first, second = (here(*CALL, *WORDS, cwd=place) for _ in range(2))
    assert first.stdout == second.stdout == plain
    assert "costs: measuring whether the event model pays" in first.stderr
    assert "costs: the event model works " in first.stderr
    assert "costs:" not in second.stderr
    (kept,) = (cache / "overlap").iterdir()
    assert f"({json.loads(kept.read_text())['way']})" in second.stderr


def test_an_event_model_that_fails_is_a_warning(
    place: Path, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossdraft.vlm import drafting

    def fails(*_: object, **__: object) -> None:
        raise MemoryError("planted")

    monkeypatch.setattr(drafting.Follower, "speak", fails)
    call = (*CALL, *WORDS, "--overlap", "sequential")
    done, as_json = here(*call, cwd=place), here(*call, "--json", cwd=place)
    assert (done.returncode, done.stdout) == (0, plain)
    assert "warning: the event model failed" in done.stderr
    assert "0 words before the first token" in done.stderr
    (warning,) = json.loads(as_json.stdout)["warnings"]
    assert "MemoryError: planted" in warning


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((*WORDS, "--overlap", "telepathy"), "process:prefill"),
        ((*WORDS, "--overlap", "sequential:prefill"), "--overlap"),
        (("--drafter", "suffix", "--overlap", "thread"), "--overlap beside drafter suffix"),
        ((*WORDS, "--overlap", "process", "--set", "load=in_turn"), "load=together"),
    ],
)
def test_wrong_calls_say_what_is_wrong(place: Path, arguments: tuple[str, ...], found: str) -> None:
    done = here(*CALL, *arguments, cwd=place)
    assert done.returncode == 2
    assert found in done.stderr


def test_a_model_by_itself_overlaps_with_nobody(place: Path) -> None:
    done = here(*ASKED, "--answer-with", "target", "--overlap", "thread", cwd=place)
    assert done.returncode == 2
    assert "--overlap beside --answer-with target" in done.stderr


def test_what_is_not_said_is_auto() -> None:
    assert overlap_of(None) is overlap_of("auto") is None
    assert overlap_of("process:prefill") == Way("process", goes_on=False)
