"""`crossdraft pair show`: what is there, what is missing, what it needs; a file to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from crossdraft.base.errors import InputError
from crossdraft.cli.app import app
from crossdraft.vlm import free_memory
from crossdraft.vlm.checkpoint import inspect
from crossdraft.vlm.pair import ModelPair
from tests.cli.run import crossdraft
from tests.vlm.checkpoint_folder import change_json, write_checkpoint
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.seven_billion import EVENTGPT_KEYS, write_eventgpt_7b, write_video_llava_7b
from tests.vlm.video_llava_folder import write_video_llava


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pair")
    write_video_llava(place / "video", shards=2)
    write_eventgpt(place / "event")
    write_checkpoint(place / "text")
    (place / "pair.yaml").write_text(
        "target: {model: video, dtype: bfloat16, device: cpu, frames: 4}\n"
        "drafter: {model: event, device: cpu, canvas: tight}\n"
    )
    return place


def shown(*arguments: str | Path) -> str:
    called = ["pair", "show", *map(str, arguments)]
    done = CliRunner().invoke(app, called, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def flat(text: str) -> str:
    """Without the breaks of lines."""
    return " ".join(text.split())


def facts_of(*arguments: str | Path) -> Any:
    return json.loads(shown(*arguments, "--json"))


def test_a_whole_pair(folder: Path) -> None:
    text = shown(folder / "pair.yaml")
    assert max(map(len, text.splitlines())) <= 100
    for said in (
        "pair (both in memory)",
        f"VideoLlavaForConditionalGeneration, {inspect(folder / 'video').parameters:,} parameters",
        "stored as F32 (872 kB)",
        "as bfloat16 (weights 353 kB, keys and values for 1,024 tokens",
        "on cpu: it fits",
        "4 video frames of 28x28 pixels, uniform in time",
        '"<s> USER: [20 slots]\\nWhat are the key elements in this scene? ASSISTANT:"',
        "EventChatModel",
        "5 event frames of 28x28 pixels; window last:50ms, canvas tight, overlap last, keep all",
        "USER: <ev_start>[10 slots]<ev_end>\\nWhat are",
        "template official; 201 tokens:",
        "MB together",
        "392 of 392 drafter ids are the same in the target",
    ):
        assert said in flat(text), said
    assert "problem" not in text


def test_facts_as_json(folder: Path) -> None:
    result = facts_of(folder / "pair.yaml", "--set", "target.frames=2", "--set", "load=in_turn")
    assert (result["schema"], result["command"]) == ("crossdraft.result/1", "pair show")
    assert result["config"]["target"]["frames"] == 2
    target, drafter = result["target"], result["drafter"]
    assert (target["frames"], target["template"], target["problems"]) == (2, "video-llava", [])
    memory = target["memory"]
    assert memory["total_bytes"] == (
        memory["weights_bytes"] + memory["cache_bytes"] + memory["working_bytes"]
    )
    assert (memory["precision"], memory["devices"]) == ("bfloat16", ["cpu"])
    assert drafter["memory"]["free_bytes"] > 0
    assert (drafter["window"], drafter["prompt"]["tokens"]) == ("last:50ms", 201)
    assert result["vocabulary"]["same_id"] == result["vocabulary"]["source"] == 392


def test_the_shipped_pair_without_its_models(tmp_path: Path) -> None:
    """As a user finds it: nothing is there, and that is no error."""
    done = crossdraft("pair", "show", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for said in (
        "hf download LanguageBind/Video-LLaVA-7B-hf",
        "drafter.model: EventGPT-7b: no such folder",
        "--set drafter.model=FOLDER",
    ):
        assert said in flat(done.stdout)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_in_a_folder_is_named(folder: Path, tmp_path: Path) -> None:
    broken = write_video_llava(tmp_path / "video", shards=3)
    (broken / "model-00002-of-00003.safetensors").unlink()
    wordless = write_eventgpt(tmp_path / "event", tokenizer=False)
    result = facts_of(
        folder / "pair.yaml", "--set", f"target.model={broken}", "--set",
        f"drafter.model={wordless}",
    )  # fmt: skip
    (problem,) = result["target"]["problems"]
    assert "model-00002-of-00003.safetensors missing" in problem["found"]
    assert result["target"]["prompt"]["tokens"] == 53, "its small files are whole"
    assert result["drafter"]["problems"] == []
    assert "prompt" not in result["drafter"] and result["vocabulary"] is None
    text = shown(folder / "pair.yaml", "--set", f"drafter.model={wordless}")
    assert "template official; no tokenizer here" in flat(text)


def test_choices_that_do_not_fit_are_problems(folder: Path) -> None:
    changes = (
        "drafter.template=video-llava",
        "target.device=cuda:97",
        f"target.model={folder}/text",
    )
    result = facts_of(folder / "pair.yaml", *(word for one in changes for word in ("--set", one)))
    found = [problem["found"] for problem in result["target"]["problems"]]
    assert "device 'cuda:97' cannot be used" in found[0]
    assert "a model of LlamaForCausalLM takes no frames" in found[1]
    (problem,) = result["drafter"]["problems"]
    assert problem["where"] == "drafter.template"
    assert result["drafter"]["memory"]["total_bytes"] > 0


def test_too_little_memory_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def free(size: int) -> None:
        monkeypatch.setattr(free_memory, "available_bytes", lambda _: size)

    free(1_000)
    text = flat(shown(folder / "pair.yaml"))
    assert "1 kB on cpu: too little try: a smaller model" in text
    assert "in_turn" not in text.partition("both ")[2], "neither fits alone"
    free(8_000_000)
    text = flat(shown(folder / "pair.yaml"))
    assert "on cpu: it fits" in text
    assert "too little is free; try: one after the other, load: in_turn (" in text
    text = flat(shown(folder / "pair.yaml", "--set", "load=in_turn"))
    assert "at most, one after the other" in text and "too little" not in text


def test_a_configuration_that_no_model_is_built_from_is_a_problem(
    folder: Path, tmp_path: Path
) -> None:
    place = write_checkpoint(tmp_path / "text")
    change_json(place / "config.json", hidden_act="nonsense")
    result = facts_of(
        folder / "pair.yaml", "--set", f"target.model={place}", "--set", "target.frames=null"
    )
    (problem,) = result["target"]["problems"]
    assert "cannot be loaded as LlamaForCausalLM (KeyError: 'nonsense')" in problem["found"]


def test_too_few_weights_are_a_problem(folder: Path, tmp_path: Path) -> None:
    """Such as a head under the name of the model it was taken from."""
    event = write_eventgpt(tmp_path / "event")
    (event / "model.safetensors").unlink(missing_ok=True)
    for path in event.glob("model*.safetensors*"):
        path.unlink()
    tensors = {"lm_head.weight": torch.zeros(456, 64), "model.norm.weight": torch.ones(64)}
    tensors |= {f"model.layers.{i}.part": torch.zeros(1) for i in range(40)}
    save_file(tensors, event / "model.safetensors")
    result = facts_of(folder / "pair.yaml", "--set", f"drafter.model={event}")
    (problem,) = result["drafter"]["problems"]
    assert "hold 29,288 parameters, and config.json describes a model of 2" in problem["found"]
    assert "memory" not in result["drafter"] and result["both"] is None


@pytest.mark.skipif(not EVENTGPT_KEYS.exists(), reason=f"no list of tensors at {EVENTGPT_KEYS}")
def test_a_pair_of_7b_is_described_from_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_eventgpt_7b(tmp_path / "EventGPT-7b")
    write_video_llava_7b(tmp_path / "LanguageBind" / "Video-LLaVA-7B-hf")
    monkeypatch.setattr(free_memory, "available_bytes", lambda _: 24_000_000_000)
    monkeypatch.chdir(tmp_path)
    text = flat(shown("--set", "target.device=cpu", "--set", "drafter.device=cpu"))
    for said in (
        "7.37 billion parameters",
        "no preprocessor_config.json",
        "EventChatModel, 7.08 billion parameters",
        "5 event frames of 336x336 pixels",
        "(weights 14.2 GB, keys and values for 4,096 tokens 2.15 GB",
        "34.2 GB together: too little is free; try: one after the other, load: in_turn (17.1 GB at "
        "most); or dtype int8",
    ):
        assert said in text, said
    wide = flat(shown("--set", "target.dtype=float32", "--set", "drafter.dtype=float32",
                      "--set", "target.device=cpu", "--set", "drafter.device=cpu"))  # fmt: skip
    assert "in_turn" not in wide, "neither fits alone"
    assert "GB together: too little is free; try: dtype int8 (" in wide
    assert "24 GB on cpu: too little try: dtype bfloat16 (17.1 GB) or int8 (" in wide


def test_a_file_to_start_from(folder: Path, tmp_path: Path) -> None:
    text = shown("eventgpt-videollava", "--yaml", "--set", f"drafter.model={folder / 'event'}")
    path = tmp_path / "own.yaml"
    path.write_text(text)
    pair = ModelPair.read(path)
    assert pair.drafter.model == str(folder / "event")
    assert pair.target == ModelPair.find("eventgpt-videollava").target


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["absent"], "absent: no such file, and no shipped pair of this name"),
        (["--set", "drafter.modle=x"], "did you mean drafter.model?"),
        (["--yaml", "--json"], "both --yaml and --json"),
    ],
)
def test_wrong_calls(arguments: list[str], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        shown(*arguments)
    assert said in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_wrong_file_exits_2(tmp_path: Path) -> None:
    (tmp_path / "pair.yaml").write_text("target: {model: a}\ndrafter: {model: b, windw: all}\n")
    done = crossdraft("pair", "show", "pair.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "did you mean window?" in done.stderr and "Traceback" not in done.stderr
