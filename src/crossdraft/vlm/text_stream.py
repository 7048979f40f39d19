"""The text of an answer while its tokens arrive."""

from __future__ import annotations

import re
from typing import Any

#: What a tokenizer gives for bytes that are no whole character yet.
_INCOMPLETE = "\ufffd"
#: A piece that is one byte. A run of them becomes text as a whole, or is no text at all.
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


class TextStream:
    """Turns tokens into text piece by piece; the pieces together are the text of the whole.

    Args:
        tokenizer: as transformers loads it.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._said = ""
        added = tokenizer.added_tokens_decoder.items()
        self._special = {token for token, content in added if content.special}

    @property
    def text(self) -> str:
        """Of all tokens so far, special ones left out."""
        text: str = self._tokenizer.decode(
            self._tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def push(self, token: int) -> str:
        """The text that this token adds; what later bytes may still change waits."""
        self._tokens.append(token)
        piece = self._tokenizer.convert_ids_to_tokens(token) or ""
        if token in self._special or _BYTE.fullmatch(piece):
            return ""
        settled = self.text.rstrip(_INCOMPLETE)
        new = settled.removeprefix(self._said)
        self._said = settled
        return new

    def close(self) -> str:
        """What was still waiting."""
        return self.text.removeprefix(self._said)
