"""What the ids of a tokenizer spell, as bytes, whichever way it writes its pieces.

Sentencepiece writes a space as `▁` and a lone byte as `<0x0A>`; byte-level vocabularies write every
byte as a visible character (Radford et al., 2019, `bytes_to_unicode`). The same piece looks
different in the two, and its bytes are the same.
"""

from __future__ import annotations

import re
from typing import Any

from crossdraft.base.errors import InputError

#: Bytes of a piece, the name of a special token, or None where an id stands for nothing.
Spelling = bytes | str | None

_SPACE = "▁"
_LONE_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def spellings(tokenizer: Any, vocabulary: int) -> list[Spelling]:
    """What each id spells.

    Args:
        tokenizer: as transformers loads it.
        vocabulary: ids of the model, which may have more than the tokenizer.

    Returns:
        [vocabulary], None for ids without a token.

    Raises:
        InputError: a tokenizer of neither kind.
    """
    added = tokenizer.added_tokens_decoder
    special = {*tokenizer.all_special_ids, *(i for i, token in added.items() if token.special)}
    vocab = {token: i for token, i in tokenizer.get_vocab().items() if i not in added}
    alphabet = _byte_alphabet()
    byte_level = "Ġ" in vocab and _SPACE not in vocab
    if not byte_level and not any(token.startswith(_SPACE) for token in vocab):
        raise InputError(
            f"a tokenizer ({type(tokenizer).__name__}) that marks spaces neither as ▁ nor as Ġ",
            expected="pieces as sentencepiece or a byte-level vocabulary writes them",
        )
    found: list[Spelling] = [None] * vocabulary
    for token, i in tokenizer.get_vocab().items():
        if not 0 <= i < vocabulary:
            continue
        if i in special:
            found[i] = token
        elif i in added or (byte_level and not set(token) <= alphabet.keys()):
            found[i] = token.encode()
        elif byte_level:
            found[i] = bytes(alphabet[character] for character in token)
        elif lone := _LONE_BYTE.fullmatch(token):
            found[i] = bytes([int(lone[1], 16)])
        else:
            found[i] = token.replace(_SPACE, " ").encode()
    return found


def _byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte: itself where visible, else one from U+0100 on."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    shown = {chr(byte): byte for byte in visible}
    return shown | {chr(0x100 + place): byte for place, byte in enumerate(others)}
