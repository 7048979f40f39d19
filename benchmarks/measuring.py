"""What benchmarks share: medians with quartiles, and counts that a call may name."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from statistics import quantiles

from crossdraft.base.errors import InputError


def spread(values: list[float]) -> dict[str, float]:
    """Median and quartiles; of a single value three times that."""
    low, middle, high = quantiles(values * (1 + (len(values) == 1)), method="inclusive")
    return {"median": middle, "low": low, "high": high}


def refuse_below_one(arguments: Namespace, names: Sequence[str]) -> None:
    """Refuse counts below 1, of lists their least; what was not given is right.

    Raises:
        InputError: naming the option.
    """
    for name in names:
        value = getattr(arguments, name)
        least = min(value) if isinstance(value, list) else value
        if least is not None and least < 1:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{least}", where=option, expected="1 or more")
