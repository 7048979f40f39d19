"""How quickly are events simulated? The compiled step against the same model in plain numpy.

The numpy version computes every crossing of all pixels at once (repeat by count) and sorts them by
time, row and column. Both see the same frames and are checked to give the same events; they take
turns in one process. `luminance` is timed apart. Compiling is not counted.

Frames: `static` never changes; `square` is a bright square of a sixth of the picture's height that
moves 2 pixels a frame; `texture` is a random one, soft over some 8 pixels, that moves as a whole,
2 pixels a frame, so that every pixel changes.
"""

import argparse
import datetime
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.simulate import EventSimulator, SimulatorSettings, luminance

SIZES = ((320, 240), (640, 480), (1280, 720))
STEP_US = 20_000
SPEED_PX = 2
#: Frames of one turn.
FRAMES = 4
#: A step must be so many times as quick as numpy, whatever moves.
LIMIT = 3.0

Light = NDArray[np.float32]


class NumpySimulator:
    """`EventSimulator` without refractory period and leak, all pixels at once."""

    def __init__(self, like: EventSimulator) -> None:
        self.sensor, self.eps = like.sensor, like.settings.eps
        self.on, self.off = like.threshold_on, like.threshold_off
        self.level: NDArray[np.float64] | None = None
        self.rest, self.time_us = np.zeros(self.on.shape), 0

    def push(self, light: Light, time_us: int) -> EventStream:
        level = np.log(light.astype(np.float64) + self.eps)
        if self.level is None:
            self.level, self.time_us = level, time_us
            return EventStream.empty(self.sensor)
        change = level - self.level
        end = self.rest + change
        size = np.where(change > 0, self.on, self.off)
        count = np.floor(np.maximum(np.where(change > 0, end, -end), 0) / size).astype(np.int64)
        count[change == 0] = 0
        y, x = np.nonzero(count)
        many = count[y, x]
        pixel = np.repeat(np.arange(len(many)), many)
        number = np.arange(len(pixel)) - np.repeat(many.cumsum() - many, many) + 1
        y, x = y[pixel], x[pixel]
        sign = np.sign(change[y, x])
        share = (number * size[y, x] * sign - self.rest[y, x]) / change[y, x]
        span_us = time_us - self.time_us
        t = self.time_us + np.clip(np.ceil(share * span_us), 1, span_us).astype(np.int64)
        order = np.argsort(t, kind="stable")  # they come by row and column
        self.rest = end - np.sign(change) * count * size
        self.level, self.time_us = level, time_us
        return EventStream(
            x[order].astype(np.uint16), y[order].astype(np.uint16), t[order],
            (sign[order] > 0).astype(np.uint8), *self.sensor,
        )  # fmt: skip


def frames(kind: str, size: tuple[int, int], count: int) -> list[NDArray[np.uint8]]:
    """RGB pictures of one way to move."""
    width, height = size
    if kind == "texture":
        random = np.random.default_rng(0)
        wide = width + count * SPEED_PX
        coarse = random.integers(0, 256, (height // 8, wide // 8, 3), dtype=np.uint8)
        whole = np.asarray(Image.fromarray(coarse).resize((wide, height), Image.Resampling.BICUBIC))
        return [np.ascontiguousarray(whole[:, i * SPEED_PX :][:, :width]) for i in range(count)]
    side, made = height // 6, []
    for i in range(count):
        picture = np.full((height, width, 3), 60, np.uint8)
        left = width // 4 + (i * SPEED_PX if kind == "square" else 0)
        picture[height // 3 :, left:][:side, :side] = 220
        made.append(picture)
    return made


def same(one: EventStream, other: EventStream) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in "xytp")


def measure(kind: str, size: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Median milliseconds per frame of both, ratios of the rounds, and of `luminance`."""
    pictures = frames(kind, size, 1 + FRAMES * (rounds + 2))
    ours = EventSimulator(size, SimulatorSettings(), 0)
    plain = NumpySimulator(ours)
    times: dict[str, list[float]] = {"ours": [], "numpy": [], "luminance": []}
    events = 0
    for simulator in (ours, plain):
        simulator.push(luminance(pictures[0]), 0)
    for number in range(rounds + 2):  # the first two warm up
        turn = range(1 + number * FRAMES, 1 + (number + 1) * FRAMES)
        began_ms = now_ms()
        lights = [luminance(pictures[i]) for i in turn]
        times["luminance"].append(now_ms() - began_ms)
        streams: dict[str, list[EventStream]] = {}
        for name, simulator in (("ours", ours), ("numpy", plain)):
            began_ms = now_ms()
            made = [simulator.push(o, i * STEP_US) for o, i in zip(lights, turn, strict=True)]
            times[name].append(now_ms() - began_ms)
            streams[name] = made
        if not all(map(same, streams["ours"], streams["numpy"])):
            raise SystemExit("the two ways give different events")
        events = sum(map(len, streams["ours"]))
    kept = {name: values[2:] for name, values in times.items()}
    row = {f"{name}_ms": statistics.median(values) / FRAMES for name, values in kept.items()}
    pixels, ours_ms = size[0] * size[1], row["ours_ms"]
    ratios = [b / a for a, b in zip(kept["ours"], kept["numpy"], strict=True)]
    return {
        "kind": kind,
        "size": list(size),
        "events_per_frame": events / FRAMES,
        **row,
        "ratio": statistics.median(ratios),
        "mpixel_frames_per_s": pixels / ours_ms / 1e3,
        "million_events_per_s": events / FRAMES / ours_ms / 1e3,
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}")
    print(f"median of {result['rounds']} rounds of {FRAMES} frames, ms per frame")
    heads = ("events", "ours", "numpy", "ratio", "Mpx/s", "Mev/s", "luminance")
    columns = ("events_per_frame", "ours_ms", "numpy_ms", "ratio", "mpixel_frames_per_s",
               "million_events_per_s", "luminance_ms")  # fmt: skip
    print(f"{'':<20}" + "".join(f"{head:>11}" for head in heads))
    for row in result["rows"]:
        name = f"{row['kind']} {row['size'][0]}x{row['size'][1]}"
        cells = (f"{row[c]:>11,.0f}" if c[0] == "e" else f"{row[c]:>11.2f}" for c in columns)
        print(f"{name:<20}" + "".join(cells))
    verdict = "PASS" if result["passed"] else "FAIL"
    print(f"{verdict}  every step >= {LIMIT:g}x as quick as numpy")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=15, help="alternations per row")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    kinds = ("static", "square", "texture")
    rows = [measure(kind, size, options.rounds) for size in SIZES for kind in kinds]
    result = {
        "benchmark": "simulate",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "rounds": options.rounds,
        "frames_per_round": FRAMES,
        "limit": LIMIT,
        "rows": rows,
        "passed": all(row["ratio"] >= LIMIT for row in rows),
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
