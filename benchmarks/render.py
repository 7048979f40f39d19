"""How quickly are event frames drawn? Five frames of recorded windows against a numpy write.

The numpy write is the quick plain way: a white canvas per part, pixels as flat indices through a
table of two colours. Both draw the same frames, taking turns in one process, once into fresh
buffers and once into buffers that are kept. The floor is what filling the same buffers white
takes, which any way of drawing has to do. Compiling is not counted.
"""

import argparse
import datetime
import json
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.readers import read_events
from crossdraft.scenes.render import RenderSettings, render_frames

LIMITS = {"fresh": 3.0, "out": 8.0}
PARTS = 5
TABLE = np.array([[0, 0, 255], [255, 0, 0]], np.uint8)

Frames = list[NDArray[np.uint8]]


def numpy_write(stream: EventStream) -> Frames:
    """The frames by count, sensor canvas, last event wins."""
    frames, share = [], len(stream) // PARTS
    for i in range(PARTS):
        part = stream.slice(i * share, (i + 1) * share if i < PARTS - 1 else len(stream))
        canvas = np.full((stream.height, stream.width, 3), 255, np.uint8)
        pixels = part.y.astype(np.int64) * stream.width + part.x
        canvas.reshape(-1, 3)[pixels] = TABLE[part.p]
        frames.append(canvas)
    return frames


def fill_white(shape: tuple[int, ...], out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    buffer = np.empty(shape, np.uint8) if out is None else out
    buffer.fill(255)
    return buffer


def clock_ms(call: Callable[[], object]) -> float:
    start = now_ms()
    kept = call()
    elapsed = now_ms() - start
    del kept  # giving memory back is not part of drawing
    return elapsed


def measure(stream: EventStream, rounds: int) -> dict[str, float]:
    """Median times in ms, and ratios of the rounds, of one window."""
    shape = (PARTS, stream.height, stream.width, 3)
    out = np.empty(shape, np.uint8)
    calls: dict[str, Callable[[], object]] = {
        "numpy": partial(numpy_write, stream),
        "fresh": partial(render_frames, stream),
        "out": partial(render_frames, stream, out=out),
        "positive_out": partial(render_frames, stream, RenderSettings(overlap="positive"), out=out),
        "floor_fresh": partial(fill_white, shape),
        "floor_out": partial(fill_white, shape, out),
    }
    expected = numpy_write(stream)
    for frames in (render_frames(stream), render_frames(stream, out=out)):
        if not all(np.array_equal(a, b) for a, b in zip(frames, expected, strict=True)):
            raise SystemExit("the two ways draw different frames")
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(clock_ms(call))
    row = {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    for name in ("fresh", "out", "positive_out"):
        ratios = [a / b for a, b in zip(times["numpy"], times[name], strict=True)]
        row[f"{name}_ratio"] = statistics.median(ratios)
    row["events"] = len(stream)
    row["fresh_mev_per_s"] = len(stream) / row["fresh_ms"] / 1e3
    row["out_mev_per_s"] = len(stream) / row["out_ms"] / 1e3
    return row


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}")
    print(f"{PARTS} frames, median of {result['rounds']} rounds in ms; ratio: numpy / ours")
    columns = ("events", "numpy_ms", "fresh_ms", "out_ms", "floor_fresh_ms", "floor_out_ms",
               "fresh_ratio", "out_ratio", "positive_out_ratio", "out_mev_per_s")  # fmt: skip
    heads = ("events", "numpy", "fresh", "out=", "floor", "floor o=", "x fresh", "x out=",
             "x pos o=", "Mev/s o=")  # fmt: skip
    print(f"{'window':<24}" + "".join(f"{head:>10}" for head in heads))
    for name, row in result["windows"].items():
        cells = (f"{row[c]:>10,.0f}" if c == "events" else f"{row[c]:>10.3f}" for c in columns)
        print(f"{name:<24}" + "".join(cells))
    for name, checks in result["checks"].items():
        for kind, passed in checks.items():
            print(f"{'PASS' if passed else 'FAIL'}  {name}: {kind} >= {LIMITS[kind]:g}x")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=Path, nargs="+", required=True, help="event files")
    parser.add_argument("--rounds", type=int, default=200, help="alternations per window")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    rows = {path.stem: measure(read_events(path), options.rounds) for path in options.events}
    result = {
        "benchmark": "render",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "rounds": options.rounds,
        "parts": PARTS,
        "limits": LIMITS,
        "windows": rows,
        "checks": {
            name: {kind: row[f"{kind}_ratio"] >= limit for kind, limit in LIMITS.items()}
            for name, row in rows.items()
        },
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(all(checks.values()) for checks in result["checks"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
