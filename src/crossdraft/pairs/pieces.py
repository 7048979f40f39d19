"""What each token id reads as: from a tokenizer's folder, or learned from recorded answers.

Recorded files often hold ids and texts but no vocabulary. The pieces of an answer's ids, put one
after the other, are its text; over many answers that leaves most ids a single possible piece.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from crossdraft.base.errors import InputError

#: Answers of the first round, those with the fewest tokens beyond one per word.
_FIRST_ROUND = 64
#: Bytes of the longest piece that is looked for, and ends of pieces tried in one answer: beyond,
#: an answer waits until others have told more of its ids. Recorded answers need a tenth of it.
_LONGEST = 48
_MOST_ENDS = 30_000
#: What an id may read as where it left nothing at the end of a text: nothing (an end mark), or
#: space that was stripped with the text's end.
_BLANK = (b"", b" ", b"\n", b"\n\n")
#: A text that names this character has lost bytes.
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_EXPECTED = "a folder with the files of a tokenizer (tokenizer.json or tokenizer.model)"

#: Ids and UTF-8 text of one answer.
Lesson = tuple[tuple[int, ...], bytes]
#: What each id may still read as; an id without an entry may read as anything.
Options = dict[int, frozenset[bytes]]
#: For each id how many answers allow a reading.
Votes = dict[int, Counter[bytes]]


class Wording(Protocol):
    """Turns token ids into words."""

    @property
    def source(self) -> str:
        """Where the words come from, for a reader."""

    def piece(self, token: int) -> str | None:
        """What one id reads as, leading space included; None where it is unknown or blank."""

    def text(self, tokens: Sequence[int]) -> str:
        """What some ids read as in a row; unknown ids stand as `⟨id⟩`."""


def as_id(token: int) -> str:
    """How an id is written where its piece is unknown."""
    return f"⟨{token}⟩"


@dataclass(frozen=True)
class LearnedPieces:
    """Pieces learned from recorded answers.

    Attributes:
        pieces: id -> UTF-8 bytes; empty for ids that end an answer.
        answers: distinct answers that were read.
        set_aside: of these, how many have a text that does not follow from their ids.
    """

    pieces: Mapping[int, bytes] = field(default_factory=dict)
    answers: int = 0
    set_aside: int = 0

    @property
    def source(self) -> str:
        if not self.answers:
            return "none: no tokenizer was named and no recorded text tells, ids stand alone"
        aside = f", {self.set_aside} set aside: text and ids do not fit" if self.set_aside else ""
        return f"{len(self.pieces)} pieces learned from {self.answers} recorded answers{aside}"

    def piece(self, token: int) -> str | None:
        known = self.pieces.get(token)
        if not known:
            return None
        try:
            return known.decode()
        except UnicodeDecodeError:  # part of a character
            return None

    def text(self, tokens: Sequence[int]) -> str:
        parts = [self.pieces.get(token, as_id(token).encode()) for token in tokens]
        return b"".join(parts).decode(errors="replace").removeprefix(" ")


class TokenizerPieces:
    """Pieces read from a tokenizer's folder; nothing is downloaded and no code of it runs.

    Raises:
        InputError: the folder holds no tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InputError("no such folder", where=folder, expected=_EXPECTED)
        from transformers import AutoTokenizer

        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
            # Some folders give an empty tokenizer instead of an error.
            self._size = len(self._tokenizer)
            if not self._size:
                raise ValueError("it knows no token")
        except Exception as error:  # whatever a foreign folder makes the library raise
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            raise InputError(
                f"no tokenizer could be read ({said})", where=folder, expected=_EXPECTED
            ) from error
        self.source = f"tokenizer in {folder}"

    def piece(self, token: int) -> str | None:
        if not self._knows(token) or token in self._tokenizer.all_special_ids:
            return None
        read = str(self._tokenizer.decode([token]))
        return read if read and _REPLACEMENT not in read else None

    def text(self, tokens: Sequence[int]) -> str:
        parts: list[str] = []
        known: list[int] = []
        for token in tokens:
            if self._knows(token):
                known.append(token)
            else:
                parts += [self._decode(known), as_id(token)]
                known = []
        return "".join([*parts, self._decode(known)])

    def _knows(self, token: int) -> bool:
        return 0 <= token < self._size and self._tokenizer.convert_ids_to_tokens(token) is not None

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def learn_pieces(answers: Iterable[tuple[Sequence[int], str | None]]) -> LearnedPieces:
    """Learn what ids read as from answers and their texts.

    Every way to cut a text into one piece per id is kept at first; an id must read the same in
    all answers, which rules out cuts, which rules out readings, until nothing changes. Two things
    are taken for granted: a piece has a space only in front (as in sentencepiece and byte-level
    vocabularies), and a text may have lost the space before its first word and blanks at its end.
    An id keeps its piece only if a single reading is left and that reading fits the answers the
    id occurs in (one in ten may not: texts that do not follow from their ids).

    Args:
        answers: ids and text of each; answers without a text teach nothing.
    """
    lessons = sorted(
        {
            (tuple(tokens), text.encode())
            for tokens, text in answers
            if text and tokens and _REPLACEMENT not in text
        },
        key=lambda lesson: (len(lesson[0]) - lesson[1].count(b" "), lesson),
    )
    options, votes, fitting = _settle(lessons, tenths=10)
    if fitting < len(lessons):
        # A wrong text can rule out true readings. Ruling out only what few answers allow keeps
        # those, and shows which texts nothing can explain; then again without them.
        lenient, _, _ = _settle(lessons, tenths=9)
        sound = [lesson for lesson in lessons if _readings(*lesson, lenient) is not None]
        options, votes, fitting = _settle(sound, tenths=10)
    occurs = Counter(token for tokens, _ in lessons for token in set(tokens))
    agreed = {
        token: left
        for token, left in options.items()
        if 10 * max(votes.get(token, Counter({b"": 0})).values()) >= 9 * occurs[token]
    }
    firsts = {tokens[0] for tokens, _ in lessons}
    return LearnedPieces(_settled(agreed, firsts), len(lessons), len(lessons) - fitting)


