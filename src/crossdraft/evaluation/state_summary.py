"""From sums over answers to the numbers of a state drafter, as plain JSON with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from crossdraft.evaluation.bootstrap import BlockBootstrap, Floats
from crossdraft.evaluation.state_metrics import ACCEPT, BINS, CALIBRATED, TOP, Gathered
from crossdraft.evaluation.state_run import Measured

_PERCENTILES = (5, 25, 50, 75, 95)
#: Bars of the histogram that a result keeps.
_BARS = 100


def summarise_states(
    rows: Sequence[Measured],
    bootstrap: BlockBootstrap,
    windows: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """One JSON object per row.

    Args:
        bootstrap: over the answers, in the order of the test parts.
        windows: numbers of drafts; consecutive counts are also given with these as ceilings.
    """
    return [
        {
            "source": row.source,
            "alignment": row.alignment,
            "shift": row.shift,
            "control": row.control,
            "parameters": row.parameters,
            "reads": list(row.reads),
            "same": _comparison(row.same, bootstrap, tokens=row.tokens, windows=windows),
            "next": _comparison(row.following, bootstrap, tokens=row.tokens, windows=windows),
        }
        for row in rows
    ]


def meant(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """The comparison that a row's source is for."""
    comparison: Mapping[str, Any] = row["next" if row["shift"] else "same"]
    return comparison


def _comparison(
    gathered: Gathered, bootstrap: BlockBootstrap, *, tokens: bool, windows: Sequence[int]
) -> dict[str, Any]:
    table = gathered.table()
    # An answer without a position that counts says nothing about runs either.
    counted = (table["count"] > 0).astype(float)
    names = ["cosine", *(f"accept_{100 * t:.0f}" for t in ACCEPT)]
    ratios = {name: (table[name], table["count"]) for name in names}
    runs = [f"consecutive_{100 * t:.0f}" for t in ACCEPT]
    if tokens:
        ratios |= {f"token_top{k}": (table[f"top{k}"], table["count"]) for k in TOP}
        runs.append("token_consecutive")
    ratios |= {name: (table[name] * counted, counted) for name in runs}
    stacked = [np.stack(side, axis=1) for side in zip(*ratios.values(), strict=True)]
    estimates = bootstrap.ratio(stacked[0], stacked[1])
    return {
        "answers": int(counted.sum()),
        "positions": int(table["count"].sum()),
        "length": _spread(table["count"][counted > 0]),
        "metrics": {n: e.to_json() for n, e in zip(ratios, estimates, strict=True)},
        "cosine": _cosine(gathered, table),
        "runs": {name: _spread(table[name][counted > 0]) for name in runs},
        "runs_within": {
            str(window): {
                name: _mean(np.minimum(table[name], window)[counted > 0]) for name in runs
            }
            for window in windows
        },
        "by_position": _by_position(gathered, tokens=tokens),
        "calibration": _calibration(table) if tokens else None,
        "histogram": _bars(gathered.histogram),
    }


def _spread(values: Floats) -> dict[str, float | None]:
    if not len(values):
        return dict.fromkeys(("mean", "std", "min", "max", "median"))
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "median": float(np.median(values)),
    }


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _cosine(gathered: Gathered, table: Mapping[str, Floats]) -> dict[str, float | None]:
    """Moments are exact, percentiles the middles of bins of the histogram."""
    count = table["count"].sum()
    if not count:
        return dict.fromkeys(("mean", "std", "min", "max", *(f"p{q:02d}" for q in _PERCENTILES)))
    mean = table["cosine"].sum() / count
    variance = table["cosine_squared"].sum() / count - mean**2
    below = np.cumsum(gathered.histogram) / gathered.histogram.sum()
    middles = {
        f"p{q:02d}": float((np.searchsorted(below, q / 100) + 0.5) * 2 / BINS - 1)
        for q in _PERCENTILES
    }
    return {
        "mean": float(mean),
        "std": float(np.sqrt(max(0.0, variance))),
        "min": gathered.least,
        "max": gathered.most,
        **middles,
    }


def _by_position(gathered: Gathered, *, tokens: bool) -> list[dict[str, Any]]:
    """The first `POSITIONS` places of the target's answer, also those that no answer reaches."""
    rows = []
    for place, (count, total, squares, right, five, *accepted) in enumerate(gathered.by_position):
        mean = total / count if count else np.nan
        spread = np.sqrt(max(0.0, squares / count - mean**2)) if count else np.nan
        rows.append(
            {
                "position": place,
                "answers": int(count),
                "mean": float(mean) if count else None,
                "std": float(spread) if count else None,
                **{
                    f"accept_{100 * t:.0f}": _share(n, count)
                    for t, n in zip(ACCEPT, accepted, strict=True)
                },
                "token_top1": _share(right, count) if tokens else None,
                "token_top5": _share(five, count) if tokens else None,
            }
        )
    return rows


def _calibration(table: Mapping[str, Floats]) -> dict[str, Any]:
    """How often the token is right above each cosine, and the correlation of both."""
    sums = {name: float(values.sum()) for name, values in table.items()}
    n, right = sums["count"], sums["top1"]
    covariance = n * sums["cosine_of_right"] - sums["cosine"] * right
    scale = (n * sums["cosine_squared"] - sums["cosine"] ** 2) * (n * right - right**2)
    levels = [f"{100 * t:.0f}" for t in CALIBRATED]
    return {
        "above": [
            {
                "cosine": t,
                "count": int(sums[f"above_{level}"]),
                "token_match": _share(sums[f"right_above_{level}"], sums[f"above_{level}"]),
            }
            for t, level in zip(CALIBRATED, levels, strict=True)
        ],
        "pearson_r": float(covariance / np.sqrt(scale)) if scale > 1e-9 else None,
    }


def _bars(histogram: Floats) -> list[int]:
    """Counts of `_BARS` equal parts of -1 to 1."""
    return [int(n) for n in histogram.reshape(_BARS, -1).sum(1)]


def _share(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
