"""A checkpoint that is not whole or not fit ends the command: exit code 2, advice, no files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.run import crossdraft
from tests.vlm.checkpoint_folder import bert_config, contents, write_checkpoint


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, ("trap",))


def bad_checkpoint(name: str, folder: Path) -> None:
    match name:
        case "truncated":
            path = write_checkpoint(folder) / "model.safetensors"
            os.truncate(path, 50_000)
        case "missing-shard":
            write_checkpoint(folder, shards=3)
            (folder / "model-00002-of-00004.safetensors").unlink()
        case "architecture":
            write_checkpoint(folder, "BertForMaskedLM", bert_config())
        case "pickle":
            (write_checkpoint(folder) / "model.safetensors").unlink()
            torch.save({"lm_head.weight": Evil()}, folder / "pytorch_model.bin")


CASES = {
    "truncated": (
        "model.safetensors: the file is cut: 50,000 bytes are there, its header promises",
        "download or copy it again",
    ),
    "missing-shard": (
        "model: model-00002-of-00004.safetensors missing: 3 of 4 weight files are there",
        "download or copy it again",
    ),
    "architecture": (
        "config.json: BertForMaskedLM, a masked language model",
        "take a video language model",
    ),
    "pickle": (
        "model: weights as pickles only, refused unopened: pytorch_model.bin",
        "safetensors.torch.save_file",
    ),
    "none": ("model: no such folder", "check the path"),
}


@pytest.mark.parametrize("name", CASES)
def test_verify_cost_refuses(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSDRAFT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    bad_checkpoint(name, tmp_path / "model")
    before = contents(tmp_path)
    done = crossdraft("bench", "verify-cost", "--model", "model", "--device", "cpu", cwd=tmp_path)
    message, advice = CASES[name]
    assert done.returncode == 2, done.stderr
    assert message in done.stderr and advice in done.stderr
    assert "Traceback" not in done.stderr and not done.stdout
    assert contents(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"model"}
