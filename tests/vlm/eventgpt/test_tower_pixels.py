"""How a checkpoint wants its frames: its own word, its tower's, or the published one's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdraft.base.errors import InputError
from crossdraft.vlm.eventgpt.processing import EventGPTPrompts
from crossdraft.vlm.pixel_settings import PixelSettings
from tests.vlm.eventgpt_folder import write_eventgpt
from tests.vlm.video_llava_folder import IMAGE_SIZE

SIZE = PixelSettings(IMAGE_SIZE, (IMAGE_SIZE, IMAGE_SIZE))


def _pixel_file(folder: Path, mean: float, **other: Any) -> None:
    values = {"crop_size": IMAGE_SIZE, "size": IMAGE_SIZE, "image_mean": [mean] * 3, **other}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))


def _configure(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_settings_of_the_checkpoint_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_eventgpt(tmp_path / "e")
    assert EventGPTPrompts.from_folder(folder).settings == SIZE
    _pixel_file(folder / "clip", 0.1)
    assert EventGPTPrompts.from_folder(folder).settings.mean == (0.1,) * 3
    _pixel_file(folder, 0.2)
    assert EventGPTPrompts.from_folder(folder).settings.mean == (0.2,) * 3
    # A tower beside the working directory.
    elsewhere = write_eventgpt(tmp_path / "f")
    _configure(elsewhere, mm_visual_tower="towers/clip")
    (tmp_path / "towers").mkdir()
    (elsewhere / "clip").rename(tmp_path / "towers" / "clip")
    _pixel_file(tmp_path / "towers" / "clip", 0.3)
    monkeypatch.chdir(tmp_path)
    assert EventGPTPrompts.from_folder(elsewhere).settings.mean == (0.3,) * 3


def test_without_a_tower_the_published_one_counts(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e")
    _configure(folder, mm_visual_tower="/data/authors/clip-vit", tokenizer_model_max_length=800)
    prompts = EventGPTPrompts.from_folder(folder, frames=1)
    assert prompts.settings == PixelSettings(336, (336, 336))
    assert prompts.slots == 1 + 577


@pytest.mark.parametrize("damage", ["missing", "half", "other-size", "other-model"])
def test_a_damaged_folder_is_refused(tmp_path: Path, damage: str) -> None:
    folder = write_eventgpt(tmp_path / "e")
    path = folder / "clip" / "preprocessor_config.json"
    found = {
        "missing": "no preprocessor_config.json, and a tower for 28 pixels",
        "half": "not valid JSON",
        "other-size": "frames are cut to 56x56 pixels",
        "other-model": "a checkpoint of LlamaForCausalLM",
    }[damage]
    if damage == "missing":
        path.unlink()
    elif damage == "half":
        path.write_text('{"size": ')
    elif damage == "other-size":
        _pixel_file(folder, 0.5, crop_size=56)
    else:
        _configure(folder, architectures=["LlamaForCausalLM"])
    with pytest.raises(InputError, match=found) as refused:
        EventGPTPrompts.from_folder(folder)
    assert str(folder) in str(refused.value)
