"""T(k)/T(1) of a small decoder on this machine, as a file that `--cost-curve` reads.

The random Llama that `crossdraft bench verify-cost` takes without a model, at the widths and the
short context of the evaluations under `benchmarks/results`. It stands in for the target where none
is at hand; the curve of a real target is the one to use.

    python benchmarks/small_decoder_cost.py --json cost.json [--repeats 60]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from crossdraft.base.files import write_json
from crossdraft.base.result import machine
from crossdraft.bench.random_model import random_model, small_llama
from crossdraft.vlm.cost_measure import measure
from crossdraft.vlm.target import Target

WIDTHS = (1, 2, 4, 6, 9, 13, 17, 24, 33, 45, 61)
CONTEXT = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=60)
    arguments = parser.parse_args()
    model = random_model(small_llama(), torch.float32, torch.device("cpu"))
    curves = measure(
        Target(model), context=CONTEXT, widths=WIDTHS, tail_widths=(), repeats=arguments.repeats
    )
    about = curves.to_json()
    about |= {
        "model": f"random Llama, {curves.setup.parameters:,} parameters, {CONTEXT} tokens in its "
        "cache, float32",
        "threads": curves.setup.threads,
        "machine": machine(),
    }
    write_json(arguments.json, about)
    print(", ".join(f"T({n})/T(1) {r:.2f}" for n, r in zip(WIDTHS, about["ratio"], strict=True)))


if __name__ == "__main__":
    main()
