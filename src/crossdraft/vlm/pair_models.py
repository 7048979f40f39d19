"""The two models of a pair, each loaded when it is first asked for.

    with PairModels(ModelPair.find("eventgpt-videollava")) as models:
        session = models.target.open(scene)

Pairs that are loaded in turn hold one model at a time: asking for one frees the other, once nothing
else refers to it, its sessions included.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.errors import InputError
from crossdraft.vlm.config_file import read_config
from crossdraft.vlm.eventgpt.configuration import ARCHITECTURES as EVENTGPT
from crossdraft.vlm.eventgpt.processing import TEMPLATES, EventGPTPrompts
from crossdraft.vlm.free_memory import refuse_unless_fits
from crossdraft.vlm.hub_cache import find
from crossdraft.vlm.loading import VIDEO_LLAVA, estimate_target, load_target
from crossdraft.vlm.model_spec import OPTION_KEYS, ROLES, ModelSpec, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.placement import Placement
from crossdraft.vlm.prompt_text import has_tokenizer, load_tokenizer
from crossdraft.vlm.target import Target
from crossdraft.vlm.video_llava import VideoLlavaPrompts


class PairModels:
    """Loads a pair's models.

    Args:
        pair: which, and how.
        asked: the models that will be asked for. Those that are in memory together must fit
            together, which is seen to before the first of them is loaded.
    """

    def __init__(self, pair: ModelPair, asked: Sequence[Role] = ROLES) -> None:
        self.pair, self._asked = pair, tuple(asked)
        self._held: dict[Role, Target] = {}

    @property
    def target(self) -> Target:
        """The model that verifies.

        Raises:
            InputError: it is not there, cannot be loaded as the pair says, or does not fit.
        """
        return self._model("target")

    @property
    def drafter(self) -> Target:
        """The model that drafts.

        Raises:
            InputError: as `target`.
        """
        return self._model("drafter")

    def tokenizers(self) -> tuple[Any | None, Any | None]:
        """The drafter's and the target's tokenizer, without their models; None where one has none.

        Raises:
            InputError: a model is not there, or its tokenizer is damaged.
        """
        return (
            tokenizer_of(self.pair.drafter, "drafter"),
            tokenizer_of(self.pair.target, "target"),
        )

    def close(self) -> None:
        """Forget the models, and give their memory back."""
        self._held.clear()
        gc.collect()  # accelerate's hooks, of models over several GPUs, refer back to them
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __enter__(self) -> PairModels:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _model(self, role: Role) -> Target:
        if role not in self._held:
            if self.pair.load == "in_turn":
                self.close()
            elif not self._held:
                self._refuse_too_large_together()
            self._held[role] = _loaded(self.pair.spec(role), role)
        return self._held[role]

    def _refuse_too_large_together(self) -> None:
        """Before either is loaded. What does not fit alone, or is not there, is refused by whoever
        loads it."""
        specs = [(self.pair.spec(role), role) for role in self._asked]
        try:
            placements = [Placement.parse(spec.device) for spec, _ in specs]
            one_device = all(one.single for one in placements) and (
                len({one.first for one in placements}) == 1
            )
            if len(specs) < 2 or not one_device:
                return
            needed = [
                estimate_target(spec.place(role), dtype=spec.dtype, device=spec.device)
                for spec, role in specs
            ]
        except InputError:
            return
        refuse_unless_fits(needed, placements[0].first)


def options_of(spec: ModelSpec, role: Role, architectures: Sequence[str]) -> dict[str, Any]:
    """The pair's choices as the loader of an architecture takes them.

    Args:
        architectures: as the model's config.json names them.

    Raises:
        InputError: a choice that the architecture does not have.
    """
    templates: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    if set(EVENTGPT) & set(architectures):
        templates, taken = tuple(TEMPLATES), OPTION_KEYS
    elif VIDEO_LLAVA in architectures:
        templates, taken = (VideoLlavaPrompts.name,), ("template", "frames")
    for key, value in spec.options.items():
        if key not in taken:
            raise InputError(
                f"{key} is {value!r}, and a model of {architectures[0]} takes no {key}",
                where=f"{role}.{key}",
                expected=f"null, or one of {', '.join(taken)}" if taken else "null",
            )
        if key == "template" and value not in templates:
            raise InputError(
                f"{value!r} for a model of {architectures[0]}",
                where=f"{role}.template",
                expected=" or ".join(templates),
            )
    fixed = len(templates) == 1
    return {key: v for key, v in spec.options.items() if not (fixed and key == "template")}


def prompts_of(
    place: Path, architectures: Sequence[str], options: Mapping[str, Any]
) -> VideoLlavaPrompts | EventGPTPrompts | None:
    """How a model is asked, without its weights; None where prompts come from elsewhere.

    Args:
        options: from `options_of`.

    Raises:
        InputError: a file is missing or damaged, or the choices do not fit the model.
    """
    if set(EVENTGPT) & set(architectures):
        of_prompts = {key: value for key, value in options.items() if key != "tower"}
        return EventGPTPrompts.from_folder(place, **of_prompts)
    if VIDEO_LLAVA in architectures:
        return VideoLlavaPrompts.from_folder(place, **options)
    return None


def tokenizer_of(spec: ModelSpec, role: Role) -> Any | None:
    """The tokenizer of one model, None where it has none.

    Raises:
        InputError: the model is not there, or the tokenizer is damaged.
    """
    if spec.tokenizer is not None:
        return load_tokenizer(find(spec.tokenizer))
    place = spec.place(role)
    return load_tokenizer(place) if has_tokenizer(place) else None


def _loaded(spec: ModelSpec, role: Role) -> Target:
    place = spec.place(role)
    options = options_of(spec, role, read_config(place)[1])
    return load_target(place, dtype=spec.dtype, device=spec.device, **options)
