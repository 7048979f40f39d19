"""The whole loop at 7B shapes on one device, with answers that were recorded from the real models.

Weights are random, so what the target says is laid over its logits after every pass: the answers of
a file of pairs. Passes cost what they cost, and drafts are accepted as they would have been. An
event model of EventGPT's shapes works before the target, or beside it on a CUDA stream of its own.

    python benchmarks/gpu_overlap.py --pairs answers.json.gz [--json FILE]
    python benchmarks/gpu_overlap.py --pairs answers.json.gz --size tiny --device cpu
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

import torch
from gpu_7b_models import SIZES
from gpu_overlap_kit import ALONE, BEFORE, BESIDE, PLAIN, WAYS, Kit, Took, Way, answers_of, kit_of
from measuring import refuse_below_one, reported, spread

from crossdraft.base.device import find_device
from crossdraft.base.errors import InputError
from crossdraft.base.result import machine, package_versions
from crossdraft.decoding.generation import Generation
from crossdraft.decoding.stream import AnswerStream
from crossdraft.drafters.base import Budget, Context
from crossdraft.drafters.none import NoDrafter
from crossdraft.drafters.suffix import SuffixDrafter

#: The loop's own time in a plain decoding step.
OVERHEAD = 0.05
NOT_ON_A_GPU = "NOT RUN ON A GPU: the same lines ran, their times say nothing about one"


def in_turn(kit: Kit, answers: Sequence[Sequence[int]], clips: int) -> list[dict[Way, Took]]:
    """The last answers, each in every way in turn; drafters have heard all that come before.

    The first of them warms up and does not count.

    Raises:
        InputError: too few answers.
    """
    if len(answers) <= clips:
        raise InputError(
            f"{clips} clips and one to warm up, of {len(answers)} answers",
            where="--clips",
            expected="fewer than there are",
        )
    heard, asked = answers[: -clips - 1], answers[-clips - 1 :]
    drafters = {way: SuffixDrafter() if way.suffix else NoDrafter() for way in WAYS}
    for drafter in drafters.values():
        drafter.begin(Context("question", AnswerStream()))
        for answer in heard:
            drafter.finish(answer)
    found = []
    for number, answer in enumerate(asked):
        order = WAYS[number % len(WAYS) :] + WAYS[: number % len(WAYS)]
        found.append({way: kit.run(way, drafters[way], answer) for way in order})
    return found[1:]


def summary(found: Sequence[dict[Way, Took]]) -> dict[str, Any]:
    """Medians and quartiles over clips; ratios are formed within a clip.

    Returns:
        Of every way `total_ms`, `speedup` over plain decoding without an event model, `tau`, and
        the loop's own time of a pass in plain steps, `overhead`. `hidden` is the share of the event
        model's time that working beside the target saves: 1 - (beside - alone) / (before - alone).
    """
    # An answer of one token has no step.
    steps_ms = [one[PLAIN].step_ms for one in found]
    return {
        "ways": {
            str(way): {
                "total_ms": median(one[way].total_ms for one in found),
                "speedup": spread([one[PLAIN].total_ms / one[way].total_ms for one in found]),
                "tau": _tau([one[way].answer for one in found]),
                "overhead": spread(
                    [one[way].own_ms / ms for one, ms in zip(found, steps_ms, strict=True)]
                ),
            }
            for way in WAYS
        },
        "step_ms": median(steps_ms),
        "event_ms": median(one[BEFORE].total_ms - one[ALONE].total_ms for one in found),
        "hidden": spread(
            [
                1 - (one[BESIDE].total_ms - one[ALONE].total_ms)
                / (one[BEFORE].total_ms - one[ALONE].total_ms)
                for one in found
            ]
        ),
    }  # fmt: skip


def _tau(answers: Sequence[Generation]) -> float:
    """Tokens per forward of the target over all answers."""
    return sum(len(one.tokens) for one in answers) / sum(len(one.passes) for one in answers)


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole measurement.

    Raises:
        InputError: as the parts say.
    """
    device = find_device(arguments.device)
    gpu = device.type == "cuda"
    if gpu and device.index is not None:
        torch.cuda.set_device(device)  # streams are made on the current one
    budget = Budget.tree(arguments.nodes, arguments.depth)
    kit = kit_of(arguments.size, device, budget, arguments.event_tokens)
    shown = summary(in_turn(kit, answers_of(arguments.pairs, kit), arguments.clips))
    reached = all(way["overhead"]["median"] <= OVERHEAD for way in shown["ways"].values())
    return {
        "benchmark": "gpu_overlap",
        "weights": "random; answers recorded",
        "settings": {
            name: getattr(arguments, name)
            for name in ("size", "clips", "nodes", "depth", "event_tokens")
        },
        **shown,
        "limits": {"at_most": {"overhead": OVERHEAD}},
        "checks": {"overhead": reached} if gpu else {},
        "warnings": [] if gpu else [NOT_ON_A_GPU],
        "device": torch.cuda.get_device_name(device) if gpu else str(device),
        "threads": torch.get_num_threads(),
        "packages": package_versions(),
        "machine": machine(),
        "date": date.today().isoformat(),
    }


def lines(result: dict[str, Any]) -> list[str]:
    """What is printed."""
    shown = [f"warning: {text}" for text in result["warnings"]]
    for name, way in result["ways"].items():
        speed, own = way["speedup"], way["overhead"]
        shown.append(
            f"{name}: {way['total_ms']:.1f} ms, speed-up {speed['median']:.2f} "
            f"({speed['low']:.2f} .. {speed['high']:.2f}), tau {way['tau']:.2f}, "
            f"overhead {own['median']:.1%} of a step"
        )
    hidden = result["hidden"]
    shown.append(
        f"event model {result['event_ms']:.1f} ms before the target; beside it "
        f"{hidden['median']:.0%} hidden ({hidden['low']:.0%} .. {hidden['high']:.0%})"
    )
    for name, reached in result["checks"].items():
        shown.append(f"{name} <= {OVERHEAD:g}: {'reached' if reached else 'NOT REACHED'}")
    return shown


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="recorded answers")
    parser.add_argument("--size", choices=tuple(SIZES), default="7b")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1")
    parser.add_argument("--clips", type=int, default=20, help="answers that count, the last ones")
    parser.add_argument("--nodes", type=int, default=16, help="drafts of a pass at most")
    parser.add_argument("--depth", type=int, default=8, help="of them below each other")
    parser.add_argument("--event-tokens", type=int, default=8, help="that the event model says")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)

    def measure() -> dict[str, Any]:
        refuse_below_one(arguments, ("clips", "nodes", "depth", "event_tokens"))
        return measured(arguments)

    return reported(measure, arguments.json, lines)


if __name__ == "__main__":
    raise SystemExit(main())
