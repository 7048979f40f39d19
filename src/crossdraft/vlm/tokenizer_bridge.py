"""From a drafter's tokens to the target's, where the two do not share a tokenizer.

The drafter's tokens are spelled out and tokenised again as the target would; each new token is
known to have arrived with the drafter's token that ends its text. While the drafter still writes,
only what no later token can change is given: everything before its last word.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.vlm.spelling import Spelling, spellings

#: What stands before an answer in a prompt. Tokenised along, so that an answer's first space is
#: not taken for the one that some tokenizers put before every text.
_BEFORE = ":"
#: Where a word ends. No tokenizer of the known kinds has a piece across such a place, so the ids
#: before it do not depend on what comes behind.
_WORD_END = re.compile(r"\S ")


@dataclass(frozen=True)
class VocabularyShares:
    """How much of one vocabulary another one has.

    Attributes:
        source: ids of the source that stand for a token.
        same_id: of these, ids that stand for the same in the target.
        other_id: ids whose piece the target has under another id.
        missing: ids whose piece it has not: they become several.
    """

    source: int
    same_id: int
    other_id: int
    missing: int


@dataclass(frozen=True)
class Translated:
    """Target tokens, and where each comes from.

    Attributes:
        ids: of the target.
        sources: for each, the place of the source token whose text ends its own: it has arrived
            when that one has, and the state that belongs to it is that one's.
    """

    ids: tuple[int, ...] = ()
    sources: tuple[int, ...] = ()


class TokenizerBridge:
    """Translates answers of one model into tokens of another. The way back is a bridge too, with
    the two exchanged.

    Args:
        source, target: tokenizers as transformers loads them.
        source_vocab, target_vocab: ids of the models, which may have more than the tokenizers.

    Raises:
        InputError: a tokenizer whose pieces cannot be spelled out.

    Attributes:
        identical: ids below both sizes stand for the same in both; nothing needs translation.
        shares: how much of the source's vocabulary the target has.
        to_target: int64 [source_vocab] the target's id for the same piece, -1 where it has none.
    """

    def __init__(self, source: Any, target: Any, *, source_vocab: int, target_vocab: int) -> None:
        self._tokenizer = target
        self._source = spellings(source, source_vocab)
        self._target = spellings(target, target_vocab)
        self._source_eos, self._target_eos = source.eos_token_id, target.eos_token_id
        self.to_target = self._matches()
        self.shares = self._count()
        shared = min(source_vocab, target_vocab)
        self.identical = self._source_eos == self._target_eos and all(
            mine is None or mine == its
            for mine, its in zip(self._source[:shared], self._target[:shared], strict=True)
        )
        self._words = not any(map(_crosses_words, self._target))

    def translate(self, tokens: Sequence[int], *, closed: bool) -> Translated:
        """Target tokens of an answer.

        The end token becomes the target's and ends the answer; other special tokens, and ids that
        stand for nothing, are left out. The answer ends too where the target's tokenizer cannot
        spell it. What is given for part of an answer is the beginning of what is given for more.

        Args:
            tokens: of the source, from the answer's first on.
            closed: there will be no more; else the last word is held back.
        """
        end = next((i for i, token in enumerate(tokens) if token == self._source_eos), None)
        if self.identical:
            return self._copied(tokens if end is None else tokens[: end + 1])
        closed = closed or end is not None
        text, owners = self._spelled(tokens[:end], closed)
        given, whole = self._aligned(text, owners, closed)
        if end is None or self._target_eos is None or not whole:
            return given
        return Translated((*given.ids, self._target_eos), (*given.sources, end))

    def _copied(self, tokens: Sequence[int]) -> Translated:
        """The tokens that the target has too, and the end."""
        shared = min(len(self._source), len(self._target))
        places = [
            place
            for place, token in enumerate(tokens)
            if token == self._source_eos
            or (0 <= token < shared and isinstance(self._source[token], bytes))
        ]
        return Translated(tuple(int(tokens[place]) for place in places), tuple(places))

    def _spelled(self, tokens: Sequence[int], closed: bool) -> tuple[str, list[int]]:
        """Text of source tokens, and for each of its bytes the place of the token that ends the
        character. A character that is not complete waits, and is a replacement in the end."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text, owners = "", []
        for place, token in enumerate(tokens):
            piece = self._source[token] if 0 <= token < len(self._source) else None
            last = closed and place == len(tokens) - 1
            new = decoder.decode(piece if isinstance(piece, bytes) else b"", last)
            text += new
            owners += [place] * len(new.encode())
        return text, owners

    def _aligned(self, text: str, owners: list[int], closed: bool) -> tuple[Translated, bool]:
        """Target tokens that spell a text, as far as they do and are settled, and whether that is
        all of it."""
        raw, row = text.encode(), self._encoded(text)
        settled = len(raw) if closed or not raw else self._settled(text)
        if settled and row and self._spells(row[0]).startswith(b" ") and not raw.startswith(b" "):
            # The space that the tokenizer put before the text arrives with what follows it.
            raw, owners, settled = b" " + raw, [owners[0], *owners], settled + 1
        ids: list[int] = []
        sources: list[int] = []
        end = 0
        for token in row:
            start, end = end, end + len(self._spells(token))
            if not start < end <= settled or raw[start:end] != self._spells(token):
                return Translated(tuple(ids), tuple(sources)), False
            ids.append(token)
            sources.append(owners[end - 1])
        return Translated(tuple(ids), tuple(sources)), end == len(raw)

    def _encoded(self, text: str) -> list[int]:
        """Ids that the target would answer this text with."""
        if text[:1].isspace():
            row = self._ids(_BEFORE + text)
            for count in (1, 2):
                if b"".join(map(self._spells, row[:count])).lstrip(b" ") == _BEFORE.encode():
                    return row[count:]
        return self._ids(text)

    def _ids(self, text: str) -> list[int]:
        encoded = self._tokenizer(
            text, add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        return list(encoded["input_ids"])

    def _spells(self, token: int) -> bytes:
        """Bytes of a target token, none where it is special."""
        piece = self._target[token] if token < len(self._target) else None
        return piece if isinstance(piece, bytes) else b""

    def _settled(self, text: str) -> int:
        """Bytes of a text whose tokens nothing behind it can change."""
        if not self._words:
            return 0
        ends = [match.start() + 1 for match in _WORD_END.finditer(text)]
        return len(text[: ends[-1]].encode()) if ends else 0

    def _matches(self) -> npt.NDArray[np.int64]:
        # Of two ids that spell the same, the last counts: letters stand behind lone bytes.
        known = {piece: i for i, piece in enumerate(self._target) if piece is not None}
        found = np.full(len(self._source), -1, np.int64)
        for i, piece in enumerate(self._source):
            if piece is not None:
                same = i < len(self._target) and self._target[i] == piece
                found[i] = i if same else known.get(piece, -1)
        ends = self._source_eos, self._target_eos
        if None not in ends and self._source_eos < len(found):
            found[self._source_eos] = self._target_eos
        return found

    def _count(self) -> VocabularyShares:
        known = np.array([piece is not None for piece in self._source])
        there = known & (self.to_target >= 0)
        same = there & (self.to_target == np.arange(len(known)))
        total, matched, kept = (int(part.sum()) for part in (known, there, same))
        return VocabularyShares(total, kept, matched - kept, total - matched)


def _crosses_words(piece: Spelling) -> bool:
    """Whether a piece goes from one word into the next."""
    try:
        return isinstance(piece, bytes) and _WORD_END.search(piece.decode()) is not None
    except UnicodeDecodeError:  # part of a character
        return False
