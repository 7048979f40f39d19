"""Which of several processes this one is, as torchrun says it in the environment."""

from __future__ import annotations

from collections.abc import Mapping

from crossdraft.base.errors import InputError
from crossdraft.vlm.model_spec import ROLES
from crossdraft.vlm.pair import ModelPair


def rank_of(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Number of this process and number of processes; None where nobody has started several.

    Raises:
        InputError: numbers that make no sense.
    """
    if "RANK" not in environment:
        return None
    rank, world = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    if rank >= world:
        raise InputError(f"{rank} of {world} processes", where="RANK", expected=f"below {world}")
    return rank, world


def on_its_gpu(pair: ModelPair, environment: Mapping[str, str]) -> ModelPair:
    """The pair with its models on the GPU of this process, where their device is left open."""
    import torch

    if "LOCAL_RANK" not in environment or not torch.cuda.is_available():
        return pair
    device = f"cuda:{_number(environment, 'LOCAL_RANK') % torch.cuda.device_count()}"
    for role in ROLES:
        if pair.spec(role).device == "auto":
            pair = pair.with_value(f"{role}.device={device}")
    return pair


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not (text.isascii() and text.isdigit()):
        raise InputError(
            f"{text!r}", where=name, expected="a whole number, as torchrun sets it", hint="torchrun"
        )
    return int(text)
