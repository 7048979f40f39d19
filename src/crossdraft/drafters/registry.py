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
}


def create(name: str) -> Drafter:
    """Make a fresh drafter.

    Raises:
        InputError: no drafter has this name.
    """
    if name not in REGISTRY:
        raise InputError(f"no drafter is called {name!r}", expected=", ".join(REGISTRY))
    module, _, class_name = REGISTRY[name].partition(":")
    drafter: Drafter = getattr(import_module(module), class_name)()
    return drafter
