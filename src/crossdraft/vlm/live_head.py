"""The head of a model that is loaded, for drafters that read tokens off its states.

The same as `lm_head.lm_head_of` gives of its checkpoint, in the number format that it runs in.
"""

from __future__ import annotations

from torch import Tensor

from crossdraft.base.errors import InputError
from crossdraft.vlm.lm_head import HeadFacts, LMHead
from crossdraft.vlm.target import Target


def head_of(target: Target) -> LMHead:
    """A loaded model's head and input embedding; they are shared with it, nothing is copied.

    Returns:
        Without a final norm: states have passed it.

    Raises:
        InputError: the head is stored quantised.
    """
    decoder = target.decoder
    name = type(target.model).__name__
    weight = getattr(decoder.head, "weight", None)
    if not isinstance(weight, Tensor) or not weight.is_floating_point() or weight.ndim != 2:
        raise InputError(
            f"the head of {name} is no matrix of floating-point numbers",
            expected="a head that is not quantised, which drafters in its state space read",
        )
    bias = getattr(decoder.head, "bias", None)
    embedding: Tensor = target.model.get_input_embeddings().weight  # type: ignore[assignment]
    vocab, hidden = weight.shape
    facts = HeadFacts(
        model=str(getattr(target.model, "name_or_path", "")),
        architecture=name,
        vocab=vocab,
        hidden=hidden,
        draftable=min(target.draftable, vocab),
        tied=embedding is weight,
        norm_eps=None,
        finish=decoder.finish,
        source="",
    )
    return LMHead(
        weight.detach(),
        None,
        embedding.detach(),
        facts,
        None if bias is None else bias.detach(),
    )
