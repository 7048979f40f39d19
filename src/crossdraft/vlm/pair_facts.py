"""What can be known of a pair without loading a weight: where its models are, what they will need.

What is missing or wrong is a fact like the others, so that one look shows all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossdraft.base.errors import InputError
from crossdraft.scenes.questions import DEFAULT_QUESTIONS
from crossdraft.vlm.model_spec import EVENT_KEYS, ROLES, ModelSpec, Role
from crossdraft.vlm.pair import ModelPair

if TYPE_CHECKING:
    import torch

    from crossdraft.vlm.memory import MemoryEstimate

QUESTION = DEFAULT_QUESTIONS[0].text
Facts = dict[str, Any]


def describe(pair: ModelPair) -> Facts:
    """Facts about a pair, as plain JSON.

    Returns:
        `name`, `load` and `where` of the pair; under `target` and `drafter` what is known of the
        model, with what is wrong under `problems`; under `both` what the two need, where they go
        onto the same devices; under `vocabulary` how much of the drafter's the
        target has, where both tokenizers are there.
    """
    facts: Facts = {"name": pair.name, "load": pair.load, "where": str(pair.where)}
    target, drafter = (_Described(pair.spec(role), role) for role in ROLES)
    return {
        **facts,
        "target": target.facts,
        "drafter": drafter.facts,
        "both": _both(target, drafter, pair.load),
        "vocabulary": _vocabulary(drafter, target),
    }


class _Described:
    """Facts about one model, gathered step by step; a step that fails leaves its problem."""

    def __init__(self, spec: ModelSpec, role: Role) -> None:
        self._spec, self._role = spec, role
        self.tokenizer: Any | None = None
        self.needed: MemoryEstimate | None = None
        self.devices: Sequence[torch.device] = ()
        self._packed = False
        self.facts: Facts = {
            "model": spec.model,
            "folder": None,
            "dtype": spec.dtype,
            "device": spec.device,
            "problems": [],
        }
        with self._noting():
            place = spec.place(role)
            self.facts["folder"] = str(place)
            for step in (self._checkpoint, self._memory, self._prompt):
                with self._noting():
                    step(place)

    @contextmanager
    def _noting(self) -> Iterator[None]:
        try:
            yield
        except InputError as error:
            self.facts["problems"].append(
                {
                    "found": error.found,
                    "where": None if error.where is None else str(error.where),
                    "expected": error.expected,
                    "hint": error.hint,
                }
            )

    def _checkpoint(self, place: Path) -> None:
        from crossdraft.vlm.checkpoint import inspect
        from crossdraft.vlm.model_config import model_config

        checkpoint = inspect(place)
        self._packed = checkpoint.quantised
        self.facts |= {
            "architecture": checkpoint.architectures[0],
            "parameters": checkpoint.parameters,
            "stored_bytes": dict(checkpoint.bytes_by_dtype),
            "vocab": int(model_config(place).get_text_config(decoder=True).vocab_size),
        }

    def _memory(self, place: Path) -> None:
        if "architecture" not in self.facts:
            return  # what is wrong was said
        from crossdraft.vlm.loading import estimate_target
        from crossdraft.vlm.placement import Placement

        needed = estimate_target(place, dtype=self._spec.dtype, device=self._spec.device)
        devices = Placement.parse(self._spec.device).devices
        self._refuse_unfilled(place, needed)
        self.needed, self.devices = needed, devices
        self.facts["memory"] = {
            "precision": needed.precision,
            "total_bytes": needed.total,
            "weights_bytes": needed.weights,
            "cache_bytes": needed.cache,
            "working_bytes": needed.working,
            "tokens": needed.tokens,
            "devices": [str(device) for device in devices],
            **_room([needed], devices),
        }

    def _refuse_unfilled(self, place: Path, needed: MemoryEstimate) -> None:
        """Whoever loads the weights compares their names; too few of them show here already."""
        stored = self.facts["parameters"]
        if needed.parameters <= stored or self._packed or self._spec.tower is not None:
            return
        raise InputError(
            f"the weight files hold {stored:,} parameters, and config.json describes a model of "
            f"{needed.parameters:,}",
            where=place,
            expected="configuration and weights of the same model, all of it",
            hint="take config.json and all weight files from one place",
        )

    def _prompt(self, place: Path) -> None:
        from crossdraft.vlm.config_file import read_config
        from crossdraft.vlm.image_text import picture_ids
        from crossdraft.vlm.model_config import model_config
        from crossdraft.vlm.pair_models import options_of, prompts_of

        architectures = read_config(place)[1]
        options = options_of(self._spec, self._role, architectures)
        if (builder := prompts_of(place, architectures, options)) is None:
            return
        self.facts |= {
            "template": getattr(builder, "template", builder.name),
            "frames": builder.frames,
            "pixels": list(builder.settings.crop),
        }
        if (render := getattr(builder, "render", None)) is not None:
            self.facts |= {key: getattr(render, key) for key in EVENT_KEYS}
        self.tokenizer = builder.tokenizer
        if self.tokenizer is None:
            return
        ids = builder(np.zeros((builder.frames, 1, 1, 3), np.uint8), QUESTION).ids
        text = _readable(ids, picture_ids(model_config(place)), self.tokenizer.decode)
        self.facts["prompt"] = {"text": text, "tokens": len(ids)}


def _both(target: _Described, drafter: _Described, load: str) -> Facts | None:
    """What the two models need of the same devices; None where they go onto others."""
    if target.needed is None or drafter.needed is None or target.devices != drafter.devices:
        return None
    held = [target.needed, drafter.needed]
    if load == "in_turn":
        held = [max(held, key=lambda one: one.total)]
    return {"total_bytes": sum(one.total for one in held), **_room(held, target.devices)}


def _room(held: Sequence[MemoryEstimate], devices: Sequence[torch.device]) -> Facts:
    """What is free, and what would fit where these do not."""
    from crossdraft.vlm.free_memory import advice, free_bytes

    free = free_bytes(devices)
    fits = free is None or sum(one.total for one in held) <= free
    return {"free_bytes": free, "advice": None if fits else advice(held, devices, free or 0)}


def _readable(
    ids: tuple[int, ...], slots: frozenset[int], decode: Callable[[list[int]], str]
) -> str:
    """A prompt's text, its slots counted."""
    parts = [(slot, list(run)) for slot, run in groupby(ids, key=slots.__contains__)]
    return "".join(f"[{len(run):,} slots]" if slot else decode(run) for slot, run in parts)


def _vocabulary(drafter: _Described, target: _Described) -> Facts | None:
    """What share of the drafter's ids the target has; None where it cannot be told."""
    tokenizers = [side.tokenizer for side in (drafter, target)]
    sizes: list[Any] = [side.facts.get("vocab") for side in (drafter, target)]
    if None in tokenizers or None in sizes:
        return None
    from crossdraft.vlm.tokenizer_bridge import TokenizerBridge

    try:
        bridge = TokenizerBridge(*tokenizers, source_vocab=sizes[0], target_vocab=sizes[1])
    except InputError:  # pieces of a kind that cannot be compared
        return None
    return {"identical": bridge.identical, **asdict(bridge.shares)}
