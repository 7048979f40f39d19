"""The models behind an answer, how they are asked, and one's tokens in those of the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from crossdraft.base.errors import InputError
from crossdraft.vlm.model_spec import Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import PairModels
from crossdraft.vlm.prompt import Prompt
from crossdraft.vlm.target import Target
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge


class Models(Protocol):
    """A target, and the event model beside it."""

    @property
    def target(self) -> Target:
        """The model that verifies."""
        ...

    @property
    def drafter(self) -> Target:
        """The event model."""
        ...


class _TargetAlone:
    """A target without an event model."""

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def drafter(self) -> Target:
        raise InputError(
            "a drafter that reads an event model's words, and a target alone",
            expected="a pair of models",
            hint="name a pair, or a drafter that reads the target's own words, such as suffix",
        )


def models_of(models: ModelPair | Models | Target, asked: Sequence[Role]) -> Models:
    """The models; of a pair, those of the roles that will be asked for."""
    if isinstance(models, Target):
        return _TargetAlone(models)
    if isinstance(models, ModelPair):
        return PairModels(models, asked)
    return models


def tokenizer_of(model: Target) -> Any | None:
    """The tokenizer that builds a model's prompts, None where it has none."""
    return getattr(model.prompts, "tokenizer", None)


def bridge_to(target: Target, tokenizer: Any | None, vocabulary: int) -> TokenizerBridge | None:
    """From the tokens of an event model to the target's; None where one of the two has no
    tokenizer, and ids are taken to mean the same.

    Args:
        tokenizer, vocabulary: of the event model, and how many ids it has.
    """
    theirs = tokenizer_of(target)
    if tokenizer is None or theirs is None:
        return None
    return TokenizerBridge(
        tokenizer, theirs, source_vocab=vocabulary, target_vocab=target.decoder.vocabulary
    )


def prompt_of(model: Target, scene: Any, question: str | Sequence[int]) -> Prompt:
    """The prompt of a question, or of ids where a model takes those.

    Raises:
        InputError: the model takes text alone.
    """
    if isinstance(question, str):
        return model.prompt(scene, question)
    of_ids = getattr(model.prompts, "of_ids", None)
    if of_ids is None:
        raise InputError(
            f"ids in place of a question, and {type(model.model).__name__} takes text",
            expected="a question",
        )
    prompt: Prompt = of_ids(scene, question)
    return prompt
