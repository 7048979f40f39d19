"""What int8 states cost: drafters trained on each of two stores, judged on the same test drives.

Both stores hold the same answers; seeds, batches and steps of the trainings are the same. The test
store's states are exact, as they are in live use. tau: tokens for each forward of the target, in
chains, everything arrived. First window: accepted of the first drafts, from the event model's own
states alone. Intervals: 95 %, bootstrapped over drives; differences on the same draws.

    crossdraft extract --scenes DIR --split train --max-questions 5 --out bf16 --dtype bf16
    crossdraft extract --scenes DIR --split train --max-questions 5 --out int8 --dtype int8
    crossdraft extract --scenes DIR --split test --max-questions 5 --out test
    crossdraft train L4 --pairs bf16 --out l4-bf16    and the same of int8, and of other levels
    python benchmarks/store_precision.py --exact l4-bf16 --rounded l4-int8 --pairs test
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from measuring import refuse_below_one, reported
from numpy.typing import NDArray

from crossdraft.base.errors import InputError
from crossdraft.base.result import machine, package_versions
from crossdraft.decoding.arrival import Arrival
from crossdraft.decoding.replay import first_window, replay
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.find import find_drafter, seen_drives
from crossdraft.evaluation.bootstrap import BlockBootstrap, few_blocks
from crossdraft.evaluation.metrics import FIRST_WINDOW
from crossdraft.pairs.record import Pair
from crossdraft.pairs.store import PairStore

_RESAMPLES = 2000
METRICS = ("tau", "first_window")
Floats = NDArray[np.float64]


def judged(drafter: Drafter, pairs: Sequence[Pair], gamma: int) -> tuple[Floats, Floats]:
    """[pairs, metrics] numerators and denominators of what a drafter gives."""
    counted, of = [], []
    for pair in pairs:
        seen = replay(drafter, pair, Budget.chain(gamma), Arrival())
        counted.append((seen.tokens, first_window(drafter, pair, Arrival(), FIRST_WINDOW)))
        of.append((seen.forwards, 1))
    return np.array(counted, np.float64), np.array(of, np.float64)


def compared(exact: str, rounded: str, pairs: Sequence[Pair], gamma: int) -> dict[str, Any]:
    """Both trainings of one drafter on the same answers, and the second less the first.

    Raises:
        InputError: no checkpoint, one that has seen a tested drive, or two different drafters.
    """
    drafters = [find_drafter(place) for place in (exact, rounded)]
    if drafters[0].name != drafters[1].name:
        raise InputError(
            f"{drafters[0].name} and {drafters[1].name}",
            where=f"{exact} and {rounded}",
            expected="two trainings of one drafter",
        )
    drives = [str(pair.drive) for pair in pairs]
    for place in (exact, rounded):
        if shared := sorted(seen_drives(place) & set(drives)):
            raise InputError(f"has seen the tested drive {shared[0]}", where=place)
    groups = [[i for i, one in enumerate(drives) if one == name] for name in sorted(set(drives))]
    bootstrap = BlockBootstrap(groups, _RESAMPLES, 0)
    counts = [judged(drafter, pairs, gamma) for drafter in drafters]
    found = [bootstrap.ratio(*counts[0]), bootstrap.ratio(*counts[1]),
             bootstrap.difference(counts[1], counts[0])]  # fmt: skip
    return {
        "drafter": drafters[0].name,
        "checkpoints": [exact, rounded],
        **{
            metric: {
                side: estimates[column].to_json()
                for side, estimates in zip(("exact", "rounded", "difference"), found, strict=True)
            }
            for column, metric in enumerate(METRICS)
        },
    }


def measured(
    exact: Sequence[str], rounded: Sequence[str], folder: Path, gamma: int
) -> dict[str, Any]:
    """The whole measurement.

    Raises:
        InputError: as `compared`, or not as many checkpoints on both sides.
    """
    if len(exact) != len(rounded):
        raise InputError(
            f"{len(exact)} and {len(rounded)} checkpoints",
            where="--exact and --rounded",
            expected="as many on both sides, in the same order",
        )
    pairs = list(PairStore.open(folder).pairs())
    drives = sorted({str(pair.drive) for pair in pairs})
    return {
        "benchmark": "store_precision",
        "rows": [compared(*both, pairs, gamma) for both in zip(exact, rounded, strict=True)],
        "pairs": len(pairs),
        "drives": len(drives),
        "gamma": gamma,
        "warnings": few_blocks(drives),
        "packages": package_versions(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


def lines(result: dict[str, Any]) -> list[str]:
    """What is printed."""
    shown = [f"{result['pairs']:,} pairs of {result['drives']} drives, chains of {result['gamma']}"]
    for row in result["rows"]:
        for metric in METRICS:
            said = ", ".join(f"{side} {_shown(value)}" for side, value in row[metric].items())
            shown.append(f"{row['drafter']} ({row['checkpoints'][0]}) {metric}: {said}")
    return [*shown, *(f"warning: {text}" for text in result["warnings"])]


def _shown(value: dict[str, float | None]) -> str:
    low, high = value["low"], value["high"]
    between = "" if low is None or high is None else f" [{low:.3f}, {high:.3f}]"
    return f"{value['value']:.3f}{between}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exact", nargs="+", required=True, metavar="RUN", help="bf16's")
    parser.add_argument("--rounded", nargs="+", required=True, metavar="RUN", help="int8's")
    parser.add_argument("--pairs", type=Path, required=True, help="a store of test drives")
    parser.add_argument("--gamma", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)

    def measure() -> dict[str, Any]:
        refuse_below_one(arguments, ["gamma"])
        return measured(arguments.exact, arguments.rounded, arguments.pairs, arguments.gamma)

    return reported(measure, arguments.json, lines)


if __name__ == "__main__":
    raise SystemExit(main())
