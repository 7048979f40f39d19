"""Names of hub models are found in the hub's cache, and nowhere else."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import huggingface_hub
import pytest

from crossdraft.base.errors import InputError
from crossdraft.vlm.checkpoint import inspect
from crossdraft.vlm.hub_cache import download_command, fetch_again, find
from crossdraft.vlm.loading import load_target
from tests.vlm.checkpoint_folder import write_checkpoint
from tests.vlm.video_llava_folder import write_video_llava

NAME, COMMIT = "some-lab/Tiny-Llama.v1", "0" * 40


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; whoever asks the network fails."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def snapshot(cache: Path) -> Path:
    """The folder of a model in a cache, still empty."""
    model = cache / "models--some-lab--Tiny-Llama.v1"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(COMMIT)
    folder = model / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    return folder


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert find(tmp_path) == tmp_path and find(str(tmp_path)) == tmp_path
    assert download_command(tmp_path) is None
    assert fetch_again(tmp_path / "config.json") == "download or copy it again"


def test_no_folder(cache: Path) -> None:
    for name in ("models/deep/llama", "/no/such/folder", "llama", "a b/c", "../x", "a/b:c"):
        with pytest.raises(InputError, match=r"no such folder") as raised:
            find(name)
        assert "hub" not in str(raised.value).partition("expected")[0]
    Path("file").touch()
    with pytest.raises(InputError, match="this is a file"):
        find("file")


@pytest.mark.parametrize("name", [NAME, Path(NAME)], ids=["text", "path"])
def test_a_model_that_was_not_fetched(name: Path | str, cache: Path) -> None:
    with pytest.raises(InputError, match=f"{NAME}: no such folder, and no copy") as raised:
        inspect(name)
    assert f"hf download {NAME}" in str(raised.value)
    assert not cache.exists()


def test_a_model_in_the_cache(cache: Path) -> None:
    folder = write_checkpoint(snapshot(cache))
    assert find(NAME) == folder
    assert inspect(NAME).folder == folder


def test_a_model_fetched_in_part(cache: Path) -> None:
    folder = snapshot(cache)
    with pytest.raises(InputError, match=r"no config\.json") as raised:
        inspect(NAME)
    assert f"hf download {NAME}" in str(raised.value)
    write_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"no weights among config\.json") as raised:
        inspect(NAME)
    assert f"hf download {NAME} model.safetensors" in str(raised.value)


def test_a_shard_that_was_not_fetched(cache: Path) -> None:
    """The hub's own listing of the repository, which names pictures too, does not matter."""
    folder = write_checkpoint(snapshot(cache), shards=3)
    assert len(inspect(NAME).files) > 2
    shard = sorted(folder.glob("model-*.safetensors"))[1]
    blob = cache / "blob"
    shard.rename(blob)
    shard.symlink_to(blob)
    assert len(inspect(NAME).files) > 2, "as the hub links its files"
    blob.unlink()
    with pytest.raises(InputError, match=rf"{shard.name} missing: \d of \d weight files") as raised:
        inspect(NAME)
    assert f"hf download {NAME} {shard.name}" in str(raised.value)


def test_an_index_that_was_not_fetched(cache: Path) -> None:
    folder = write_checkpoint(snapshot(cache), shards=3)
    (folder / "model.safetensors.index.json").unlink()
    with pytest.raises(InputError, match=r"index\.json is missing beside model-00001") as raised:
        inspect(NAME)
    assert f"hf download {NAME} model.safetensors.index.json" in str(raised.value)


def test_small_files_that_were_not_fetched(cache: Path) -> None:
    folder = write_video_llava(snapshot(cache))
    for file in ("tokenizer.json", "preprocessor_config.json"):
        place = folder / file
        content = place.read_bytes()
        place.unlink()
        with pytest.raises(InputError) as raised:
            load_target(NAME)
        assert file in raised.value.found and f"hf download {NAME} {file}" in str(raised.value)
        place.write_bytes(content)


def test_another_revision_is_not_the_model(cache: Path) -> None:
    write_checkpoint(snapshot(cache))
    (cache / "models--some-lab--Tiny-Llama.v1" / "refs" / "main").write_text("1" * 40)
    with pytest.raises(InputError, match="no revision 'main' of this model"):
        find(NAME)


def test_a_model_fetched_by_its_revision(cache: Path) -> None:
    """By a branch or tag, by a pull request, or by a commit, which leaves no reference."""
    folder = snapshot(cache)
    references = cache / "models--some-lab--Tiny-Llama.v1" / "refs"
    (references / "main").rename(references / "v1")
    (references / "refs" / "pr").mkdir(parents=True)
    (references / "refs" / "pr" / "2").write_text(COMMIT)
    for revision in ("v1", "refs/pr/2", COMMIT):
        assert find(f"{NAME}@{revision}") == folder
    with pytest.raises(InputError, match="no config") as raised:
        inspect(f"{NAME}@v1")
    assert f"hf download {NAME} --revision {COMMIT}" in str(raised.value)
    write_checkpoint(folder)
    assert inspect(f"{NAME}@v1").folder == folder
    assert fetch_again(folder / "a.json") == (
        f"run `hf download {NAME} a.json --revision {COMMIT} --force-download`"
    )
    for name in (NAME, f"{NAME}@v2", f"{NAME}@../refs/v1"):
        with pytest.raises(InputError, match="no revision") as raised:
            find(name)
        assert f"{NAME}@refs/pr/2 or {NAME}@v1 or {NAME}@{COMMIT}" in str(raised.value)
    with pytest.raises(InputError, match="hf download other/model --revision v1"):
        find("other/model@v1")


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME"])
def test_where_the_cache_is(variable: str, tmp_path: Path) -> None:
    cache = tmp_path / ("hub" if variable == "HF_HOME" else "")
    folder = snapshot(cache)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    done = subprocess.run(
        [sys.executable, "-c", f"from crossdraft.vlm.hub_cache import find; print(find({NAME!r}))"],
        capture_output=True, text=True, check=False,
        env={**environment, variable: str(tmp_path)},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == (f"{folder}\n", "")
