"""How fast is one second cut out of a long recording, and does the length of the file matter?

Writes two files in the layout of DSEC (Blosc-zstd level 5, chunks of 1 Mi events, 14 million
events a second) into a temporary folder: 200 million events, about 0.5 GB, and 20 million. Reads
windows of one second at the start, the middle and the end of the large and in the middle of the
small one, in turns, from a warm page cache; opening the file is part of the time.
"""

import argparse
import datetime
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.scenes.event_file import EventFile

RATE_PER_US, WIDTH, HEIGHT = 14, 640, 480
CHUNK, BLOCK = 1 << 20, 1 << 23
OFFSET_US, WINDOW_US, BYTES_PER_EVENT = 51_835_949_776, 1_000_000, 13
LIMITS = {"mev_per_s": 60.0, "memory_ratio": 3.0, "length_ratio": 0.8}

MEASURE = """
import sys
from pathlib import Path
from crossdraft.scenes.event_file import EventFile

def memory_bytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))

path, start, end = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with EventFile(path) as file:
    file.window(start, start + 2000)  # libraries loaded, kernels compiled
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
before = memory_bytes("VmRSS")
with EventFile(path) as file:
    stream = file.window(start, end)
    print(len(stream), memory_bytes("VmHWM") - before)
"""


def write_recording(path: Path, events: int) -> None:
    """Events on moving edges and noise, geometric in number per microsecond."""
    rng = np.random.default_rng(0)
    edge = rng.integers(0, 300, BLOCK)
    x = (rng.integers(0, WIDTH, 300)[edge] + rng.geometric(0.08, BLOCK)) % WIDTH
    y = np.minimum(rng.integers(0, HEIGHT, 300)[edge] + rng.geometric(0.02, BLOCK), HEIGHT - 1)
    p = (rng.random(300)[edge] < rng.random(BLOCK)).astype(np.uint8)
    options: dict[str, Any] = {"chunks": (CHUNK,)}
    options |= hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE)
    index, last = [np.zeros(1, np.uint64)], 0
    with h5py.File(path, "w") as file:
        types = {"x": "u2", "y": "u2", "t": "u4", "p": "u1"}
        out = {
            name: file.create_dataset(f"events/{name}", shape=(events,), dtype=kind, **options)
            for name, kind in types.items()
        }
        for start in range(0, events, BLOCK):
            n = min(BLOCK, events - start)
            t = last + np.cumsum(rng.random(n, np.float32) < 1 / RATE_PER_US, dtype=np.uint32)
            shift = start // BLOCK * 7
            out["x"][start : start + n] = (x[:n] + shift) % WIDTH
            out["y"][start : start + n] = y[:n]
            out["t"][start : start + n] = t
            out["p"][start : start + n] = p[:n]
            new = np.arange(last // 1000 + 1, int(t[-1]) // 1000 + 1)
            index.append((np.searchsorted(t, new * 1000) + start).astype(np.uint64))
            last = int(t[-1])
        file["t_offset"] = np.int64(OFFSET_US)
        file["ms_to_idx"] = np.concatenate(index)


def read_window(path: Path, start_us: int) -> float:
    """Million events a second, opening included."""
    start_ms = now_ms()
    with EventFile(path) as file:
        stream = file.window(start_us, start_us + WINDOW_US)
    return len(stream) / (now_ms() - start_ms) / 1e3


def memory_ratio(path: Path, start_us: int) -> float:
    """Extra peak memory of a fresh process over the bytes of its window."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path), str(start_us), str(start_us + WINDOW_US)],
        capture_output=True,
        text=True,
        check=True,
    )
    events, extra_bytes = map(int, done.stdout.split())
    return extra_bytes / (events * BYTES_PER_EVENT)


def windows(large: Path, small: Path) -> dict[str, tuple[Path, int]]:
    """Name -> file and start of each window."""
    places = {}
    for name, path in (("large", large), ("small", small)):
        with EventFile(path) as file:
            start, end = file.start_us, file.end_us - WINDOW_US
        places[f"{name}, middle"] = (path, (start + end) // 2)
        if name == "large":
            places |= {"large, start": (path, start), "large, end": (path, end)}
    return places


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}")
    for name, file in result["files"].items():
        print(f"{name}: {file['events']:,} events, {file['bytes'] / 1e6:,.0f} MB")
    for name, rate in result["mev_per_s"].items():
        print(f"{name:<14} {rate:8.1f} Mev/s")
    print(f"extra memory   {result['memory_ratio']:8.2f} x the window's bytes")
    print(f"large to small {result['length_ratio']:8.2f} of the rate in the middle")
    for name, passed in result["checks"].items():
        sign = "<=" if name == "memory_ratio" else ">="
        print(f"{'PASS' if passed else 'FAIL'}  {name} {sign} {LIMITS[name]:g}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--events", type=int, default=200_000_000, help="in the large file")
    parser.add_argument("--small", type=int, default=20_000_000, help="events in the small file")
    parser.add_argument("--rounds", type=int, default=7, help="alternations; medians are shown")
    parser.add_argument("--folder", type=Path, help="where the files may lie for a while")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        sizes = {"large": options.events, "small": options.small}
        paths = {name: Path(folder) / f"{name}.h5" for name in sizes}
        for name, events in sizes.items():
            write_recording(paths[name], events)
        places = windows(paths["large"], paths["small"])
        for path, start_us in places.values():
            read_window(path, start_us)
        rates: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(options.rounds):
            for name, (path, start_us) in places.items():
                rates[name].append(read_window(path, start_us))
        memory = memory_ratio(*places["large, middle"])
        files = {n: {"events": sizes[n], "bytes": paths[n].stat().st_size} for n in sizes}
    medians = {name: statistics.median(values) for name, values in rates.items()}
    length_ratio = medians["large, middle"] / medians["small, middle"]
    result = {
        "benchmark": "event_window",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "files": files,
        "window_us": WINDOW_US,
        "rounds": options.rounds,
        "limits": LIMITS,
        "mev_per_s": medians,
        "mev_per_s_rounds": rates,
        "memory_ratio": memory,
        "length_ratio": length_ratio,
        "checks": {
            "mev_per_s": min(medians.values()) >= LIMITS["mev_per_s"],
            "memory_ratio": memory <= LIMITS["memory_ratio"],
            "length_ratio": length_ratio >= LIMITS["length_ratio"],
        },
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0 if all(result["checks"].values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
