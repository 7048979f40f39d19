"""What the suffix drafter gives on recorded answers, beside the plain table it replaces.

The reference is a table of contexts of up to 11 tokens with hard back-off (a 12-gram table), run
as a drafter through the same evaluation: same folds, same replay. Ratios of the two are what to
look at; every line is also shown with fewer, less similar clips.

    python benchmarks/suffix_acceptance.py --pairs answers.json.gz [--train-pairs FILE] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from crossdraft.base.result import machine
from crossdraft.base.tree import DraftTree
from crossdraft.drafters import registry
from crossdraft.drafters.base import Budget, Drafter
from crossdraft.drafters.best_first import best_first_tree
from crossdraft.evaluation.config import EvaluateConfig
from crossdraft.evaluation.run import evaluate
from crossdraft.pairs.record import Pair

START = -1
CONTEXT = 11

SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("static chain of 5", {"gamma": 5}),
    ("online tree of 23 nodes, depth 12", {"nodes": 23, "depth": 12, "online": True}),
    ("online tree of 60 nodes, depth 16", {"nodes": 60, "depth": 16, "online": True}),
    ("the same, every 2nd clip", {"nodes": 60, "depth": 16, "online": True, "stride_clips": 2}),
    ("the same, every 4th clip", {"nodes": 60, "depth": 16, "online": True, "stride_clips": 4}),
)


class PlainTable(Drafter):
    """Counts after the longest context seen, whatever its count; nothing is blended."""

    name = "plain-table"

    def __init__(self) -> None:
        self._after: dict[tuple[int, ...], Counter[int]] = defaultdict(Counter)

    def fit(self, pairs: Sequence[Pair]) -> None:
        for pair in pairs:
            self.finish(pair.target_tokens)

    def finish(self, answer: Sequence[int]) -> None:
        marked = (START, *answer)
        for end in range(1, len(marked)):
            for length in range(min(CONTEXT, end) + 1):
                self._after[marked[end - length : end]][marked[end]] += 1

    def propose(self, prefix: Sequence[int], budget: Budget) -> DraftTree:
        marked = (START, *prefix)
        return best_first_tree(lambda path: self._ranked((*marked, *path)), budget, self.name)

    def _ranked(self, context: tuple[int, ...]) -> list[tuple[int, float]]:
        for length in range(min(CONTEXT, len(context)), -1, -1):
            counts = self._after.get(context[len(context) - length :])
            if counts:
                total = counts.total()
                return [(token, math.log(n / total)) for token, n in counts.most_common()]
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--train-pairs", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    registry.REGISTRY[PlainTable.name] = f"{__name__}:PlainTable"

    rows: list[dict[str, Any]] = []
    print(f"{'':36}{'plain table':>12}{'suffix':>8}  {'95 % interval':15}{'ratio':>6}")
    for title, options in SETTINGS:
        config = EvaluateConfig.parse(
            pairs=arguments.pairs,
            train_pairs=arguments.train_pairs,
            drafters=(PlainTable.name,),
            **options,
        )
        payload = evaluate(config).payload
        tau = {name: metrics["tau"] for name, metrics in payload["drafters"].items()}
        plain, suffix = tau[PlainTable.name]["value"], tau["suffix"]
        interval = f"{suffix['low']:.2f}–{suffix['high']:.2f}"
        print(
            f"{title:36}{plain:12.3f}{suffix['value']:8.3f}  {interval:15}"
            f"{suffix['value'] / plain:6.3f}"
        )
        rows.append({"setting": title, "tau": tau, "data": payload["data"]})
    if arguments.json:
        about = {
            "machine": machine(),
            "date": date.today().isoformat(),
            "rows": rows,
        }
        arguments.json.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
