"""How fast is the procedural drive made, and where does the time go?

Makes clips of several drives in a temporary folder: once step by step in one process, then with one
worker and with two in alternation, each time anew. Says how many events and bytes a clip has, how
many pixels the events of 50 ms touch, and how long a dataset of 2,000 clips would take.
"""

import argparse
import datetime
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.scenes import synth, synth_clip
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.drive.picture import Camera
from crossdraft.scenes.simulate import EventSimulator
from crossdraft.scenes.synth_estimate import clip_bytes, clip_s
from crossdraft.scenes.synth_settings import THRESHOLD, SynthSettings, with_threshold

CLIPS_PER_DRIVE, DATASET = 10, 2000

#: What making a clip calls, by the place it is looked up, and how the report names it.
STAGES: dict[str, list[tuple[Any, str]]] = {
    "look": [(Camera, "__init__"), (Camera, "look")],
    "simulate events": [(EventSimulator, "__init__"), (EventSimulator, "push")],
    "write events": [(synth_clip, "write_h5")],
    "encode video": [(synth_clip, "write_mp4")],
    "digests": [(synth_clip, "sha256_of")],
    "answers": [(synth, "write_answers")],
}


@contextmanager
def timed_stages() -> Iterator[dict[str, float]]:
    """Milliseconds spent in each stage while the block runs in this process."""
    spent = dict.fromkeys(STAGES, 0.0)
    before = [(place, name, getattr(place, name)) for at in STAGES.values() for place, name in at]

    def wrap(stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            start = now_ms()
            try:
                return function(*arguments, **options)
            finally:
                spent[stage] += now_ms() - start

        return call

    for stage, places in STAGES.items():
        for place, name in places:
            setattr(place, name, wrap(stage, getattr(place, name)))
    try:
        yield spent
    finally:
        for place, name, function in before:
            setattr(place, name, function)


def make(out: Path, settings: SynthSettings, clips: int, workers: int) -> float:
    """Make so many clips anew; returns the seconds it took."""
    shutil.rmtree(out, ignore_errors=True)
    drives = -(-clips // CLIPS_PER_DRIVE)
    plan = synth.plan_synth(
        out, settings, drives=drives, clips_per_drive=min(clips, CLIPS_PER_DRIVE), split="train"
    )
    return synth.run_synth(plan, workers=workers).seconds


def look_at(folder: Path) -> dict[str, Any]:
    """Events, touched pixels and bytes of the clips: mean, least, most."""
    counts, shares = [], []
    for scene in SceneDataset.open(folder):
        events, (start, _) = scene.events(), scene.window_us or (0, 0)
        counts.append(len(events))
        part = events.between(start + 500_000, start + 550_000)
        places = part.x.astype(np.int64) + events.width * part.y
        shares.append(len(np.unique(places)) / (events.width * events.height))
    sizes = {
        part: [path.stat().st_size for path in folder.glob(f"{part}/*/*")]
        for part in ("events", "video")
    }
    whole = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {
        "events_per_clip": spread(counts),
        "touched_in_50ms": spread(shares),
        "event_bytes": spread(sizes["events"]),
        "video_bytes": spread(sizes["video"]),
        "bytes_per_clip": whole / len(counts),
        "bytes_per_event": sum(sizes["events"]) / sum(counts),
    }


def spread(values: list[Any]) -> dict[str, float]:
    return {
        "mean": statistics.mean(values), "min": min(values), "max": max(values),
        "median": statistics.median(values),
    }  # fmt: skip


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}")
    print(f"{result['clips']} clips, {result['settings']}")
    whole = result["step_by_step_ms_per_clip"]
    for name, spent in result["stages_ms_per_clip"].items():
        print(f"  {name:<20}{spent:9.1f} ms per clip{100 * spent / whole:6.0f} %")
    print(f"  {'in all':<20}{whole:9.1f} ms per clip, {result['estimated_ms']:.0f} estimated")
    for workers, row in result["workers"].items():
        print(
            f"{workers} worker(s): {row['clips_per_min']:.0f} clips a minute, "
            f"{DATASET:,} clips in {row['dataset_min']:.1f} min"
        )
    seen = result["seen"]
    for name in ("events_per_clip", "touched_in_50ms", "event_bytes", "video_bytes"):
        row = seen[name]
        digits = ".3f" if name == "touched_in_50ms" else ",.0f"
        print(f"{name:<16}" + ", ".join(f"{key} {value:{digits}}" for key, value in row.items()))
    print(
        f"a clip takes {seen['bytes_per_clip'] / 1e3:.0f} kB in all, "
        f"{result['estimated_bytes'] / 1e3:.0f} kB estimated; "
        f"{seen['bytes_per_event']:.2f} bytes per event"
    )


def measure(settings: SynthSettings, clips: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="crossdraft-synth-") as name:
        out = Path(name) / "world"
        make(out, settings, 1, 1)  # compiles and warms up
        with timed_stages() as spent:
            whole_s = make(out, settings, clips, 1)
        seen = look_at(out)
        made = len(SceneDataset.open(out))
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(rounds):
            for workers, taken in seconds.items():
                taken.append(make(out, settings, clips, workers))
    return {
        "benchmark": "synth",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "settings": settings.to_json(),
        "clips": made,
        "step_by_step_ms_per_clip": 1e3 * whole_s / made,
        "stages_ms_per_clip": {name: taken / made for name, taken in spent.items()},
        "estimated_ms": 1e3 * clip_s(settings),
        "estimated_bytes": clip_bytes(settings),
        "seen": seen,
        "workers": {
            str(workers): {
                "seconds": taken,
                "clips_per_min": 60 * made / statistics.median(taken),
                "dataset_min": DATASET * statistics.median(taken) / made / 60,
            }
            for workers, taken in seconds.items()
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2, help="alternations of 1 and 2 workers")
    parser.add_argument("--size", type=int, default=SynthSettings.size)
    parser.add_argument("--events-fps", type=int, default=SynthSettings.events_fps)
    parser.add_argument("--threshold", type=float, default=THRESHOLD)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    simulator = with_threshold(options.threshold)
    settings = SynthSettings(size=options.size, events_fps=options.events_fps, simulator=simulator)
    result = measure(settings, options.clips, options.rounds)
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
