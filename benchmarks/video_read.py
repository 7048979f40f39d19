"""Is reading eight frames of a clip worth more than decoding all of it?

Made-up drives of 1440x1080 pixels at 20 frames a second, one second and twenty seconds long, with
one encoder for all. Three ways to the same eight frames take turns: `read_uniform`; decoding the
file and turning only the eight into RGB; turning every frame into RGB, as a simple loader does.
"""

import argparse
import datetime
import json
import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from crossdraft.base.clock import now_ms
from crossdraft.base.result import machine
from crossdraft.scenes.video import probe, read_uniform, write_mp4

Pixels = npt.NDArray[np.uint8]

SIZE, FPS, WANTED = (1440, 1080), 20, 8
SECONDS = (1, 20)


def drive(n: int) -> Iterator[Pixels]:
    """A camera that pans over a fixed picture of rectangles, with a little noise."""
    rng = np.random.default_rng(0)
    width, height = SIZE
    small = rng.integers(30, 220, (height // 60 + 1, (width + 4 * n) // 60 + 1, 3), dtype=np.uint8)
    wide = np.kron(small, np.ones((60, 60, 1), np.uint8))
    noise = rng.integers(0, 6, (height, width, 3), dtype=np.uint8)
    for i in range(n):
        yield wide[:height, 4 * i : 4 * i + width] + np.roll(noise, 97 * i, axis=1)


def chosen(path: Path) -> Pixels:
    return read_uniform(path, WANTED).frames


def decode_all(path: Path) -> Pixels:
    """Decode the file, turn the eight frames into RGB."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    wanted = [i * len(frames) // WANTED for i in range(WANTED)]
    return np.stack([frames[i].to_ndarray(format="rgb24") for i in wanted])


def convert_all(path: Path) -> Pixels:
    """Decode the file into RGB, take the eight frames."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.stack([frames[i * len(frames) // WANTED] for i in range(WANTED)])


WAYS: dict[str, Callable[[Path], Pixels]] = {
    "read_uniform": chosen,
    "decode all": decode_all,
    "convert all": convert_all,
}


def measure(path: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of each way, taking turns, after one round to warm up."""
    pictures = {name: way(path) for name, way in WAYS.items()}
    for name, frames in pictures.items():
        if not np.array_equal(frames, pictures["read_uniform"]):
            raise SystemExit(f"{name} gives other frames")
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name, way in WAYS.items():
            start = now_ms()
            way(path)
            times[name].append(now_ms() - start)
    fast = times["read_uniform"]
    return {
        "frames": probe(path).frames,
        "bytes": path.stat().st_size,
        "ms": {name: statistics.median(taken) for name, taken in times.items()},
        "ratio": {
            name: statistics.median(a / b for a, b in zip(taken, fast, strict=True))
            for name, taken in times.items()
            if name != "read_uniform"
        },
    }


def show(result: dict[str, Any]) -> None:
    print(f"{result['machine']['cpu']}, {result['machine']['cores']} cores, {result['date']}")
    print(f"{WANTED} frames of {SIZE[0]}x{SIZE[1]}, median of {result['rounds']} rounds in turns")
    print(f"{'clip':<8}{'MB':>6}" + "".join(f"{name + ' ms':>18}" for name in WAYS) + "   ratios")
    for name, row in result["clips"].items():
        ratios = ", ".join(f"{value:.2f}x {way}" for way, value in row["ratio"].items())
        times = "".join(f"{row['ms'][way]:>18.1f}" for way in WAYS)
        print(f"{name:<8}{row['bytes'] / 1e6:>6.1f}{times}   {ratios}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    options = parser.parse_args()
    clips = {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in SECONDS:
            path = Path(folder) / f"{seconds}s.mp4"
            write_mp4(path, drive(seconds * FPS), fps=FPS)
            clips[f"{seconds} s"] = measure(path, options.rounds)
    result = {
        "benchmark": "video_read",
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "size": list(SIZE),
        "wanted": WANTED,
        "rounds": options.rounds,
        "clips": clips,
    }
    show(result)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
