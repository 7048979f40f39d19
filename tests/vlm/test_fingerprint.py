"""Fingerprints of checkpoints: the same for copies, others for whatever reads or says another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from crossdraft.base.errors import InputError
from crossdraft.vlm import fingerprint
from crossdraft.vlm.fingerprint import fingerprint_of
from crossdraft.vlm.safetensors_header import read_header
from tests.vlm.checkpoint_folder import change_json, write_checkpoint
from tests.vlm.eventgpt_folder import write_eventgpt


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a tower's folder in it, and a tokenizer."""
    return write_eventgpt(tmp_path_factory.mktemp("made") / "model")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return shutil.copytree(made, tmp_path / "copy of the model")


def test_copies_and_links_have_one_fingerprint(made: Path, folder: Path, tmp_path: Path) -> None:
    """As in the hub's cache, where files are links to blobs of other names."""
    digits = fingerprint_of(made)
    assert len(digits) == 16 and int(digits, 16) >= 0
    linked = tmp_path / "linked"
    linked.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        (tmp_path / "blobs").mkdir(exist_ok=True)
        blob = tmp_path / "blobs" / str(number)
        path.rename(blob)
        (linked / path.name).symlink_to(blob)
    assert fingerprint_of(linked) == digits


def change_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"][3, 4] += 1
    save_file(tensors, path)


def rename_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["another"] = tensors.pop("lm_head.weight")
    save_file(tensors, path)


def reshape_tensor(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["lm_head.weight"] = tensors["lm_head.weight"].T.contiguous()
    save_file(tensors, path)


def other_config(folder: Path) -> None:
    change_json(folder / "config.json", rms_norm_eps=1e-3)


def other_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({"legacy": False}))


def other_end(folder: Path) -> None:
    (folder / "generation_config.json").write_text('{"eos_token_id": 7}')


def other_pixels(folder: Path) -> None:
    change_json(folder / "clip" / "preprocessor_config.json", image_mean=[0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    "change",
    [
        change_weight, rename_tensor, reshape_tensor, other_config, other_tokenizer, other_end,
        other_pixels,
    ],
)  # fmt: skip
def test_what_changes_the_model_changes_its_fingerprint(
    made: Path, folder: Path, change: Callable[[Path], None]
) -> None:
    change(folder)
    assert fingerprint_of(folder) != fingerprint_of(made)


def test_what_says_nothing_of_the_model_does_not_count(made: Path, folder: Path) -> None:
    (folder / "README.md").write_text("a model")
    (folder / "history.json").write_text("[]")
    (folder / "logs").mkdir()
    (folder / "logs" / "events").write_text("loss 1")
    assert fingerprint_of(folder) == fingerprint_of(made)


def test_weights_in_several_files(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", shards=3)
    digits = fingerprint_of(folder)
    last = sorted(folder.glob("model-*.safetensors"))[-1]
    tensors = load_file(last)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, last)
    assert fingerprint_of(folder) != digits


def test_every_tensor_of_a_large_file_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that was trained alone shows, however small it is beside the rest, and most of the
    file is not read."""
    monkeypatch.setattr(fingerprint, "_STRETCHES", 4)
    monkeypatch.setattr(fingerprint, "_STRETCH_BYTES", 128)
    monkeypatch.setattr(fingerprint, "_TENSOR_BYTES", 64)
    folder = write_checkpoint(tmp_path / "model")
    path = folder / "model.safetensors"
    digits = fingerprint_of(folder)
    whole = load_file(path)
    for name in whole:
        trained = {key: tensor + (key == name) for key, tensor in whole.items()}
        save_file(trained, path, metadata={"format": "pt"})
        assert fingerprint_of(folder) != digits
    save_file(whole, path, metadata={"format": "pt"})
    assert fingerprint_of(folder) == digits
    header = read_header(path)
    stretches = list(fingerprint._stretches(header))
    size = path.stat().st_size
    assert sum(count for _, count in stretches) < size / 10
    assert stretches[0][0] == 0 and stretches[3] == (size - 128, 128)
    assert all(start >= 0 and start + count <= size for start, count in stretches)


def test_a_folder_with_a_tokenizer_alone(made: Path, folder: Path) -> None:
    for path in folder.iterdir():
        if path.name in ("config.json", "model.safetensors"):
            path.unlink()
    alone = fingerprint_of(folder)
    assert alone != fingerprint_of(made)
    other_tokenizer(folder)
    assert fingerprint_of(folder) != alone


def test_what_is_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        fingerprint_of(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="an empty folder"):
        fingerprint_of(tmp_path / "empty")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="the file is cut"):
        fingerprint_of(folder)


def test_a_file_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(fingerprint, "sha256_of", fails)
    with pytest.raises(InputError, match=r"cannot be read \(Permission denied\)"):
        fingerprint_of(folder)


def test_number_formats_differ(tmp_path: Path) -> None:
    one = write_checkpoint(tmp_path / "one")
    other = write_checkpoint(tmp_path / "other", dtype=torch.bfloat16)
    assert fingerprint_of(one) != fingerprint_of(other)
