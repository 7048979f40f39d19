"""What a decoder can read at all: ids that it knows, sequences that are not too long."""

from __future__ import annotations

from collections.abc import Collection

from crossdraft.base.errors import InputError
from crossdraft.vlm.decoder import Decoder
from crossdraft.vlm.prompt import Prompt


def refuse_unreadable(decoder: Decoder, prompt: Prompt, placeholders: Collection[int]) -> None:
    """Refuse a prompt that the model cannot read.

    Args:
        placeholders: ids that stand for pictures, which need not be embedded.

    Raises:
        InputError: unknown ids, or too many.
    """
    known, slots = decoder.vocabulary, set(placeholders)
    if not all(0 <= token < known or token in slots for token in prompt.ids):
        raise InputError(
            "the prompt holds ids that the model does not know",
            expected=f"0 to {known - 1}",
            hint="was it made with this model's tokenizer?",
        )
    longest = decoder.longest(prompt.cut)
    if longest is not None and len(prompt.ids) > longest:
        raise InputError(
            f"the prompt has {len(prompt.ids)} tokens, {prompt.cut} of them up to the end of "
            "the picture",
            expected=f"at most {longest}, the longest sequence of the model",
            hint="give it fewer frames or smaller ones",
        )


def refuse_beyond(decoder: Decoder, length: int, prefix: int) -> None:
    """Refuse a sequence that is longer than the model can read.

    Args:
        length: ids of the sequence.
        prefix: ids of its picture prefix.

    Raises:
        InputError: it is too long.
    """
    longest = decoder.longest(prefix)
    if longest is not None and length > longest:
        raise InputError(
            f"the sequence would reach {length} tokens",
            expected=f"at most {longest}, the longest sequence of the model",
            hint="end the answer here; session.room says how many tokens are left",
        )