def _settle(lessons: Sequence[Lesson], tenths: int) -> tuple[Options, Votes, int]:
    """Rule out readings until nothing changes.

    Args:
        tenths: a reading stays if this share of what the most possible one has allows it.

    Returns:
        Readings left for each id, the last votes, and how many answers can be cut.
    """
    options: Options = {}
    votes: Votes = {}
    fitting = 0
    # Few and plain answers first: what they rule out makes the many others quick.
    for chosen in (lessons[:_FIRST_ROUND], lessons):
        while True:
            votes, fitting = _vote(chosen, options)
            ruled = {
                token: frozenset(
                    reading
                    for reading, count in counted.items()
                    if 10 * count >= tenths * max(counted.values())
                )
                for token, counted in votes.items()
            }
            changed = any(options.get(token) != left for token, left in ruled.items())
            options |= ruled
            if not changed:
                break
    return options, votes, fitting


def _vote(lessons: Sequence[Lesson], options: Options) -> tuple[Votes, int]:
    """For each id the readings that some cut allows, with the number of answers that do, and
    how many answers can be cut at all."""
    votes: Votes = {}
    fitting = 0
    for tokens, text in lessons:
        readings = _readings(tokens, text, options)
        if readings is None:
            continue
        fitting += 1
        for token, possible in readings.items():
            votes.setdefault(token, Counter()).update(possible)
    return votes, fitting


def _readings(tokens: Sequence[int], text: bytes, options: Options) -> dict[int, set[bytes]] | None:
    """What each id of one answer can read as, over all cuts of the text that the options allow.

    Returns:
        None where the text cannot be cut, no reading fits all places of an id, or there are too
        many ways to cut it.
    """
    line = b" " + text  # the space before the first word, which the first piece may own
    limits = _limits(line)
    edges: list[list[tuple[int, int]]] = []
    reached, tried = {0, 1}, 0
    for token in tokens:
        allowed = options.get(token)
        step = [(a, b) for a in reached for b in _ends(line, limits, a, allowed)]
        edges.append(step)
        reached, tried = {b for _, b in step}, tried + len(step)
        if tried > _MOST_ENDS:
            return None
    found: dict[int, set[bytes]] = {}
    wanted = {len(line)}
    for token, step in zip(reversed(tokens), reversed(edges), strict=True):
        kept = [(a, b) for a, b in step if b in wanted]
        wanted = {a for a, _ in kept}
        here = {line[a:b] for a, b in kept if a < b}
        if any(a == b for a, b in kept):
            here |= options.get(token, frozenset(_BLANK)).intersection(_BLANK)
        found[token] = found[token] & here if token in found else here
        if not found[token]:
            return None
    return found


def _limits(line: bytes) -> list[int]:
    """For each start the furthest end of a piece: before the next space behind a word."""
    size = len(line)
    limits = [size] * (size + 1)
    for start in range(size - 2, -1, -1):
        ends_word = line[start] != 0x20 and line[start + 1] == 0x20
        limits[start] = start + 1 if ends_word else limits[start + 1]
    return limits


def _ends(
    line: bytes, limits: Sequence[int], start: int, allowed: frozenset[bytes] | None
) -> Iterable[int]:
    """Where the piece that begins at `start` can end."""
    if start == len(line):
        return (start,) if allowed is None or allowed.intersection(_BLANK) else ()
    if allowed is None:
        return range(start + 1, min(limits[start], start + _LONGEST) + 1)
    return (start + len(p) for p in allowed if p and line.startswith(p, start))


def _settled(options: Options, firsts: set[int]) -> dict[int, bytes]:
    """Ids with one reading left, and two kinds with several that make no difference.

    An id seen only as the first of an answer leaves open whether it owns the dropped space: it
    does where all other first ids do. An id that never left anything is an end mark.
    """
    settled = {token: next(iter(left)) for token, left in options.items() if len(left) == 1}
    owned = all(settled[token].startswith(b" ") for token in firsts & settled.keys())
    for token, left in options.items():
        if len(left) > 1 and left.issubset(_BLANK):
            settled[token] = b""
        spaced = max(left, key=len)
        if left == {spaced, spaced[1:]} and spaced[:1] == b" " and token in firsts and owned:
            settled[token] = spaced
    return settled
