"""`crossdraft generate`: from sensor files to an answer, by either model of a pair."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crossdraft.bench.made_scene import MadeScene
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.find_scene import find_scene
from crossdraft.scenes.video_write import write_mp4
from crossdraft.scenes.writers import write_npy, write_npz
from crossdraft.vlm.eventgpt.load import load_eventgpt
from tests.cli.run import crossdraft
from tests.vlm.eventgpt.parity import EVENTS, KIT, meta, needs_kit
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava

QUESTION = "What is in this scene?"
#: What each model does to read a scene's files.
READING = {"drafter": ("sensor", "render", "pixels"), "target": ("sensor", "pixels")}


@needs_kit
@pytest.mark.skipif(not EVENTS.is_dir(), reason=f"no real event windows at {EVENTS}")
@pytest.mark.parametrize(
    ("file", "sample"),
    [("eventgpt_sample1.npy", "sample1"), ("interlaken_00_d_000074.npy", "dsec74")],
)
def test_real_events_become_the_official_tokens(file: str, sample: str, tmp_path: Path) -> None:
    ids = ",".join(map(str, meta()["input_ids"][sample]))
    done = crossdraft(
        *("generate", "--pair", "eventgpt-videollava", "--answer-with", "drafter"),
        *("--scene", str(EVENTS / file)),
        *("--prompt-ids", ids),
        *("--set", f"drafter.model={KIT / 'checkpoint'}", "--set", "drafter.dtype=float32"),
        *("--max-new-tokens", "16"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert [int(token) for token in done.stdout.split()] == meta()["generated"][sample][1:]


def test_both_models_answer_about_one_scene(tmp_path: Path) -> None:
    pair, scene = _pair(tmp_path), _scene(tmp_path)
    texts = {}
    for role in ("drafter", "target"):
        done = crossdraft(
            *("generate", "--pair", str(pair), "--scene", scene, "-q", QUESTION),
            *("--answer-with", role, "--max-new-tokens", "12", "--json"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout)
        assert result["answer_with"] == role
        assert len(result["tokens"]) == 12
        assert result["end"] == "length"
        assert result["arrival_ms"] == sorted(result["arrival_ms"])
        names = {span["name"] for span in result["spans"]}
        assert names - {"commit"} == {"read", "vision", "prefill", "decode", *READING[role]}
        texts[role] = result["text"]
    target = load_eventgpt(tmp_path / "eventgpt")
    prompt = target.prompt(find_scene(scene), QUESTION)
    done = crossdraft(
        *("generate", "--pair", str(pair), "--scene", scene, "-q", QUESTION),
        *("--answer-with", "drafter", "--max-new-tokens", "12"),
        cwd=tmp_path,
    )
    assert done.stdout.rstrip("\n") == texts["drafter"].rstrip("\n")
    assert prompt.hash in done.stderr
    assert texts["drafter"] != texts["target"]


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ((), "neither --question nor --prompt-ids"),
        (("-q", "x", "--prompt-ids", "1,-200,2"), "exclude each other"),
        (("--prompt-ids", "1,two"), "--prompt-ids"),
        (("--prompt-ids", f"1,{'9' * 5000},-200"), "--prompt-ids"),
        (("--prompt-ids", "1,2,3"), "0 places for events"),
        (("--prompt-ids", "1,-200,999999"), "ids that the model does not know"),
        (("-q", "where is <event>?"), "<event>"),
        (("-q", "x", "--set", "drafter.modle=x"), "did you mean"),
        (("-q", "x", "--set", "drafter.model=nowhere"), "nowhere"),
        (("-q", "x", "--pair", "eventgpt-videolava"), "eventgpt-videollava"),
        (("-q", "x", "--scene", "nothing.npy"), "nothing.npy"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    tmp_path: Path, arguments: tuple[str, ...], found: str
) -> None:
    pair, scene = _pair(tmp_path), _scene(tmp_path)
    done = crossdraft(
        *(
            "generate",
            "--pair",
            str(pair),
            "--scene",
            scene,
            "--answer-with",
            "drafter",
            *arguments,
        ),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert found in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_ids_are_for_models_whose_prompts_take_them(tmp_path: Path) -> None:
    done = crossdraft(
        *("generate", "--pair", str(_pair(tmp_path)), "--scene", _scene(tmp_path)),
        *("--prompt-ids", "1,5,-200,6"),
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert "ids in place of a question" in done.stderr


def test_a_console_without_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    models = ("--pair", str(_pair(tmp_path)), "--scene", _scene(tmp_path))
    call = ("generate", *models, "-q", QUESTION, "--answer-with", "target")
    plain, as_json = (crossdraft(*call, *more, cwd=tmp_path) for more in ((), ("--json",)))
    assert (plain.returncode, as_json.returncode) == (0, 0), plain.stderr
    assert json.loads(as_json.stdout)["text"].strip()


def test_the_sensors_size_can_be_said(tmp_path: Path) -> None:
    """A file that does not say it, with events outside of the usual size."""
    stream = EventStream.checked([1279], [719], [5], [1], sensor=(1280, 720))
    write_npy(stream, tmp_path / "wide.npy")
    call = ("generate", "--pair", str(_pair(tmp_path)), "--answer-with", "drafter")
    scene = ("--scene", str(tmp_path / "wide.npy"), "-q", QUESTION)
    refused = crossdraft(*call, *scene, cwd=tmp_path)
    assert refused.returncode == 2
    assert "--sensor 1280x720" in refused.stderr
    assert crossdraft(*call, *scene, "--sensor", "1280x720", cwd=tmp_path).returncode == 0


def _pair(folder: Path) -> Path:
    write_eventgpt(folder / "eventgpt")
    write_video_llava(folder / "video-llava")
    path = folder / "pair.yaml"
    path.write_text("target: {model: video-llava}\ndrafter: {model: eventgpt}\n")
    return path


def _scene(folder: Path) -> str:
    """Events and video of the same made-up drive, as two files."""
    made = MadeScene()
    write_npz(made.events(), folder / "drive.npz")
    write_mp4(folder / "drive.mp4", made.video_frames(16).frames)
    return f"{folder / 'drive.npz'},{folder / 'drive.mp4'}"
