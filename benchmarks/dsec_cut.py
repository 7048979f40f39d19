"""How fast is DSEC cut into clips, and where does the time go?

Writes a sequence as dense as DSEC's (14 million events and 20 images of 1440x1080 pixels a second)
into a temporary folder and cuts it: once step by step in one process, then with one worker and
with two in alternation. With --events FILE… the events are those recorded windows of 50 ms, laid
over each other until they are as dense, instead of made-up ones.
"""

import argparse
import datetime
import itertools
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import numpy.typing as npt
from PIL import Image

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.scenes import cut_clip
from crossdraft.scenes.cut import run_cut
from crossdraft.scenes.cut_plan import CutPlan, plan_cut
from crossdraft.scenes.cut_settings import CutSettings
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.readers import read_events
from crossdraft.scenes.writers import ms_to_idx

RATE_HZ, WINDOW_US, FRAME_US = 14_000_000, 50_000, 50_000
WIDTH, HEIGHT = 1440, 1080
SENSOR = (640, 480)
NAME = "zurich_city_00_a"

#: What `cut_clip` calls, and how the report names it. Decoding images runs within the encoder.
STAGES = {
    "_events": "read events",
    "write_h5": "write events",
    "render_frames": "draw event frames",
    "write_frame": "write event frames",
    "read_frame": "decode images",
    "write_mp4": "encode video",
    "sha256_of": "digests",
}


