"""The list of drafters. A new one is one file and one line here."""

from __future__ import annotations

from importlib import import_module

from crossdraft.base.errors import InputError
from crossdraft.drafters.base import Drafter

#: name -> "module:class"; the module is imported when the drafter is asked for.
REGISTRY: dict[str, str] = {
    "none": "crossdraft.drafters.none:NoDrafter",
    "position": "crossdraft.drafters.position:PositionDrafter",
    "suffix": "crossdraft.drafters.suffix:SuffixDrafter",
    "drafter-text": "crossdraft.drafters.drafter_text:DrafterText",
    "token-adapter": "crossdraft.drafters.token_adapter:TokenAdapterDrafter",
    "translator": "crossdraft.drafters.translator:TranslatorDrafter",
    "bottleneck": "crossdraft.drafters.ladder.bottleneck:BottleneckDrafter",
    "multi-bottleneck": "crossdraft.drafters.ladder.bottleneck:MultiBottleneckDrafter",
    "wide-bottleneck": "crossdraft.drafters.ladder.bottleneck:WideBottleneckDrafter",
    "attention": "crossdraft.drafters.ladder.attention:AttentionDrafter",
    "eagle": "crossdraft.drafters.ladder.eagle:EagleDrafter",
    "target-eagle": "crossdraft.drafters.ladder.eagle:TargetEagleDrafter",
    "fused-eagle": "crossdraft.drafters.ladder.eagle:FusedEagleDrafter",
    "eagle-fusion": "crossdraft.drafters.ladder.eagle_fusion:EagleFusionDrafter",
    "crossmodal": "crossdraft.drafters.crossmodal.drafter:CrossmodalDrafter",
    "ensemble": "crossdraft.drafters.ensemble:EnsembleDrafter",
}

#: Levels of the adapter ladder by the numbers that the seed study gave them.
LADDER: dict[str, str] = {
    "bottleneck": "L1",
    "multi-bottleneck": "L2",
    "wide-bottleneck": "L3",
    "attention": "L4",
    "eagle": "L5",
    "target-eagle": "B1",
    "fused-eagle": "L5F",
    "eagle-fusion": "",
}


def part_names(name: str) -> tuple[str, ...]:
    """Registered names that a name joins with `+`: one, or those of an ensemble.

    Raises:
        InputError: no drafter has one of the names, or one stands there twice.
    """
    parts = tuple(name.split("+"))
    for part in parts:
        if part not in REGISTRY:
            raise InputError(f"no drafter is called {part!r}", expected=", ".join(REGISTRY))
    if len(set(parts)) < len(parts):
        raise InputError(f"{name!r} names a drafter twice", expected="different drafters")
    return parts


def create(name: str) -> Drafter:
    """Make a fresh drafter; `suffix+position` makes an ensemble of these.

    Raises:
        InputError: no drafter has this name.
    """
    parts = part_names(name)
    if len(parts) > 1:
        from crossdraft.drafters.ensemble import EnsembleDrafter

        return EnsembleDrafter([create(part) for part in parts], name)
    module, _, class_name = REGISTRY[name].partition(":")
    drafter: Drafter = getattr(import_module(module), class_name)()
    return drafter
