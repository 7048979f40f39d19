"""What the stages of the GPU benchmark say together, and how it reads on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpu_7b_meter import floor_ms

GIB = 2**30


def summary(stages: Mapping[str, Any]) -> dict[str, Any]:
    """Every step against the floor of its model.

    Returns:
        `floor_ms` of the target's step, `decode_over_floor` by path, the `best_path` with its
        T(8)/T(1); `drafter_floor_ms`, `drafter_decode_over_floor`, and the drafter's first token
        over the target's. Without what was not measured.
    """
    found: dict[str, Any] = {}
    speed = stages.get("bandwidth", {}).get("bytes_per_s")
    paths = stages.get("paths", {}).get("paths", {})
    timed = {name: path for name, path in paths.items() if "step" in path}
    if timed:
        best = min(timed, key=lambda name: timed[name]["step"]["median_ms"])
        found |= {"best_path": best, "best_t8_over_t1": timed[best]["t8_over_t1"]}
    if timed and speed:
        floor = floor_ms(stages["paths"]["step_bytes"], speed)
        found |= {
            "floor_ms": floor,
            "decode_over_floor": {
                name: path["step"]["median_ms"] / floor for name, path in timed.items()
            },
        }
    drafter = stages.get("drafter", {})
    if speed and "stages" in drafter:
        floor = floor_ms(drafter["step_bytes"], speed)
        step_ms = drafter["stages"]["decode_step"]["median_ms"]
        found |= {"drafter_floor_ms": floor, "drafter_decode_over_floor": step_ms / floor}
    if "stages" in drafter and "stages" in (target := stages.get("target", {})):
        firsts_ms = [one["stages"]["first_token"]["median_ms"] for one in (drafter, target)]
        found["drafter_over_target_first_token"] = firsts_ms[0] / firsts_ms[1]
    return found


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report as a table."""
    about, settings = report["machine"], report["settings"]
    packages = ", ".join(
        f"{name} {report['packages'].get(name)}" for name in ("torch", "transformers")
    )
    yield f"{settings['size']}, {settings['dtype']}, random weights; {about['device']}; {packages}"
    yield f"{'':24}{'median ms':>11}{'quartiles':>19}{'peak GiB':>10}"
    for name, stage in report["stages"].items():
        if stage["status"] != "done":
            yield f"{name}: {stage['status']}: {stage['reason']}"
            continue
        yield f"{name} ({stage['seconds']:.0f} s)"
        yield from _LINES[name](stage, report["summary"])


def _bandwidth(stage: Mapping[str, Any], _: Mapping[str, Any]) -> Iterator[str]:
    for name, per_s in stage["bytes_per_s_by_way"].items():
        yield f"  {name:22}{per_s / 1e9:>11.1f} GB/s"


def _model(stage: Mapping[str, Any], _: Mapping[str, Any]) -> Iterator[str]:
    for name, one in stage["stages"].items():
        yield _row(name, one, one["peak_memory_bytes"])


def _verify(stage: Mapping[str, Any], _: Mapping[str, Any]) -> Iterator[str]:
    for chain, tree in zip(stage["chain"], stage["tree"], strict=True):
        yield (
            f"  {'T(' + str(chain['tokens']) + ')/T(1)':22}{chain['ms']:>11.2f}"
            f"   chain {chain['ratio']:.2f}, tree {tree['ratio']:.2f}"
        )


def _paths(stage: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    over = found.get("decode_over_floor", {})
    if "floor_ms" in found:
        yield f"  {'floor':22}{found['floor_ms']:>11.3f}"
    for name, path in stage["paths"].items():
        if "step" not in path:
            yield f"  {name}: {path['status']}: {path['reason']}"
            continue
        yield _row(name, path["step"], path["peak_memory_bytes"]) + (
            f"   T(8)/T(1) {path['t8_over_t1']:.2f}"
            + (f", {over[name]:.2f} floors" if name in over else "")
            + ("" if path["same_tokens_as_first_path"] else ", OTHER TOKENS")
        )
    if "best_path" in found:
        yield f"  best: {found['best_path']}"


def _row(name: str, one: Mapping[str, Any], peak: int | None) -> str:
    quartiles = f"{one['low_ms']:.2f} .. {one['high_ms']:.2f}"
    memory = "" if peak is None else f"{peak / GIB:.2f}"
    return f"  {name:22}{one['median_ms']:>11.2f}{quartiles:>19}{memory:>10}"


_LINES = {
    "bandwidth": _bandwidth,
    "drafter": _model,
    "target": _model,
    "verify": _verify,
    "paths": _paths,
}
