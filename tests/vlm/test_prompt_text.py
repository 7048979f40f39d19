"""Files of a tokenizer: whole, or refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.vlm.prompt_text import load_tokenizer
from tests.vlm.video_llava_folder import write_video_llava

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video_llava(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("whole", [True, False], ids=["pointer", "cut"])
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
)
def test_a_damaged_file_is_named(name: str, whole: bool, folder: Path) -> None:
    path = folder / name
    content = path.read_text()
    path.write_text(POINTER if whole else content[: len(content) // 2])
    try:
        with pytest.raises(InputError) as raised:
            load_tokenizer(folder)
    finally:
        path.write_text(content)
    assert raised.value.where == path
    assert raised.value.found.startswith("a Git LFS pointer" if whole else "not valid JSON")
    assert load_tokenizer(folder) is not None


def test_a_pointer_to_a_sentencepiece_model(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_text(POINTER)
    with pytest.raises(InputError, match=r"tokenizer\.model: a Git LFS pointer"):
        load_tokenizer(tmp_path)
