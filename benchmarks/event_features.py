"""What pooling first saves between EventGPT's tower and its language model.

The published sizes with random weights: five frames of 577 tower states, 1024 wide, into 4096. The
published order (project, adapt, pool) and the fused one (activate, pool, one map) take turns.
"""

import argparse
import datetime
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from crossdraft.base.clock import now_ms
from crossdraft.base.files import write_json
from crossdraft.base.result import machine
from crossdraft.vlm.eventgpt.configuration import FRAMES, PUBLISHED_TOWER, EventGPTConfig
from crossdraft.vlm.eventgpt.modeling import EventGPTModel

STATES = 577


def made(device: str, dtype: torch.dtype) -> Any:
    """The published projector and adaptor; tower and language model as small as they get."""
    config = EventGPTConfig(
        vision_config={**PUBLISHED_TOWER, "num_hidden_layers": 1},
        vocab_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
    )
    torch.manual_seed(0)
    model: Any = EventGPTModel(config)
    return model.to(device, dtype).eval().requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16", "float16"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    dtype: torch.dtype = getattr(torch, arguments.dtype)
    model = made(arguments.device, dtype)
    shape = (1, FRAMES, STATES, PUBLISHED_TOWER["hidden_size"])
    states = torch.randn(shape, device=arguments.device, dtype=dtype)

    def timed(pool_first: bool) -> float:
        start = now_ms()
        model.features_of(states, pool_first=pool_first).sum().item()
        return now_ms() - start

    apart = model.features_of(states) - model.features_of(states, pool_first=False)
    pairs = [(timed(False), timed(True)) for _ in range(arguments.rounds + 1)][1:]
    result = {
        "benchmark": "event_features",
        "ratio": statistics.median(published / fused for published, fused in pairs),
        "ms": {
            "published": statistics.median(one for one, _ in pairs),
            "pool_first": statistics.median(one for _, one in pairs),
        },
        "largest_difference": apart.abs().max().item(),
        "dtype": arguments.dtype,
        "device": arguments.device,
        "rounds": arguments.rounds,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
    }
    print(json.dumps(result, indent=2))
    if arguments.json:
        write_json(arguments.json, result)


if __name__ == "__main__":
    main()
