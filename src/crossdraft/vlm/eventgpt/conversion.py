"""The published names of EventGPT's weights, and what they are called here.

transformers renames while it loads, and back while it saves: `save_pretrained` writes the published
layout.
"""

from __future__ import annotations

from transformers.conversion_mapping import register_checkpoint_conversion_mapping
from transformers.core_model_loading import WeightRenaming

from crossdraft.vlm.eventgpt.configuration import MODEL_TYPE

#: Published beginning of a name -> beginning of a name here.
RENAMED = {
    "model.visual_tower.visual_tower.vision_model.": "model.vision_tower.",
    "model.visual_projector.0.": "model.projector.linear_1.",
    "model.visual_projector.2.": "model.projector.linear_2.",
    "model.feature_adaptor.": "model.adaptor.",
    "model.embed_tokens.": "model.language_model.embed_tokens.",
    "model.layers.": "model.language_model.layers.",
    "model.norm.": "model.language_model.norm.",
}


def register() -> None:
    """Tell transformers; safe to call again."""
    register_checkpoint_conversion_mapping(
        MODEL_TYPE,
        [
            WeightRenaming(
                source_patterns="^" + published.replace(".", r"\."), target_patterns=ours
            )
            for published, ours in RENAMED.items()
        ],
        overwrite=True,
    )


register()
