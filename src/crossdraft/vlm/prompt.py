"""A prompt: one scene and one question as one model reads them.

The whole prompt is tokenised once and cut by index, because halves tokenised apart give other ids.
Its hash travels with every result, so that two numbers can be known to come from the same prompt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import index
from typing import Any, Protocol

from torch import Tensor

from crossdraft.base.errors import InputError

#: Builds what the model reads beside the ids: pixels, grids. Called once per picture.
Inputs = Callable[[], Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class PictureOf:
    """Inputs that a prompt builder makes of a scene.

    Attributes:
        make: the builder's way from a scene to inputs.
        scene: what the builder was given.
    """

    make: Callable[[Any], Mapping[str, Tensor]]
    scene: Any

    def __call__(self) -> Mapping[str, Tensor]:
        """Read the scene."""
        return self.make(self.scene)


def no_inputs() -> Mapping[str, Tensor]:
    """Inputs of a prompt without a picture."""
    return {}


@dataclass(frozen=True, eq=False)
class Prompt:
    """One tokenised prompt.

    Attributes:
        ids: every id of the prompt, picture slots expanded.
        cut: length of the picture prefix: `ids[:cut]` ends with the picture (its last slot, or the
            mark behind it) and is the same for every question about the scene; 0 where there is
            no picture.
        inputs: what the model's forward takes beside the ids. Tensors of shape [1, len(ids)] hold
            one value per id and are cut with them; all others belong to the picture.
    """

    ids: tuple[int, ...]
    cut: int
    inputs: Inputs = field(default=no_inputs, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(map(index, self.ids)))
        if not 0 <= self.cut <= len(self.ids):
            raise ValueError(f"cut {self.cut} of {len(self.ids)} ids")
        if self.cut == len(self.ids):
            raise InputError(
                "the prompt has nothing behind the picture" if self.ids else "the prompt is empty",
                expected="text behind the picture, at least one id to answer from",
            )

    @cached_property
    def hash(self) -> str:
        """16 hex digits that two prompts share when their ids and cut agree, and only then: the
        same question about two scenes has one hash."""
        text = f"{self.cut}:" + ",".join(map(str, self.ids))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def prefix(self) -> tuple[int, ...]:
        """Ids up to and including the picture."""
        return self.ids[: self.cut]

    @property
    def question(self) -> tuple[int, ...]:
        """Ids behind the picture."""
        return self.ids[self.cut :]


class PromptBuilder(Protocol):
    """How a model wants to be asked; the only place where its prompts come from."""

    def __call__(self, scene: Any, question: str) -> Prompt:
        """The prompt of one question about one scene.

        The picture's files are read when `Prompt.inputs` is called, not here.
        """
        ...
