"""Which tensors of a checkpoint are its head, its final norm and its input embedding.

Families call them differently, and towers and layers have norms and embeddings of their own: name
and shape must agree, and the norm lies beside the embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from crossdraft.base.errors import InputError
from crossdraft.vlm.safetensors_header import StoredTensor
from crossdraft.vlm.weight_files import named

#: Last part of a name before `weight`.
_EMBEDDINGS = ("embed_tokens", "wte", "embed_in", "word_embeddings")
_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm")
_HEADS = ("lm_head", "embed_out")


@dataclass(frozen=True)
class HeadNames:
    """Names in a checkpoint; `head` is None where the embedding serves as one."""

    embedding: str
    norm: str
    head: str | None
    head_bias: str | None
    norm_bias: str | None


def head_names(
    stored: Mapping[str, StoredTensor], vocab: int, hidden: int, *, tied: bool, where: Path
) -> HeadNames:
    """Find the three, and the biases that belong to them.

    Args:
        stored: every tensor of the checkpoint.
        tied: the embedding is the head where no other is stored.
        where: the checkpoint, for errors.

    Raises:
        InputError: none, or several that it could be; candidates are named.
    """
    rows = (vocab, hidden)
    embedding = _the_one("input embedding", _EMBEDDINGS, stored, rows, where)
    beside = {name: t for name, t in stored.items() if _folder(name) == _folder(embedding)}
    norm = _the_one("final norm", _NORMS, beside, (hidden,), where)
    head = None
    if not tied or _ending(_HEADS, stored):
        head = _the_one("head", _HEADS, stored, rows, where)
    return HeadNames(embedding, norm, head, _bias(head, stored), _bias(norm, stored))


def _the_one(
    what: str,
    endings: Iterable[str],
    stored: Mapping[str, StoredTensor],
    shape: tuple[int, ...],
    where: Path,
) -> str:
    called = _ending(endings, stored)
    fitting = [name for name in called if stored[name].shape == shape]
    if len(fitting) == 1:
        return fitting[0]
    alike = sorted({*called, *(name for name, tensor in stored.items() if tensor.shape == shape)})
    candidates = [f"{name} {list(stored[name].shape)}" for name in alike]
    wanted = " or ".join(f"…{ending}.weight" for ending in endings)
    raise InputError(
        f"{len(fitting) or 'no'} tensor{'s' * bool(fitting)} that could be the {what}",
        where=where,
        expected=f"one of shape {list(shape)} called {wanted}",
        hint=f"candidates by name or shape: {named(candidates, 6)}" if candidates else None,
    )


def _ending(endings: Iterable[str], stored: Iterable[str]) -> list[str]:
    """Names whose last two parts are one of these and `weight`."""
    wanted = {f"{ending}.weight" for ending in endings}
    return sorted(name for name in stored if ".".join(name.split(".")[-2:]) in wanted)


def _folder(name: str) -> str:
    """`model` of `model.norm.weight`."""
    return ".".join(name.split(".")[:-2])


def _bias(name: str | None, stored: Mapping[str, StoredTensor]) -> str | None:
    bias = f"{(name or '').removesuffix('weight')}bias"
    return bias if bias in stored else None
