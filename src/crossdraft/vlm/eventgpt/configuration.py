"""EventGPT's configuration: Llama's fields at the top, the vision tower's beside them.

The published config.json names the tower's folder instead of describing it, by a path that holds on
the authors' machine. Where that folder is not found, the tower is the published one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, CLIPVisionConfig, LlamaConfig

from crossdraft.base.errors import InputError
from crossdraft.vlm.config_file import read_json
from crossdraft.vlm.hub_cache import find

#: `architectures` and `model_type` of the published config.json.
ARCHITECTURE, MODEL_TYPE = "EventChatModel", "EventChat_llama"
#: What config.json may name: as published, and as `save_pretrained` writes it.
ARCHITECTURES = (ARCHITECTURE, "EventGPTForConditionalGeneration")
#: Event frames that the model reads.
FRAMES = 5
#: CLIP ViT-L/14 at 336 pixels, the tower of the published checkpoint.
PUBLISHED_TOWER: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}


class EventGPTConfig(LlamaConfig):  # type: ignore[no-untyped-call]
    """Configuration of `EventGPTForConditionalGeneration`.

    Attributes:
        vision_config: of the CLIP tower; the published one by default.
        mm_visual_tower: where the tower came from, as the published config.json says.
        event_token_index: id of a prompt's event slots. It is no row of the embeddings.
        tokenizer_model_max_length: ids that a prompt may have, slots expanded.
    """

    model_type = MODEL_TYPE
    sub_configs = {"vision_config": CLIPVisionConfig}  # noqa: RUF012 - as transformers has it

    vision_config: dict[str, Any] | CLIPVisionConfig | None = None
    mm_visual_tower: str | None = None
    event_token_index: int = -200
    tokenizer_model_max_length: int = 2048

    def __post_init__(self, **kwargs: Any) -> None:
        vision = PUBLISHED_TOWER if self.vision_config is None else self.vision_config
        if not isinstance(vision, CLIPVisionConfig):
            vision = CLIPVisionConfig(**vision)
        self.vision_config = vision
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """config.json with the tower's configuration beside it, when this class reads it."""
        values, unused = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        return _with_tower(values, pretrained_model_name_or_path), unused

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """The same where `AutoConfig` has read it."""
        folder = kwargs.get("name_or_path") or config_dict.get("_name_or_path")
        return super().from_dict(_with_tower(config_dict, folder), **kwargs)


def _with_tower(values: dict[str, Any], folder: Any) -> dict[str, Any]:
    """Fields of config.json, with those of the tower that it names."""
    tower = None
    if values.get("vision_config") is None and folder:
        tower = tower_folder(values.get("mm_visual_tower"), folder)
    return values if tower is None else {**values, "vision_config": _tower_config(tower)}


def tower_folder(named: Any, folder: Path | str) -> Path | None:
    """The folder that `mm_visual_tower` names, where it is here.

    Args:
        named: a path, relative to the checkpoint or to the working directory, or a hub name.
        folder: of the checkpoint.
    """
    if not isinstance(named, str) or not named:
        return None
    try:
        for place in (Path(folder) / named, Path(named).expanduser()):
            if (place / "config.json").is_file():
                return place
        return find(named)
    except (InputError, OSError, RuntimeError, ValueError):
        return None  # a path of another machine may be anything here


def _tower_config(folder: Path) -> dict[str, Any]:
    """Fields of a CLIP vision tower, or of the vision half of a whole CLIP."""
    path = folder / "config.json"
    item = read_json(path, "the tower's configuration")
    values = item.mapping("vision_config") or dict(item.value)
    values.pop("architectures", None)
    return values


AutoConfig.register(MODEL_TYPE, EventGPTConfig, exist_ok=True)
