"""The published config.json, whose tower is a path on somebody else's machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, CLIPVisionConfig

from crossdraft.vlm.eventgpt.configuration import EventGPTConfig, tower_folder
from crossdraft.vlm.image_text import picture_ids
from tests.vlm.eventgpt_folder import write_eventgpt


def test_fields_stand_at_the_top_and_the_tower_beside_them(tmp_path: Path) -> None:
    config: Any = _read(write_eventgpt(tmp_path / "e"))
    assert (config.hidden_size, config.num_hidden_layers) == (64, 3)
    assert isinstance(config.vision_config, CLIPVisionConfig)
    assert (config.vision_config.hidden_size, config.vision_config.image_size) == (32, 28)
    assert config.vision_config.hidden_act == "quick_gelu"
    assert config.get_text_config(decoder=True) is config
    assert picture_ids(config) == {-200}


def test_without_the_towers_folder_it_is_the_published_tower(tmp_path: Path) -> None:
    folder = write_eventgpt(tmp_path / "e")
    _change(folder, mm_visual_tower="/home/somebody/clip-vit-large-patch14-336")
    config: Any = _read(folder)
    assert (config.vision_config.hidden_size, config.vision_config.image_size) == (1024, 336)


@pytest.mark.parametrize("whole", [False, True])
def test_the_tower_is_found_beside_the_checkpoint_and_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    folder = write_eventgpt(tmp_path / "e")
    tower = json.loads((folder / "clip" / "config.json").read_text())
    if whole:  # the folder of a whole CLIP, as openai publishes it
        tower = {"model_type": "clip", "architectures": ["CLIPModel"], "vision_config": tower}
    (tmp_path / "elsewhere" / "clip2").mkdir(parents=True)
    (tmp_path / "elsewhere" / "clip2" / "config.json").write_text(json.dumps(tower))
    _change(folder, mm_visual_tower="clip2")
    assert tower_folder("clip2", folder) is None
    monkeypatch.chdir(tmp_path / "elsewhere")
    config: Any = _read(folder)
    assert config.vision_config.image_size == 28
    assert tower_folder("../elsewhere/clip2", folder) is not None


def test_the_configuration_survives_saving(tmp_path: Path) -> None:
    config: Any = _read(write_eventgpt(tmp_path / "e"))
    config.save_pretrained(tmp_path / "saved")
    again: Any = AutoConfig.from_pretrained(tmp_path / "saved", local_files_only=True)
    assert isinstance(again, EventGPTConfig)
    vision: Any = again.vision_config
    assert vision.to_dict() == config.vision_config.to_dict()
    assert again.mm_visual_tower == "clip"


def test_the_tower_beside_the_checkpoint_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_eventgpt(tmp_path / "e")
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert tower_folder("clip", folder) == folder / "clip"


@pytest.mark.parametrize(
    "named",
    [None, "", 7, "no/such", "/no/such/folder", "~nobody/x", "x" * 5000, "a\0b"],
    ids=range(8),
)
def test_a_tower_that_is_nowhere(named: object, tmp_path: Path) -> None:
    assert tower_folder(named, tmp_path) is None


def _read(folder: Path) -> EventGPTConfig:
    config = EventGPTConfig.from_pretrained(folder, local_files_only=True)
    assert isinstance(config, EventGPTConfig)
    return config


def _change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
