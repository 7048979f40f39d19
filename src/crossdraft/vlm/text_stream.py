"""The text of an answer while its tokens arrive."""

from __future__ import annotations

import re
from collections.abc import Sequence
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
        #: Where the tokens begin that were given with the last piece, and where they end.
        self._window = self._read = 0
        added = tokenizer.added_tokens_decoder.items()
        self._special = {token for token, content in added if content.special}

    @property
    def text(self) -> str:
        """Of all tokens so far, special ones left out."""
        return self.whole(self._tokens)

    def whole(self, tokens: Sequence[int]) -> str:
        """The text of a whole answer, special tokens left out."""
        text: str = self._tokenizer.decode(
            list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    def push(self, token: int) -> str:
        """The text that this token adds; what later bytes may still change waits."""
        self._tokens.append(token)
        piece = self._tokenizer.convert_ids_to_tokens(token) or ""
        if token in self._special or _BYTE.fullmatch(piece):
            return ""
        new = self._waiting()
        if new.endswith(_INCOMPLETE):
            return ""
        self._window, self._read = self._read, len(self._tokens)
        return new

    def close(self) -> str:
        """What was still waiting."""
        return self._waiting()

    def _waiting(self) -> str:
        """What the tokens behind the last piece add. Decoded with that piece, because a text
        begins otherwise than it goes on."""
        before = self.whole(self._tokens[self._window : self._read])
        return self.whole(self._tokens[self._window :])[len(before) :]
