"""Checkpoints rebuild what was saved and refuse everything else with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from crossdraft.base.errors import InputError
from crossdraft.decoding.arrival import RecordedStream
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.checkpoint import (
    TrainedOn,
    clip_digest,
    is_trainable,
    load_drafter,
    save_drafter,
    trainable_class,
)
from crossdraft.drafters.registry import REGISTRY
from tests.make import QUESTION, recorded_pairs
from tests.tiny import built

TRAINABLE = [name for name in REGISTRY if is_trainable(name)]
PAIRS = recorded_pairs(12, drives=3)


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_saved_drafter_proposes_the_same(name: str, tmp_path: Path) -> None:
    drafter = built(name, PAIRS)
    save_drafter(drafter, tmp_path / "best_model.safetensors", TrainedOn.of(PAIRS, "1s"))
    loaded = load_drafter(tmp_path)
    assert type(loaded.drafter) is type(drafter)
    assert loaded.drafter.config == drafter.config
    trees = []
    for one in (drafter, loaded.drafter):
        one.begin(Context(QUESTION, RecordedStream(PAIRS[0].draft_tokens)))
        trees.append(one.propose([5, 6], Budget.tree(12, 4)))
    assert trees[0].tokens.tolist() == trees[1].tokens.tolist()
    assert trees[0].logq.tolist() == trees[1].logq.tolist()
    assert loaded.trained_on is not None
    assert loaded.trained_on.task == "1s"
    assert loaded.trained_on.drives == ("drive_00", "drive_01", "drive_02")
    assert clip_digest(PAIRS[3].clip) in loaded.trained_on.clips
    assert clip_digest("another") not in loaded.trained_on.clips


@pytest.mark.parametrize("name", TRAINABLE)
def test_saving_twice_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    drafter = built(name, PAIRS)
    for file in ("a.safetensors", "b.safetensors"):
        save_drafter(drafter, tmp_path / file)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_cut_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_drafter(built("token-adapter", PAIRS), path)
    whole = path.read_bytes()
    for length in (0, 5, 60, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"m\.safetensors"):
            load_drafter(path)


def test_strangers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    weights = {"a": torch.zeros(2)}
    save_file(weights, path)
    with pytest.raises(InputError, match="its format is None"):
        load_drafter(path)
    about = {"format": "crossdraft.drafter/1", "drafter": "token-adapter"}
    outside = {"config": {}, "vocab_size": 5, "rows": {"inputs": [0, 9], "outputs": [1]}}
    nonsense: list[dict[str, Any]] = [
        {}, {"about": {}, "trained_on": None}, {"about": [], "trained_on": 3}, {"about": outside},
    ]  # fmt: skip
    for described in nonsense:
        stored = {"embedding.weight": torch.zeros(5, 512)}
        save_file(stored, path, metadata={"crossdraft": json.dumps({**about, **described})})
        with pytest.raises(InputError, match="damaged checkpoint"):
            load_drafter(path)
    save_file(weights, path, metadata={"crossdraft": "[1"})
    with pytest.raises(InputError, match="not a readable tensor file"):
        load_drafter(path)
    with pytest.raises(InputError, match="no such file"):
        load_drafter(tmp_path / "absent.safetensors")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no checkpoint in this folder"):
        load_drafter(tmp_path / "empty")


def test_a_file_of_another_kind_is_told_without_the_words_of_torch(tmp_path: Path) -> None:
    kinds = {"drive.npz": "an archive without tensors of torch", "notes.txt": "neither", "a.h5": ""}
    np.savez(tmp_path / "drive.npz", x=np.arange(4))
    (tmp_path / "notes.txt").write_text("hello there")
    (tmp_path / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    for name, kind in kinds.items():
        with pytest.raises(InputError, match=rf"not a readable tensor file \({kind}") as caught:
            load_drafter(tmp_path / name)
        assert caught.value.where == tmp_path / name
        assert str(caught.value.expected).startswith("a checkpoint written by crossdraft train")
        for word in ("enforce", "inline_container", "Error", "PyTorch", "weights_only"):
            assert word not in str(caught.value)


def test_what_can_be_trained() -> None:
    assert is_trainable("token-adapter")
    assert not is_trainable("suffix")
    assert not is_trainable("telepathy")
    with pytest.raises(InputError, match="no drafter with a network"):
        trainable_class("suffix")
