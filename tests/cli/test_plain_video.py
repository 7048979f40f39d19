"""A plain video as the scene: events are simulated for who reads them, and it is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from crossdraft.bench.made_scene import MadeScene
from crossdraft.cli.options import pair_of
from crossdraft.scenes.video_write import write_mp4
from crossdraft.vlm import shipped
from tests.bench.tiny_pair import QUESTION, write_pair
from tests.cli.run import crossdraft_here as here
from tests.scenes.videos import make_audio

SAID = "events simulated from the video: drive.mp4 as "
WORDS = ("--drafter", "drafter-text", "--gamma", "4", "--overlap", "sequential")
CALL = ("generate", "-q", QUESTION, "--max-new-tokens", "8", "--set", "target.dtype=float64")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair, a video, a dataset that holds it alone, and what is no video."""
    folder = tmp_path_factory.mktemp("video")
    write_pair(folder)
    frames = MadeScene().video_frames(16).frames
    write_mp4(folder / "drive.mp4", frames)
    (folder / "clips").mkdir()
    shutil.copy(folder / "drive.mp4", folder / "clips" / "night_000003.mp4")
    write_mp4(folder / "one.mp4", frames[:1])
    (folder / "cut.mp4").write_bytes((folder / "drive.mp4").read_bytes()[:600])
    (folder / "empty.mp4").touch()
    (folder / "note.txt").write_text("a red car ahead\n")
    make_audio(folder / "sound.mp4")
    return folder


def test_the_answer_is_the_targets_own(place: Path) -> None:
    scene = ("--pair", "tiny.yaml", "--scene", "drive.mp4")
    plain = here(*CALL, *scene, "--answer-with", "target", cwd=place)
    drafted = here(*CALL, *scene, *WORDS, cwd=place)
    assert plain.returncode == drafted.returncode == 0, drafted.stderr
    assert plain.stdout == drafted.stdout and plain.stdout.strip()
    assert "simulated" not in plain.stderr, "the target reads no events"
    assert drafted.stderr.count(f"warning: {SAID}") == 1
    assert "as 37x28 pixels, threshold 0.3, not a sensor's" in drafted.stderr


@pytest.mark.parametrize(
    ("arguments", "simulated"),
    [(WORDS, True), (("--answer-with", "drafter"), True), (("--gamma", "2"), False)],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_json_says_whether_events_were_simulated(
    place: Path, arguments: tuple[str, ...], simulated: bool
) -> None:
    scene = ("--pair", "tiny.yaml", "--scene", "drive.mp4")
    done = here(*CALL, *scene, *arguments, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["simulated"] is simulated
    assert [text[: len(SAID)] for text in result["warnings"]] == [SAID] * simulated


def test_a_clip_of_a_dataset_without_events(place: Path) -> None:
    scene = ("--pair", "tiny.yaml", "--scene", "clips/night/3")
    done = here(*CALL, *scene, *WORDS, "--json", cwd=place)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["scene"], result["simulated"]) == ("night/000003", True)
    assert "night_000003.mp4" in result["warnings"][0]


def test_the_size_that_is_simulated_can_be_said(place: Path) -> None:
    scene = ("--pair", "tiny.yaml", "--scene", "drive.mp4", "--sensor", "30x20")
    done = here(*CALL, *scene, *WORDS, cwd=place)
    assert done.returncode == 0 and "as 30x20 pixels" in done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing.mp4", "nothing.mp4: no such file or folder"),
        ("empty.mp4", "empty.mp4: the file is empty"),
        ("cut.mp4", "cut.mp4: cannot be read as a video"),
        ("sound.mp4", "sound.mp4: no video track"),
        ("one.mp4", "one.mp4: a video of one frame"),
        ("note.txt", "note.txt: "),
    ],
)
def test_what_is_no_scene_is_exit_2(place: Path, text: str, said: str) -> None:
    done = here(*CALL, "--pair", "tiny.yaml", "--scene", text, *WORDS, cwd=place)
    assert done.returncode == 2
    assert f"error: {said}" in done.stderr and done.stdout == ""


def test_verify_and_doctor(place: Path) -> None:
    scene = ("--pair", "tiny.yaml", "--scene", "drive.mp4")
    short = ("--questions", "1", "--gamma", "2", "--max-new-tokens", "3")
    for drafter, warned in (("drafter-text", 1), ("suffix", 0)):
        done = here("verify", *scene, "--drafter", drafter, *short, cwd=place)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(f"warning: {SAID}") == warned
    done = here("doctor", *scene, "--only", "frames", cwd=place)
    assert done.returncode == 0, done.stdout
    assert "its events SIMULATED" in done.stdout and "ok          drafter  frames" in done.stdout
    assert "ok          pair     frames" in done.stdout
    assert SAID in done.stderr


def test_doctor_examines_what_a_video_without_events_allows(place: Path) -> None:
    call = ("doctor", "--pair", "tiny.yaml", "--only", "frames", "--scene")
    done = here(*call, "one.mp4", cwd=place)
    assert done.returncode == 0, done.stdout
    assert "ok          target   frames" in done.stdout
    assert "not checked drafter  frames" in done.stdout
    assert "warning: no events are simulated: one.mp4: a video of one frame" in done.stderr
    for wrong, said in (("cut.mp4", "cut.mp4: cannot be read"), ("drive.mp4", "--sensor: ")):
        refused = here(*call, wrong, "--sensor", "4000x20", cwd=place)
        assert refused.returncode == 2 and f"error: {said}" in refused.stderr
        assert refused.stdout == ""


def test_no_file_here_stands_in_for_the_default_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "embedded").write_text("name: mine\n")
    monkeypatch.chdir(tmp_path)
    found = pair_of(None, ["drafter.frames=3"])
    assert found.where == shipped.FOLDER / "embedded.yaml"
    assert found.drafter.frames == 3


def test_without_a_pair_it_is_the_embedded_one(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here with other models in its place, and before them without any."""
    shutil.copy(shipped.FOLDER / "embedded.yaml", tmp_path)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    scene = ("--scene", "drive.mp4", *WORDS)
    missing = here(*CALL, *scene, cwd=place)
    assert missing.returncode == 2 and "pair: embedded" in missing.stderr
    assert "comes with crossdraft, and is not in this installation" in missing.stderr
    (tmp_path / "embedded").mkdir()
    for role in ("target", "drafter"):
        (tmp_path / "embedded" / role).symlink_to(place / role)
    done = here(*CALL, *scene, cwd=place)
    assert done.returncode == 0, done.stderr
    same = here(*CALL, "--pair", "tiny.yaml", "--answer-with", "target", *scene[:2], cwd=place)
    assert done.stdout == same.stdout and "pair:" not in same.stderr
