"""Drawing what a drive is made of: one stream of numbers per drive, from its name."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TypeVar

Choice = TypeVar("Choice")


class Dice:
    """Draws in an order that never depends on what is drawn for another drive."""

    def __init__(self, name: str) -> None:
        self._random = random.Random(name)

    def pick(self, weights: Mapping[Choice, float]) -> Choice:
        """One of the keys, as often as its weight says."""
        return self._random.choices(list(weights), list(weights.values()))[0]

    def between(self, low: float, high: float) -> float:
        """A number to three places, as manifests keep it."""
        return round(self._random.uniform(low, high), 3)

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return self._random.randint(low, high)

    def chance(self, share: float) -> bool:
        """True in this share of all cases."""
        return self._random.random() < share
