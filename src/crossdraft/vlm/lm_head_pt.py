"""The seed study's file of a head, `vl_lm_head.pt`: read, written, and told from other files.

It is a mapping of torch.save with the matrix (`lm_head_weight`, in some files `weight`) and, in
most, `vocab_size`, `hidden_dim` and `model_id`. It has neither final norm nor embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.base.fields import shown
from crossdraft.base.files import atomic_path
from crossdraft.base.safe_load import load_plain
from crossdraft.vlm.lm_head import HeadFacts, LMHead, read_lm_head

_WEIGHTS = ("lm_head_weight", "weight")
_VOCAB, _HIDDEN, _MODEL = "vocab_size", "hidden_dim", "model_id"
_EXPECTED = f"a head that torch.save wrote ({', '.join((*_WEIGHTS[:1], _VOCAB, _HIDDEN, _MODEL))})"
#: Words of the Llama tokenizer. Video-LLaVA has rows for its pictures behind them, and then padding
#: up to a multiple of 64: neither is ever drafted.
_WORDS, _PADDED = 32_000, 32_064
#: First bytes of archives and pickles, of which torch.save writes one or the other.
_TORCH = (b"PK\x03\x04", b"\x80\x02")


def is_torch_file(path: Path) -> bool:
    """Whether a file begins as those do that torch.save writes."""
    try:
        with path.open("rb") as stream:
            return stream.read(4).startswith(_TORCH)
    except OSError:
        return False


def is_head(loaded: Any) -> bool:
    """Whether what a file of torch.save holds is meant as a head."""
    return isinstance(loaded, Mapping) and any(key in loaded for key in _WEIGHTS)


def read_head(path: Path) -> LMHead:
    """Read a head from a file of either kind, told apart by its first bytes.

    Raises:
        InputError: as `read_lm_head` and `read_lm_head_pt`.
    """
    return read_lm_head_pt(path) if is_torch_file(path) else read_lm_head(path)


def read_lm_head_pt(path: Path) -> LMHead:
    """Read the seed study's file; its head has neither norm nor embedding.

    Raises:
        InputError: no such file, damaged, more in it than such files hold, sizes that contradict
            the matrix, or a matrix with numbers that are not finite.
    """
    loaded = load_plain(path, _EXPECTED)
    if not is_head(loaded):
        raise InputError("holds no head of a model", where=path, expected=_EXPECTED)
    keys = set(loaded)
    found = [key for key in _WEIGHTS if key in keys]
    if others := keys - {found[0], _VOCAB, _HIDDEN, _MODEL}:
        raise InputError(
            f"holds more than a head: {', '.join(sorted(map(shown, others)))}",
            where=path,
            expected=_EXPECTED,
        )
    weight = _matrix(loaded[found[0]], found[0], path)
    vocab, hidden = weight.shape
    for key, size in ((_VOCAB, vocab), (_HIDDEN, hidden)):
        said = loaded.get(key, size)
        if type(said) is not int or said != size:
            raise InputError(
                f"{key} is {shown(said)}, the matrix is {vocab} x {hidden}",
                where=path,
                expected="sizes that agree",
            )
    model = loaded.get(_MODEL)
    if model is not None and not isinstance(model, str):
        raise InputError(f"{_MODEL} is {shown(model)}", where=path, expected="a model's name")
    facts = HeadFacts(
        model=model or "",
        architecture="",
        vocab=vocab,
        hidden=hidden,
        draftable=_draftable(vocab, model or ""),
        tied=False,
        norm_eps=None,
        finish={},
        source=hashlib.sha256(weight.view(torch.uint8).numpy().data).hexdigest(),
    )
    return LMHead(weight, None, None, facts)


def write_lm_head_pt(head: LMHead, path: Path) -> None:
    """Write the matrix of a head in the seed study's format, in float32, atomically.

    Norm and embedding have no place there and are left out.

    Raises:
        InputError: the logits are more than the matrix gives (a bias, or a finish behind it), or
            the file cannot be written.
    """
    more = ["a bias"] if head.bias is not None else []
    more += [f"{name} = {value}" for name, value in head.facts.finish.items()]
    if more:
        raise InputError(
            f"the logits of this head need {' and '.join(more)}",
            where=path,
            expected="a head that is one matrix and nothing else: the format has no more",
        )
    mapping = {
        _WEIGHTS[0]: head.weight.to(torch.float32).contiguous(),
        _VOCAB: head.facts.vocab,
        _HIDDEN: head.facts.hidden,
        _MODEL: head.facts.model,
    }
    # Through a stream: given a path, torch writes its temporary name into the archive.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        torch.save(mapping, stream)


def _matrix(value: Any, key: str, path: Path) -> Tensor:
    """The matrix as [vocab, hidden], checked."""
    if not isinstance(value, Tensor):
        raise InputError(f"{key} is no tensor", where=path, expected=_EXPECTED)
    if value.ndim != 2 or not value.is_floating_point() or 0 in value.shape:
        shape = " x ".join(map(str, value.shape)) or "a single number"
        raise InputError(
            f"{key} is {shape}, {value.dtype}",
            where=path,
            expected="a matrix of floating-point numbers, vocabulary x width",
        )
    if not bool(torch.isfinite(value).all()):
        raise InputError(f"{key} holds numbers that are not finite", where=path)
    # A copy lies aligned: kernels add up unaligned rows in another order.
    return value.clone(memory_format=torch.contiguous_format)


def _draftable(vocab: int, model: str) -> int:
    """Ids from here on are never drafted; a file without a name is of the study's own target."""
    is_target = not model or "video-llava" in model.lower()
    return _WORDS if is_target and _WORDS < vocab <= _PADDED else vocab
