"""The seed study's checkpoints of the ladder: {"model_state_dict", "config", "adapter_type", ...}.

`adapter_type` names the level; L1 has none. B1 is saved as L5, so the folder decides. Its EAGLE
fusion was never trained: there are no files of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.drafters.ladder.attention import AttentionDrafter
from crossdraft.drafters.ladder.bottleneck import (
    BottleneckDrafter,
    MultiBottleneckDrafter,
    WideBottleneckDrafter,
)
from crossdraft.drafters.ladder.drafting import LadderDrafter
from crossdraft.drafters.ladder.eagle import EagleDrafter, FusedEagleDrafter, TargetEagleDrafter
from crossdraft.drafters.ladder.inputs import Widths

_LEVELS: dict[str, type[LadderDrafter]] = {
    f"{kind.level}_{kind.seed_name}": kind
    for kind in (
        MultiBottleneckDrafter,
        WideBottleneckDrafter,
        AttentionDrafter,
        EagleDrafter,
        FusedEagleDrafter,
    )
}
#: A tensor of L1, the level whose files name none.
_OF_L1 = "layers.0.down_proj.weight"
#: As wide as a state, one of them in every level.
_NORMS = ("final_norm.weight", "output_norm.weight", "output_proj.0.weight")
#: What a tensor says about a size: name, and which of its axes.
_SIZES = {
    "bottleneck_dim": (("layers.0.down_proj.weight", "blocks.0.down_proj.weight",
                        "blocks.0.0.weight"), 0),
    "ffn_dim": (("layers.0.ffn.0.weight",), 0),
    "max_seq_len": (("pos_embed",), 1),
}  # fmt: skip


def is_ladder(content: Mapping[str, Any], state: Mapping[str, Tensor]) -> bool:
    """Whether a file is a level's, by its kind or by its tensors."""
    return "adapter_type" in content or _OF_L1 in state


def of_b1(path: Path) -> bool:
    """Whether a file lies where the seed study put B1: in a folder `B1` or `B1_...`, or beside a
    `config.json` that says `vlm_only`."""
    folder = path.resolve().parent
    if any(re.fullmatch(r"B1(_.*)?", name) for name in folder.parts):
        return True
    try:
        about = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("vlm_only") is True


def ladder_from_seed(
    content: Mapping[str, Any], state: Mapping[str, Tensor], *, vlm_only: bool
) -> LadderDrafter:
    """Rebuild a level.

    Sizes are read off the tensors, but for the number of attention heads, which only the file's
    config knows. It was trained by the seed study's loss, on the event model's own states.

    Args:
        content: the file.
        state: its `model_state_dict`.
        vlm_only: a network of L5 is B1.

    Raises:
        InputError: a level that we do not know, or tensors of another network.
    """
    kind = _kind(content, vlm_only)
    norms = [len(state[name]) for name in _NORMS if name in state and state[name].dim() == 1]
    if not norms:
        raise InputError(f"not the tensors of {kind.level}")
    known = {field.name for field in fields(kind.Config)}
    options: dict[str, Any] = {"loss": "seed", **_sizes(state)}
    if "num_heads" in known:
        options["num_heads"] = _number(content.get("config"), "num_heads", 8)
    for name, prefix in (("num_blocks", "(?:layers|blocks)"), ("num_layers", "layers")):
        options[name] = len({m[1] for key in state if (m := re.match(rf"{prefix}\.(\d+)\.", key))})
    config = kind.config_from({name: value for name, value in options.items() if name in known})
    drafter = kind(config)
    # No head of its own: the target's says how many tokens there are.
    drafter.fill(Widths(norms[0], norms[0], 0, 0), state)
    return drafter


def _kind(content: Mapping[str, Any], vlm_only: bool) -> type[LadderDrafter]:
    level = content.get("adapter_type")
    if level is None:
        return BottleneckDrafter
    if level not in _LEVELS:
        raise InputError(f"its adapter_type is {level!r}", expected=", ".join(_LEVELS))
    kind = _LEVELS[level]
    return TargetEagleDrafter if vlm_only and kind is EagleDrafter else kind


def _sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    return {
        size: state[name].shape[axis]
        for size, (names, axis) in _SIZES.items()
        for name in names
        if name in state and state[name].dim() > axis
    }


def _number(config: Any, name: str, default: int) -> int:
    value = config.get(name, default) if isinstance(config, Mapping) else default
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"its {name} is {value!r}", expected="a whole number")
    return value
