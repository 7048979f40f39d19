"""`crossdraft lm-head`: what it writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from crossdraft.base.errors import InputError
from crossdraft.cli.app import app
from crossdraft.vlm.lm_head import lm_head_of, read_lm_head
from tests.cli.run import crossdraft
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import write_video_llava


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with both models under the names of the shipped pair."""
    write_video_llava(tmp_path / "LanguageBind" / "Video-LLaVA-7B-hf", dtype=torch.bfloat16)
    write_eventgpt(tmp_path / "EventGPT-7b")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["lm-head", *arguments], catch_exceptions=False)


def test_the_targets_head_as_it_is_stored(folder: Path) -> None:
    done = crossdraft("lm-head", "--out", "head.safetensors", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    head = lm_head_of("LanguageBind/Video-LLaVA-7B-hf")
    rows = [head.facts.vocab, head.facts.hidden]
    for said in (
        f"lm_head.weight      bfloat16  {rows}",
        f"final_norm.weight   bfloat16  {rows[1:]}",
        f"embed_tokens.weight bfloat16  {rows}",
        f"ids below {head.facts.draftable:,} may be drafted",
    ):
        assert said in done.stdout
    kept = read_lm_head(folder / "head.safetensors")
    assert kept.facts == head.facts
    assert torch.equal(kept.weight, head.weight)


def test_json_another_dtype_and_the_other_model(folder: Path) -> None:
    done = called(
        "--out", "h.safetensors", "--dtype", "fp32", "--of", "drafter", "--json", "--set",
        "name=mine",
    )  # fmt: skip
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert (result["command"], result["out"]) == ("lm-head", "h.safetensors")
    assert result["config"]["pair"]["name"] == "mine"
    assert result["facts"]["architecture"] == "EventChatModel"
    tensors = load_file(folder / "h.safetensors")
    assert {name: list(t.shape) for name, t in tensors.items()} == {
        name: about["shape"] for name, about in result["tensors"].items()
    }
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}


def test_a_file_is_replaced_only_when_asked(folder: Path) -> None:
    path = folder / "head.safetensors"
    path.write_text("mine")
    with pytest.raises(InputError, match="--force replaces it"):
        called("--out", "head.safetensors")
    assert path.read_text() == "mine"
    assert called("--out", "head.safetensors", "--force").exit_code == 0
    assert read_lm_head(path).facts.tied is False


@pytest.mark.parametrize(
    "out", ["model/model.safetensors", "model/new.safetensors", "link/new.safetensors",
            "model/deep/new.safetensors", "stored.safetensors"],
)  # fmt: skip
def test_the_model_that_is_read_is_never_written(tmp_path: Path, out: str) -> None:
    model = write_video_llava(tmp_path / "model")
    (model / "deep").mkdir()
    (tmp_path / "link").symlink_to(model)
    if out == "stored.safetensors":  # as the hub's cache keeps files: the folder holds links
        (model / "model.safetensors").rename(tmp_path / out)
        (model / "model.safetensors").symlink_to(tmp_path / out)
    before = (model / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="in the folder of the model"):
        called("--set", f"target.model={model}", "--out", str(tmp_path / out), "--force")
    assert (model / "model.safetensors").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} <= {"model", "link", out}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "head.pt"), "head.pt: a name in .pt"),
        (("--out", "head"), "a name in no suffix"),
        (("--out", "no/head.safetensors"), "no: no such folder"),
        (("--out", "h.safetensors", "--dtype", "nf4"), "--dtype: 'nf4'"),
        (("--out", "h.safetensors", "--dtype", "int4"), "dtype 'int4'"),
        (("--out", "h.safetensors", "--pair", "absent"), "no shipped pair of this name"),
        (("--out", "h.safetensors", "--set", "target.model=absent"), "target.model: absent"),
    ],
)
def test_wrong_calls_write_nothing(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as caught:
        called(*arguments)
    assert said in str(caught.value)
    assert {path.name for path in folder.iterdir()} == {"LanguageBind", "EventGPT-7b"}
