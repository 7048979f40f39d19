"""Checked access to the fields of one item of a foreign file.

Every fault names the item and the field, so that a user finds it in a file of thousands.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError

#: One id less than fits, so that drafters have one that no answer contains.
MAX_TOKEN_ID = 2**31 - 2
#: Larger numbers are not exact as floats, and no index or time is that large.
MAX_WHOLE = 2**53 - 1


class Item:
    """One item of a file, with the place it stands at."""

    def __init__(self, value: Any, where: Path, name: str) -> None:
        self.where, self.name = where, name
        if not isinstance(value, Mapping):
            raise self.error(f"is {_kind(value)}", "an object")
        self.value: Mapping[str, Any] = value

    def error(self, found: str, expected: str | None = None) -> InputError:
        return InputError(f"{self.name}: {found}", where=self.where, expected=expected)

    def sub(self, key: str) -> Item:
        """The nested object at `key`."""
        return Item(self.value.get(key), self.where, f"{self.name}.{key}")

    def tokens(self, key: str) -> tuple[int, ...] | None:
        """Token ids at `key`; None where the field is missing or null.

        Raises:
            InputError: not a list of whole numbers from 0 to MAX_TOKEN_ID.
        """
        value = self.value.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.error(f"{key} is {_kind(value)}", "a list of token ids")
        for place, token in enumerate(value):
            if type(token) is not int or not 0 <= token <= MAX_TOKEN_ID:
                raise self.error(
                    f"{key}[{place}] is {shown(token)}", f"a whole number from 0 to {MAX_TOKEN_ID}"
                )
        return tuple(value)

    def text(self, key: str) -> str | None:
        """Text at `key`; None where missing or null."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, str):
            raise self.error(f"{key} is {_kind(value)}", "text")
        return value

    def whole(self, key: str, default: int) -> int:
        """Whole number at `key`, `default` where missing or null."""
        value = self.value.get(key)
        if value is None:
            return default
        if type(value) is not int or abs(value) > MAX_WHOLE:
            raise self.error(f"{key} is {shown(value)}", "a whole number below 2^53")
        return value

    def mapping(self, key: str) -> dict[str, Any]:
        """Object at `key`, empty where missing or null."""
        value = self.value.get(key)
        if value is not None and not isinstance(value, Mapping):
            raise self.error(f"{key} is {_kind(value)}", "an object")
        return dict(value or {})

    def time_ms(self, key: str) -> float | None:
        """Seconds at `key` as milliseconds; None where missing or null."""
        value = self.value.get(key)
        if value is None:
            return None
        if not is_time(value) or not is_time(value * 1e3):
            raise self.error(f"{key} is {shown(value)}", "a time in seconds, zero or more")
        return float(value) * 1e3


def is_time(value: Any) -> bool:
    """Whether a JSON value can be a duration: a finite number, zero or more."""
    return type(value) in (int, float) and 0 <= value <= MAX_WHOLE


def shown(value: Any) -> str:
    """The value, unless it is too long to help."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _kind(value: Any) -> str:
    """What a JSON value is, in the reader's words."""
    if value is None:
        return "missing"
    names: dict[type, str] = {
        bool: "true/false", int: "a number", float: "a number", str: "text",
        list: "a list", dict: "an object",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)
