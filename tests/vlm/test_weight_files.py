"""Weight files of a folder: missing, mixed up, or in a format that is not read."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.vlm.weight_files import INDEX, SINGLE, weight_files
from tests.fuzz import anything, places, put
from tests.vlm.checkpoint_folder import (
    change_json,
    contents,
    put_together,
    take_apart,
    write_checkpoint,
)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in several files."""
    return write_checkpoint(tmp_path_factory.mktemp("sharded"), shards=3)


@pytest.fixture
def folder(sharded: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return shutil.copytree(sharded, tmp_path / "model")


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("model-*.safetensors"))


def weight_map(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / INDEX).read_text())
    mapped: dict[str, Any] = document["weight_map"]
    return mapped


def refused(folder: Path, message: str) -> str:
    """The whole message of the refusal, which must leave the folder as it was."""
    before = contents(folder)
    with pytest.raises(InputError, match=message) as raised:
        weight_files(folder)
    assert contents(folder) == before
    return str(raised.value)


def test_reads_every_shard(folder: Path) -> None:
    files = weight_files(folder)
    assert [file.path for file in files] == shards(folder) and len(files) > 2
    assert {name for file in files for name in file.tensors} == set(weight_map(folder))


def test_the_single_file_counts_where_both_are_there(folder: Path, tmp_path: Path) -> None:
    """transformers reads it then, whatever the index says."""
    (folder / SINGLE).write_bytes(shards(folder)[0].read_bytes())
    assert [file.path.name for file in weight_files(folder)] == [SINGLE]


def test_missing_shards(folder: Path) -> None:
    files = shards(folder)
    files[1].unlink()
    message = refused(folder, f"{files[1].name} missing: {len(files) - 1} of {len(files)} weight")
    assert "every file that model.safetensors.index.json names" in message
    for file in files:
        file.unlink(missing_ok=True)
    refused(folder, f" missing: 0 of {len(files)} weight files are there")


def test_a_cut_shard(folder: Path) -> None:
    file = shards(folder)[2]
    file.write_bytes(file.read_bytes()[:-1])
    assert file.name in refused(folder, "the file is cut")


def test_a_folder_in_place_of_a_shard(folder: Path) -> None:
    file = shards(folder)[0]
    file.unlink()
    file.mkdir()
    assert file.name in refused(folder, "this is a folder")


def test_an_index_without_its_files_tensors(folder: Path) -> None:
    header, tensors = take_apart(shards(folder)[0])
    renamed = {f"x.{name}" if name != "__metadata__" else name: e for name, e in header.items()}
    put_together(shards(folder)[0], renamed, tensors)
    count = len(header) - ("__metadata__" in header)
    refused(folder, f"{count} of {len(weight_map(folder))} tensors not in the file that")


def test_a_tensor_in_two_files(folder: Path) -> None:
    one, two = shards(folder)[:2]
    # The second shard holds all that it should and, besides, what the first holds.
    header, tensors = take_apart(two)
    more, behind = take_apart(one)
    for name, entry in more.items():
        if name != "__metadata__":
            offsets = [len(tensors) + offset for offset in entry["data_offsets"]]
            header[name] = entry | {"data_offsets": offsets}
    put_together(two, header, tensors + behind)
    assert one.name in refused(folder, "is there, and in .* too")


@pytest.mark.parametrize(
    "name", ["../model.safetensors", "/etc/passwd", "weights.bin", "", 3, None, "a\\b.safetensors"]
)
def test_an_index_that_leads_elsewhere(name: Any, folder: Path) -> None:
    tensor = min(weight_map(folder))
    change_json(folder / INDEX, weight_map={**weight_map(folder), tensor: name})
    refused(folder, f"the index: weight_map sends '{tensor}' to")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON in line 1"),
        ("[]", "the index: is a list"),
        ("{}", "the index: has no weight_map"),
        ('{"weight_map": {}}', "the index: has no weight_map"),
        ("", "the file is empty"),
        ("version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
    ],
)
def test_a_broken_index(text: str, message: str, folder: Path) -> None:
    (folder / INDEX).write_text(text)
    assert INDEX in refused(folder, message)


def test_shards_without_their_index(folder: Path) -> None:
    (folder / INDEX).unlink()
    refused(folder, "model.safetensors.index.json is missing beside model-00001")


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, ("trap",))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "consolidated.00.pth", SINGLE, "model.ckpt"]
)
def test_pickles_are_refused_unopened(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in ("zip", "bare"):
        folder = tmp_path / kind
        folder.mkdir()
        state = {"lm_head.weight": Evil()}
        if kind == "zip":
            torch.save(state, folder / name)
        else:
            (folder / name).write_bytes(pickle.dumps(state))
        message = refused(folder, "refused unopened")
        assert name in message and "safetensors.torch.save_file" in message
    assert not list(tmp_path.rglob("trap"))


def test_the_trap_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the test before proves nothing."""
    monkeypatch.chdir(tmp_path)
    torch.save({"lm_head.weight": Evil()}, tmp_path / "evil.bin")
    torch.load(tmp_path / "evil.bin", weights_only=False)
    assert (tmp_path / "trap").is_dir()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "an empty folder"),
        (["README.md", "training_args.bin", "optimizer.pt"], "no weights among README.md"),
        (["model.gguf"], "weights as GGUF only: model.gguf"),
        (["adapter_config.json", "adapter_model.safetensors"], "an adapter"),
        (["adapter_config.json", SINGLE], "an adapter"),
        (["shard-00000-model-00001-of-00001.safetensors", SINGLE], "a distributed training"),
        (["__0_0.distcp", ".metadata"], "a distributed training checkpoint"),
    ],
)
def test_folders_without_weights(names: list[str], message: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    refused(tmp_path, message)


def test_a_file_without_tensors(tmp_path: Path) -> None:
    put_together(tmp_path / SINGLE, {"__metadata__": {"format": "pt"}}, b"")
    refused(tmp_path, "the file holds no tensors")


@settings(max_examples=150)
@given(data=st.data())
def test_any_json_in_an_index(
    data: st.DataObject, sharded: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    document = json.loads((sharded / INDEX).read_text())
    changed = put(document, data.draw(st.sampled_from(places(document))), data.draw(anything))
    folder = tmp_path_factory.getbasetemp() / "any-index"
    if not folder.exists():
        shutil.copytree(sharded, folder)
    (folder / INDEX).write_text(json.dumps(changed))
    try:
        weight_files(folder)
    except InputError as error:
        str(error).encode()
