"""Where an answer ends: behind an end token, at a stop string, at the length limit.

Every rule looks at the tokens up to a place and at nothing behind it, so an answer ends where it
would have ended had it come token by token, even in the middle of an accepted path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from crossdraft.base.errors import InputError

End = Literal["eos", "stop", "length"]


class Stopping(Protocol):
    """Says where an answer ends.

    Attributes:
        most: tokens that an answer has at most.
    """

    @property
    def most(self) -> int: ...

    def cut(self, answer: Sequence[int], new: Sequence[int]) -> tuple[int, End | None]:
        """How many of the `new` tokens behind `answer` belong to it, and why it ends with them;
        None where it goes on."""
        ...


class StopAt:
    """The usual reasons.

    Args:
        eos_ids: tokens that end an answer, and belong to it.
        most: tokens of the answer at most, 1 or more.
        strings: the answer ends with the token that completes one of them.
        text: what tokens read as; needed for `strings`.

    Raises:
        InputError: not one token may be said, an empty stop string, or stop strings for a model
            without a tokenizer.
    """

    def __init__(
        self,
        eos_ids: frozenset[int],
        most: int,
        strings: str | Sequence[str] = (),
        text: Callable[[Sequence[int]], str] | None = None,
    ) -> None:
        if most < 1:
            raise InputError(f"{most}", where="max_new_tokens", expected="a whole number from 1")
        strings = (strings,) if isinstance(strings, str) else tuple(strings)
        if not all(strings):
            raise InputError("an empty stop string", expected="text to stop at")
        if strings and text is None:
            raise InputError(
                "stop strings for a model without a tokenizer", expected="a model that has one"
            )
        self.eos_ids, self.most, self.strings = eos_ids, most, strings
        self._text = text

    def cut(self, answer: Sequence[int], new: Sequence[int]) -> tuple[int, End | None]:
        """See `Stopping.cut`."""
        ahead = len(answer) + len(new) < self.most
        if ahead and not self.strings and self.eos_ids.isdisjoint(new):
            return len(new), None  # nearly always
        for count, token in enumerate(new, 1):
            if token in self.eos_ids:
                return count, "eos"
            if self.strings and self.stop_in(self._said(answer, new[:count])) is not None:
                return count, "stop"
            if len(answer) + count == self.most:
                return count, "length"
        return len(new), None

    def stop_in(self, text: str) -> int | None:
        """Where the first stop string begins in a text, None where there is none."""
        return _first_of(self.strings, text)

    def _said(self, answer: Sequence[int], new: Sequence[int]) -> str:
        assert self._text is not None
        return self._text((*answer, *new))


class TextUntil:
    """Gives a text on as it comes, up to the first stop string; what may be the beginning of one
    waits until it is known.

    Args:
        strings: as of `StopAt`.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._waiting, self._stopped = "", False

    def push(self, text: str) -> str:
        """What can be given on now that this has come."""
        if self._stopped:
            return ""
        text, self._waiting = self._waiting + text, ""
        if (place := _first_of(self._strings, text)) is not None:
            self._stopped = True
            return text[:place]
        held = max((_begun(text, string) for string in self._strings), default=0)
        self._waiting = text[len(text) - held :]
        return text[: len(text) - held]

    def close(self) -> str:
        """What was still waiting: no stop string came of it."""
        waiting, self._waiting = self._waiting, ""
        return waiting


def _first_of(strings: Sequence[str], text: str) -> int | None:
    """Where the first of some strings begins in a text, None where there is none."""
    return min((place for place in map(text.find, strings) if place >= 0), default=None)


def _begun(text: str, string: str) -> int:
    """Length of the longest end of a text with which a string begins."""
    lengths = range(min(len(text), len(string) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(string[:length])), 0)
