"""T(n)/T(1) of a small decoder on this machine, as a file that `--cost-curve` reads.

A randomly initialised Llama of about 12 million parameters reads n tokens on top of a cache, n in
alternation so that a busy machine slows all alike; the ratio is that of the medians. It stands in
for the target where none is at hand; the curve of a real target is the one to use.

    python benchmarks/small_decoder_cost.py --json cost.json [--repeats 60]
"""

from __future__ import annotations

import argparse
import json
import statistics
from datetime import date
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine

WIDTHS = (1, 2, 4, 6, 9, 13, 17, 24, 33, 45, 61)
CONTEXT = 300


def _shorten(cache: Any) -> None:
    """Back to the context; `Cache.crop` counts differently from release to release."""
    for layer in cache.layers:
        layer.keys = layer.keys[:, :, :CONTEXT]
        layer.values = layer.values[:, :, :CONTEXT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=60)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2000, hidden_size=384, intermediate_size=1024, num_hidden_layers=6,
        num_attention_heads=6, num_key_value_heads=6,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()  # type: ignore[no-untyped-call]
    parameters = sum(weight.numel() for weight in model.parameters())
    times_ms: dict[int, list[float]] = {width: [] for width in WIDTHS}
    with torch.inference_mode():
        cache = DynamicCache(config=config)
        model(torch.randint(0, 2000, (1, CONTEXT)), past_key_values=cache)
        for _ in range(arguments.repeats + 3):
            for width in WIDTHS:
                tokens = torch.randint(0, 2000, (1, width))
                start_ms = now_ms()
                model(tokens, past_key_values=cache)
                times_ms[width].append(now_ms() - start_ms)
                _shorten(cache)
    medians = [statistics.median(times_ms[width][3:]) for width in WIDTHS]
    # A wider pass never costs less; what noise says otherwise is levelled.
    rising = [max(medians[: place + 1]) for place in range(len(medians))]
    ratio = [value / rising[0] for value in rising]
    about = {
        "tokens": list(WIDTHS),
        "ratio": ratio,
        "step_ms": medians[0],
        "model": f"random Llama, {parameters:,} parameters, {CONTEXT} tokens in its cache, float32",
        "threads": torch.get_num_threads(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }
    arguments.json.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    print(", ".join(f"T({n})/T(1) {r:.2f}" for n, r in zip(WIDTHS, ratio, strict=True)))


if __name__ == "__main__":
    main()
