"""Phrases that carry their marks: which of their words name which attribute of a clip.

Answers are put together from these alone, so that a mark cannot drift from the words it stands for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from crossdraft.scenes.answers import Answer, Named

#: Attribute, value, and from which character of the words to which; the end left out.
Mark = tuple[str, str, int, int]
_SLOTS = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Phrase:
    """Words, and which of them name an attribute."""

    text: str
    marks: tuple[Mark, ...] = ()

    @property
    def a(self) -> Phrase:
        """With `a` or `an` before it."""
        return _joined((Phrase("an " if self.text[0].lower() in "aeiou" else "a "), self))

    @property
    def the(self) -> Phrase:
        """With `the` before it."""
        return _joined((Phrase("the "), self))

    @property
    def capital(self) -> Phrase:
        """With its first letter in upper case."""
        return Phrase(self.text[:1].upper() + self.text[1:], self.marks)


def named(words: str, *named_by: tuple[str, str]) -> Phrase:
    """Words that name one attribute or several.

    Args:
        named_by: each attribute with its value.
    """
    return Phrase(words, tuple((*named, 0, len(words)) for named in named_by))


def said(template: str, **parts: Phrase | str) -> Phrase:
    """A phrase with others in its `{slots}`; a part may stand in several slots or in none."""
    pieces = (
        _part(parts[piece]) if place % 2 else Phrase(piece)
        for place, piece in enumerate(_split(template))
    )
    return _joined(tuple(pieces))


def listed(phrases: Sequence[Phrase]) -> Phrase:
    """`a`, `a and b`, `a, b, and c`."""
    if len(phrases) < 3:
        between = [" and "] * (len(phrases) - 1)
    else:
        between = [", "] * (len(phrases) - 2) + [", and "]
    pieces = [phrases[0]]
    for glue, phrase in zip(between, phrases[1:], strict=True):
        pieces += [Phrase(glue), phrase]
    return _joined(pieces)


def answer(*sentences: Phrase) -> Answer:
    """Sentences as an answer: capitals and full stops put in place."""
    pieces: list[Phrase] = []
    for sentence in sentences:
        pieces += [Phrase(" " if pieces else ""), sentence.capital, Phrase(".")]
    whole = _joined(pieces)
    return Answer(whole.text, tuple(Named(*mark) for mark in whole.marks))


@cache
def _split(template: str) -> tuple[str, ...]:
    """Plain text and names of slots, in turn."""
    return tuple(_SLOTS.split(template))


def _part(part: Phrase | str) -> Phrase:
    return part if isinstance(part, Phrase) else Phrase(part)


def _joined(pieces: Sequence[Phrase]) -> Phrase:
    """One phrase of several, marks moved along."""
    marks: list[Mark] = []
    length = 0
    for piece in pieces:
        if piece.marks:
            marks += [(what, value, a + length, b + length) for what, value, a, b in piece.marks]
        length += len(piece.text)
    return Phrase("".join([piece.text for piece in pieces]), tuple(marks))
