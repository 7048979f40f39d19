"""Intervals that respect how the data was recorded.

Neighbouring clips overlap, so single answers are not independent. Whole drives, or contiguous
blocks of clips, are drawn with replacement (block bootstrap, Künsch 1989) and the ratio of sums is
recomputed on each draw.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.result import Estimate

Floats = NDArray[np.float64]

#: Below this many blocks a bootstrap says little about how a number would vary.
_FEW_BLOCKS = 8


class BlockBootstrap:
    """One set of draws, shared by every metric so that their intervals can be compared."""

    def __init__(self, groups: Sequence[Sequence[int]], resamples: int, seed: int) -> None:
        """
        Args:
            groups: indices of answers, one list per drive or block.
            resamples: number of draws.
            seed: of the draws.
        """
        self.groups = [np.asarray(group, dtype=np.int64) for group in groups]
        n = len(self.groups)
        rng = np.random.default_rng(seed)
        # [resamples, groups]: how often each group is drawn.
        self._draws: Floats = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)

    def ratio(self, numerators: Floats, denominators: Floats) -> list[Estimate]:
        """Ratios of sums with 95 % intervals.

        Args:
            numerators, denominators: [answers, metrics].

        Returns:
            One estimate per metric; value None where the denominator is zero, interval None with
            fewer than two groups.
        """
        return _estimates(*self._values_and_draws(numerators, denominators))

    def difference(
        self, first: tuple[Floats, Floats], second: tuple[Floats, Floats]
    ) -> list[Estimate]:
        """First ratio minus second, each a pair of numerators and denominators as in `ratio`.

        Both are recomputed on the same draws, so that what hard clips do to both cancels out.
        """
        value, draws = self._values_and_draws(*first)
        other_value, other_draws = self._values_and_draws(*second)
        return _estimates(
            value - other_value, None if draws is None else draws - np.asarray(other_draws)
        )

    def quotient(
        self, first: tuple[Floats, Floats], second: tuple[Floats, Floats]
    ) -> list[Estimate]:
        """First ratio over the second, on the same draws as in `difference`."""
        value, draws = self._values_and_draws(*first)
        other_value, other_draws = self._values_and_draws(*second)
        drawn = None if draws is None else _divide(draws, np.asarray(other_draws))
        return _estimates(_divide(value, other_value), drawn)

    def _values_and_draws(
        self, numerators: Floats, denominators: Floats
    ) -> tuple[Floats, Floats | None]:
        """[metrics] ratios and [resamples, metrics] of their draws, None with one group."""
        top, bottom = self._by_group(numerators), self._by_group(denominators)
        values = _divide(top.sum(0), bottom.sum(0))
        if len(self.groups) < 2:
            return values, None
        return values, _divide(self._draws @ top, self._draws @ bottom)

    def _by_group(self, values: Floats) -> Floats:
        return np.stack([values[group].sum(0) for group in self.groups])


def _estimates(values: Floats, draws: Floats | None) -> list[Estimate]:
    """Values with the 95 % intervals of their draws."""
    if draws is None:
        return [Estimate(_number(value)) for value in values]
    estimates = []
    for value, column in zip(values, draws.T, strict=True):
        seen = column[np.isfinite(column)]
        if not len(seen) or not np.isfinite(value):
            estimates.append(Estimate(_number(value)))
            continue
        low, high = np.percentile(seen, [2.5, 97.5])
        estimates.append(Estimate(float(value), float(low), float(high)))
    return estimates


def _divide(top: Floats, bottom: Floats) -> Floats:
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def few_blocks(groups: Sequence[object]) -> list[str]:
    """A warning where a bootstrap over these blocks says little."""
    if len(groups) >= _FEW_BLOCKS:
        return []
    blocks = "1 block" if len(groups) == 1 else f"{len(groups)} blocks"
    return [f"intervals rest on {blocks}: too few to trust them"]
