"""What a plan must know of the two models before either is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.scenes.scene import Scene
from crossdraft.vlm.checkpoint import inspect
from crossdraft.vlm.config_file import read_config
from crossdraft.vlm.fingerprint import fingerprint_of
from crossdraft.vlm.hub_cache import find
from crossdraft.vlm.model_config import model_config
from crossdraft.vlm.model_spec import FOLDER_KEYS, ModelSpec, Role
from crossdraft.vlm.pair import ModelPair
from crossdraft.vlm.pair_models import options_of, prompts_of, tokenizer_of
from crossdraft.vlm.tokenizer_bridge import TokenizerBridge


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    Attributes:
        width: of its states.
        depth: decoder layers.
        vocabulary: ids.
        parameters: stored values.
        identity: what decides what it says, wherever it lies: digests of its files in place of
            their folders, and the choices of the pair. Plain JSON.
    """

    width: int
    depth: int
    vocabulary: int
    parameters: int
    identity: dict[str, Any]

    @classmethod
    def of(cls, spec: ModelSpec, role: Role) -> ModelFacts:
        """Read configuration and files.

        Raises:
            InputError: the model is not there, damaged or of a family that is not known.
        """
        place = spec.place(role)
        config = model_config(place).get_text_config(decoder=True)
        prints = {
            key: fingerprint_of(place if key == "model" else find(folder))
            for key in FOLDER_KEYS
            if (folder := getattr(spec, key)) is not None
        }
        choices = {
            key: value
            for key, value in spec.to_json(role).items()
            if key not in FOLDER_KEYS and key != "device"
        }
        width, depth = int(config.hidden_size), int(config.num_hidden_layers)
        parameters = inspect(place).parameters
        identity = {"files": prints, **choices}
        return cls(width, depth, int(config.vocab_size), parameters, identity)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return asdict(self)


def same_tokens(pair: ModelPair, target: ModelFacts, drafter: ModelFacts) -> bool:
    """Whether an id stands for the same in both models; taken for granted where one of them has no
    tokenizer.

    Raises:
        InputError: a tokenizer is damaged or of a kind that cannot be compared.
    """
    theirs, ours = (tokenizer_of(pair.spec(role), role) for role in ("target", "drafter"))
    if theirs is None or ours is None:
        return True
    return TokenizerBridge(
        ours, theirs, source_vocab=drafter.vocabulary, target_vocab=target.vocabulary
    ).identical


def ids_of_questions(
    spec: ModelSpec, role: Role, scene: Scene, questions: Sequence[str]
) -> tuple[tuple[int, ...], ...]:
    """What a model reads of each question behind the picture.

    Args:
        scene: any one; nothing of it is read.

    Returns:
        Nothing where no prompt builder is known for the model.

    Raises:
        InputError: naming a question that no prompt can be made of, such as one with a placeholder
            in it.
    """
    place = spec.place(role)
    architectures = read_config(place)[1]
    try:
        prompts = prompts_of(place, architectures, options_of(spec, role, architectures))
    except InputError:  # of the model's files: whoever loads it says so
        return ()
    if prompts is None:
        return ()
    asked = []
    for number, question in enumerate(questions):
        try:
            asked.append(prompts(scene, question).question)
        except InputError as error:
            raise InputError(
                f"question {number} cannot be asked of the {role} ({error.found})",
                where="--questions",
                expected=error.expected,
                hint=error.hint,
            ) from error
    return tuple(asked)


def refuse_layers(facts: ModelFacts, role: Role, layers: tuple[int, ...]) -> None:
    """Refuse layers that a model does not have.

    Raises:
        InputError: saying how many there are.
    """
    if beyond := [layer for layer in layers if layer > facts.depth]:
        raise InputError(
            f"layer {beyond[0]} of the {role}, which has {facts.depth}",
            where="--states",
            expected=f"numbers from 0 (the embeddings) to {facts.depth}",
            hint=f"name layers of one model alone: layers:{role}.{facts.depth}",
        )