def made_up_windows() -> Iterator[EventStream]:
    """50 ms each: 15 % of the pixels hold an edge, and most events lie there."""
    rng = np.random.default_rng(0)
    columns = np.cumsum(rng.normal(size=SENSOR[0]))[None, :]
    rows = np.cumsum(rng.normal(size=SENSOR[1]))[:, None]
    edges = np.flatnonzero(np.abs(np.sin(columns + 2 * rows)).ravel() < 0.235)
    count = RATE_HZ * WINDOW_US // 1_000_000
    while True:
        place = rng.choice(edges, count)
        noise = rng.random(count) < 0.05
        place[noise] = rng.integers(0, SENSOR[0] * SENSOR[1], int(noise.sum()))
        t = np.sort(rng.integers(0, WINDOW_US, count))
        p = (place // 7 + rng.integers(0, 10, count) // 9) % 2
        yield EventStream.checked(
            place % SENSOR[0], place // SENSOR[0], t, p.astype(np.uint8), sensor=SENSOR
        )


def recorded_windows(paths: list[Path]) -> Iterator[EventStream]:
    """All recorded windows laid over each other, each shifted, until they reach DSEC's rate."""
    streams = [read_events(path) for path in paths]
    needed = RATE_HZ * WINDOW_US // 1_000_000
    turn = itertools.cycle(streams)
    while True:
        columns: list[tuple[npt.NDArray[Any], ...]] = []
        while sum(len(column[2]) for column in columns) < needed:
            s, shift = next(turn), 37 * len(columns)
            columns.append(((s.x.astype(np.int64) + shift) % SENSOR[0], s.y, s.t - s.t[0], s.p))
        x, y, t, p = (np.concatenate(column) for column in zip(*columns, strict=True))
        order = np.argsort(t, kind="stable")[:needed]
        yield EventStream.checked(x[order], y[order], t[order], p[order], sensor=SENSOR)


def write_sequence(root: Path, seconds: int, windows: Iterator[EventStream]) -> int:
    """Write one sequence in DSEC's layout; returns the number of events."""
    folder = root / "train" / NAME
    (folder / "events" / "left").mkdir(parents=True)
    (folder / "images" / "left" / "rectified").mkdir(parents=True)
    parts, rng = [], np.random.default_rng(1)
    for place in range(seconds * 1_000_000 // WINDOW_US + 1):
        stream = next(windows)
        dx, dy = (int(shift) for shift in rng.integers(-30, 31, 2))
        x, y = (
            (stream.x.astype(np.int64) + dx) % SENSOR[0],
            (stream.y.astype(np.int64) + dy) % SENSOR[1],
        )
        keep = stream.t < WINDOW_US
        parts.append([c[keep] for c in (x, y, stream.t + place * WINDOW_US, stream.p)])
    x, y, t, p = (np.concatenate(column) for column in zip(*parts, strict=True))
    codec = hdf5plugin.Blosc(cname="zstd", clevel=5)
    with h5py.File(folder / "events" / "left" / "events.h5", "w") as file:
        for name, column, kind in (
            ("p", p, np.uint8), ("t", t, np.uint32), ("x", x, np.uint16), ("y", y, np.uint16),
        ):  # fmt: skip
            file.create_dataset(
                f"events/{name}", data=column.astype(kind), chunks=(1 << 20,), **codec
            )
        file["ms_to_idx"], file["t_offset"] = ms_to_idx(t), np.int64(51_648_500_652)
    count = seconds * 20 + 1
    times = 51_648_500_652 + np.arange(count) * FRAME_US
    (folder / "images" / "timestamps.txt").write_text("".join(f"{time}\n" for time in times))
    for number, image in enumerate(images(count)):
        path = folder / "images" / "left" / "rectified" / f"{number:06d}.png"
        Image.fromarray(image).save(path, compress_level=1)
    return len(t)


def images(count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A textured scene that moves 6 pixels a frame, with a camera's noise (2.5 grey levels)."""
    rng = np.random.default_rng(2)
    width = WIDTH + 6 * count
    scene = np.zeros((HEIGHT, width, 3), np.float32)
    for size, strength in ((180, 60), (60, 30), (12, 15)):
        coarse = rng.random((HEIGHT // size + 2, width // size + 2, 3)) * 255
        grown = Image.fromarray(coarse.astype(np.uint8)).resize(
            (width, HEIGHT), Image.Resampling.BICUBIC
        )
        scene += (np.asarray(grown, np.float32) - 128) * strength / 128
    for number in range(count):
        part = scene[:, 6 * number : 6 * number + WIDTH]
        noise = rng.normal(0, 2.5, (HEIGHT, WIDTH, 1)).astype(np.float32)
        yield np.clip(part + noise + 128, 0, 255).astype(np.uint8)


@contextmanager
def timed_stages() -> Iterator[dict[str, float]]:
    """Milliseconds spent in each stage of `cut_clip` while the block runs."""
    spent = dict.fromkeys(STAGES.values(), 0.0)
    before = {name: getattr(cut_clip, name) for name in STAGES}

    def wrap(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = now_ms()
            try:
                return before[name](*arguments, **options)
            finally:
                spent[STAGES[name]] += now_ms() - start

        return call

    for name in STAGES:
        setattr(cut_clip, name, wrap(name))
    try:
        yield spent
        spent["encode video"] -= spent["decode images"]
    finally:
        for name, function in before.items():
            setattr(cut_clip, name, function)


def cut(root: Path, out: Path, workers: int, max_clips: int | None = None) -> tuple[CutPlan, float]:
    """Cut everything anew; returns the plan and the seconds it took."""
    shutil.rmtree(out, ignore_errors=True)
    plan = plan_cut(root, out, CutSettings("train"), [1_000_000], max_clips=max_clips)
    return plan, run_cut(plan, workers=workers).seconds


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}")
    made = result["sequence"]
    print(f"{made['events']:,} events, {made['images']} images, {result['clips']} clips of 1 s")
    whole = sum(result["stages_ms_per_clip"].values())
    for name, spent in result["stages_ms_per_clip"].items():
        print(f"  {name:<20}{spent:9.0f} ms per clip{100 * spent / whole:6.0f} %")
    for workers, row in result["workers"].items():
        print(
            f"{workers} worker(s): {row['clips_per_s']:.2f} clips/s, {row['mev_per_s']:.1f} Mev/s"
        )
    size = result["bytes_per_clip"]
    print(f"a clip takes {size['actual'] / 1e6:.1f} MB, {size['estimated'] / 1e6:.1f} MB estimated")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=int, default=5, help="length of the sequence")
    parser.add_argument("--rounds", type=int, default=2, help="alternations of 1 and 2 workers")
    parser.add_argument("--events", type=Path, nargs="+", help="recorded windows of 50 ms")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    windows = recorded_windows(options.events) if options.events else made_up_windows()
    with tempfile.TemporaryDirectory(prefix="crossdraft-dsec-") as name:
        root, out = Path(name) / "DSEC", Path(name) / "out"
        events = write_sequence(root, options.seconds, windows)
        cut(root, out, 1, max_clips=1)  # compiles and warms up
        with timed_stages() as spent:
            plan, _ = cut(root, out, 1)
        actual = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(options.rounds):
            for workers, taken in seconds.items():
                taken.append(cut(root, out, workers)[1])
    count = len(plan.clips)
    result = {
        "benchmark": "dsec_cut",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "sequence": {
            "seconds": options.seconds,
            "events": events,
            "images": options.seconds * 20 + 1,
            "recorded_events": bool(options.events),
        },
        "clips": count,
        "stages_ms_per_clip": {name: spent[name] / count for name in STAGES.values()},
        "workers": {
            str(workers): {
                "seconds": taken,
                "clips_per_s": count / statistics.median(taken),
                "mev_per_s": sum(c.events for c in plan.clips) / statistics.median(taken) / 1e6,
            }
            for workers, taken in seconds.items()
        },
        "bytes_per_clip": {
            "actual": actual / count,
            "estimated": sum(clip.size_bytes for clip in plan.clips) / count,
        },
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
