"""Can the suffix drafter keep up? Times and memory with a million tokens of history.

A proposal runs between two forwards of the target and an absorb after each answer, so both
have absolute limits, checked here on two kinds of history: random words (Zipf over 32,000)
and, with --pairs FILE, recorded answers resampled with a tenth of their words replaced.
Compile time is near zero where numba's cache is warm; NUMBA_CACHE_DIR=$(mktemp -d) clears it.
"""

import argparse
import datetime
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.drafters.base import Budget
from crossdraft.drafters.suffix import SuffixDrafter
from crossdraft.drafters.suffix_index import warm_up
from crossdraft.pairs.formats import read_pairs
from crossdraft.pairs.record import Pair

LIMITS = {"propose_p50_ms": 0.5, "absorb_p50_ms": 1.0, "bytes_per_token": 200.0}
COLUMNS = [
    "propose_p50_ms",
    "propose_p90_ms",
    "absorb_p50_ms",
    "absorb_p90_ms",
    "bytes_per_token",
    "build_s",
]
LENGTH, VOCABULARY, NODES, DEPTH, PROBES = 50, 32_000, 60, 16, 400

Answer = NDArray[np.int32]
Source = Callable[[np.random.Generator], Answer]


def zipf_source() -> Source:
    """Answers of independent words, rank r with probability ~ 1 / r."""
    cumulative = np.cumsum(1.0 / np.arange(1, VOCABULARY + 1))
    cumulative /= cumulative[-1]

    def draw(rng: np.random.Generator) -> Answer:
        return np.searchsorted(cumulative, rng.random(LENGTH)).astype(np.int32)

    return draw


def recorded_source(path: Path) -> Source:
    """Recorded answers, resampled, a tenth of the words replaced by others of the recording."""
    answers = [np.array(pair.target_tokens, np.int32) for pair in read_pairs(path).pairs]
    words = np.concatenate(answers)

    def draw(rng: np.random.Generator) -> Answer:
        answer = np.resize(answers[rng.integers(len(answers))], LENGTH)
        replaced = rng.random(LENGTH) < 0.1
        return np.where(replaced, words[rng.integers(words.size, size=LENGTH)], answer)

    return draw


def clock_ms(call: Callable[[], object]) -> float:
    start = now_ms()
    call()
    return now_ms() - start


def measure(source: Source, n_tokens: int) -> dict[str, float]:
    """Build a history, then time proposals inside unseen answers and absorbing them."""
    rng = np.random.default_rng(0)
    history = [
        Pair(str(i), i, "", 0, (), tuple(source(rng).tolist())) for i in range(n_tokens // LENGTH)
    ]
    drafter, budget = SuffixDrafter(), Budget.tree(NODES, DEPTH)
    build_s = clock_ms(partial(drafter.fit, history)) / 1e3
    propose_ms, absorb_ms = [], []
    drafter.propose((), budget)  # the buffers are allocated once
    for _ in range(PROBES):
        answer = source(rng).tolist()
        prefix = answer[: rng.integers(LENGTH)]
        propose_ms.append(clock_ms(partial(drafter.propose, prefix, budget)))
        absorb_ms.append(clock_ms(partial(drafter.finish, answer)))
    times = {"propose": propose_ms, "absorb": absorb_ms}
    row = {
        f"{name}_p{q}_ms": float(np.percentile(values, q))
        for name, values in times.items()
        for q in (50, 90)
    }
    return row | {
        "bytes_per_token": drafter.index.nbytes / drafter.index.n_tokens,
        "build_s": build_s,
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}")
    print(f"{result['tokens']:,} tokens of history; compile {result['compile_s']:.1f} s")
    print(f"{'history':<10}" + "".join(f"{column:>17}" for column in COLUMNS))
    for name, row in result["histories"].items():
        print(f"{name:<10}" + "".join(f"{row[column]:>17.3f}" for column in COLUMNS))
    for name, checks in result["checks"].items():
        for column, passed in checks.items():
            verdict = "PASS" if passed else "FAIL"
            print(f"{verdict}  {name}: {column} <= {LIMITS[column]:g}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tokens", type=int, default=1_000_000, help="tokens of history")
    parser.add_argument("--pairs", type=Path, help="recorded answers, any known format")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    compile_s = clock_ms(warm_up) / 1e3
    sources = {"zipf": zipf_source()}
    if options.pairs:
        sources["recorded"] = recorded_source(options.pairs)
    rows = {name: measure(source, options.tokens) for name, source in sources.items()}
    result = {
        "benchmark": "suffix_scale",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "tokens": options.tokens,
        "proposal": {"nodes": NODES, "depth": DEPTH},
        "compile_s": compile_s,
        "limits": LIMITS,
        "histories": rows,
        "checks": {n: {c: r[c] <= LIMITS[c] for c in LIMITS} for n, r in rows.items()},
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(all(checks.values()) for checks in result["checks"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
