"""What a dataset holds: rates, durations, sizes, and which parts are missing or damaged.

Every scene is counted and its files looked for. Opening them is another matter, a dataset can be
hundreds of gigabytes: a sample of scenes is read, spread over the dataset, or all on request.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.base.files import sha256_of
from crossdraft.base.progress import ProgressSink, silent, track
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.events import EventStream
from crossdraft.scenes.frame_files import read_frame
from crossdraft.scenes.recording import Recording, recording, stretches
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.video import probe, read_uniform

#: Scenes read without being asked for more.
SAMPLE = 12
#: The length of the windows in which touched pixels are counted: what EventGPT was trained on.
WINDOW_US = 50_000
_PARTS = 5


@dataclass
class SceneFacts:
    """What one scene turned out to be when it was read; None: it has no such part.

    Attributes:
        duration_us: its window on the recording's clock, else its events' span, else its video.
        positive_share: share of events that say brighter.
        touched_window: share of the sensor's pixels with an event in 50 ms, mean of five windows.
        touched_part: the same in one of five parts of equal count, as frames are drawn by default.
        damaged: part and what is wrong with it.
    """

    id: str
    duration_us: int | None = None
    events: int | None = None
    positive_share: float | None = None
    touched_window: float | None = None
    touched_part: float | None = None
    sensor: tuple[int, int] | None = None
    video_size: tuple[int, int] | None = None
    video_frames: int | None = None
    video_fps: float | None = None
    video_duration_us: int | None = None
    damaged: list[tuple[str, InputError]] = field(default_factory=list)


def sampled(dataset: SceneDataset, count: int) -> list[Scene]:
    """About evenly spaced scenes, the first and the last among them."""
    places = np.linspace(0, len(dataset) - 1, min(count, len(dataset)))
    return [dataset[int(place)] for place in np.unique(places.round().astype(int))]


def inspect(
    dataset: SceneDataset, *, every: bool = False, sink: ProgressSink = silent
) -> dict[str, Any]:
    """Facts about a dataset as plain JSON.

    Args:
        every: read every scene instead of `SAMPLE` of them.

    Returns:
        Counts and sizes of all scenes, shares and rates of those read; `missing` lists scene and
        part, `damaged` the error too. Both are empty where all is well.

    Raises:
        InputError: the dataset is a single file that cannot be read: no finding, a wrong call.
    """
    chosen = list(dataset) if every else sampled(dataset, SAMPLE)
    facts = [read_scene(s) for s in track(chosen, "reading scenes", len(chosen), sink)]
    if dataset.layout == "file" and facts[0].damaged:
        raise facts[0].damaged[0][1]
    durations = {s.id: s.window_us[1] - s.window_us[0] for s in dataset if s.window_us}
    durations |= {f.id: f.duration_us for f in facts if f.duration_us is not None}
    counts = {s.id: s.event_count for s in dataset if s.event_count is not None}
    counts |= {f.id: f.events for f in facts if f.events is not None}
    splits = Counter(scene.split or "none" for scene in dataset)
    return {
        "path": str(dataset.folder if len(dataset) > 1 else _only(dataset)),
        "layout": dataset.layout,
        "scenes": len(dataset),
        "scenes_read": len(chosen),
        "drives": dict(sorted(Counter(scene.drive for scene in dataset).items())),
        "splits": dict(sorted(splits.items())),
        "simulated": sum(scene.simulated for scene in dataset),
        "fingerprint": dataset.fingerprint,
        "durations_us": {str(us): n for us, n in sorted(Counter(durations.values()).items())},
        "duration_s": spread(us / 1e6 for us in durations.values()),
        "events": _events(dataset, facts, counts, durations),
        "video": _video(dataset, facts),
        "frame_sets": _frame_sets(dataset),
        "disk_bytes": _disk(dataset),
        "missing": _missing(dataset),
        "damaged": [
            {"scene": f.id, "part": part, "error": error.found}
            for f in facts
            for part, error in f.damaged
        ],
    }


def read_scene(scene: Scene) -> SceneFacts:
    """Read one scene's parts that are there; what cannot be read is noted, not raised."""
    facts = SceneFacts(scene.id)
    if scene.window_us:
        facts.duration_us = scene.window_us[1] - scene.window_us[0]
    if scene.events_path is not None and scene.events_path.is_file():
        _note(facts, "events", lambda: _read_events(scene, facts))
    if scene.video_path is not None and scene.video_path.is_file():
        _note(facts, "video", lambda: _read_video(scene, facts))
    for name, files in scene.frame_sets.items():
        for path in (scene.folder / file for file in files):
            if path.is_file():
                _note(facts, f"{name} {path.name}", lambda path=path: read_frame(path))
    return facts


def _note(facts: SceneFacts, part: str, read: Any) -> None:
    try:
        read()
    except InputError as error:
        facts.damaged.append((part, error))


def _read_events(scene: Scene, facts: SceneFacts) -> None:
    _check_digest(scene, scene.events_file)
    with recording(scene) as events:
        facts.events, facts.sensor = events.count, events.sensor
        if facts.duration_us is None:
            facts.duration_us = events.span_us[1] - events.span_us[0]
        windows = [events.between(*s) for s in _windows(events)]
        facts.touched_window = _mean(_touched(window) for window in windows)
        sample = windows if events.whole is None else [events.whole]
        positive = sum(int(stream.p.sum(dtype=np.int64)) for stream in sample)
        total = sum(len(stream) for stream in sample)
        facts.positive_share = positive / total if total else None
        if events.whole is not None:
            facts.touched_part = _mean(_touched(part) for part in _parts(events.whole))
    if scene.event_count is not None and scene.event_count != facts.events:
        raise InputError(f"{facts.events:,} events, the manifest says {scene.event_count:,}")


def _windows(events: Recording) -> list[tuple[int, int]]:
    start, end = events.span_us
    return stretches((start, end), min(_PARTS, max(1, (end - start) // WINDOW_US)), WINDOW_US)


def _parts(stream: EventStream) -> list[EventStream]:
    size = len(stream) // _PARTS
    return [stream.slice(i * size, (i + 1) * size) for i in range(_PARTS)]


def _touched(stream: EventStream) -> float:
    """Share of the sensor's pixels with at least one event."""
    touched: npt.NDArray[np.bool_] = np.zeros((stream.height, stream.width), np.bool_)
    touched[stream.y, stream.x] = True
    return float(touched.mean())


def _read_video(scene: Scene, facts: SceneFacts) -> None:
    _check_digest(scene, scene.video_file)
    path = scene.video_path
    assert path is not None
    info = probe(path)
    facts.video_size, facts.video_frames = (info.width, info.height), info.frames
    facts.video_fps, facts.video_duration_us = info.fps, info.duration_us
    if facts.duration_us is None:
        facts.duration_us = info.duration_us
    read_uniform(path, 2)  # decodes, not only the table of contents


def _check_digest(scene: Scene, file: str | None) -> None:
    known = scene.sha256.get(file or "")
    if known and sha256_of(scene.folder / str(file)) != known:
        raise InputError("other bytes than when the manifest was written (sha256)")


def spread(values: Iterable[float | None]) -> dict[str, float] | None:
    """Mean, least and most of the values that are known; None without any."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return {"mean": statistics.fmean(known), "min": min(known), "max": max(known)}


def _mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


def _only(dataset: SceneDataset) -> Any:
    scene = dataset[0]
    if dataset.layout == "file":
        return scene.events_path or scene.video_path
    return dataset.folder


def _events(
    dataset: SceneDataset,
    facts: Sequence[SceneFacts],
    counts: dict[str, int],
    durations: dict[str, int],
) -> dict[str, Any]:
    rates = (n * 1e6 / durations[name] for name, n in counts.items() if durations.get(name))
    return {
        "scenes": sum(scene.events_file is not None for scene in dataset),
        "scenes_counted": len(counts),
        "total": sum(counts.values()),
        "per_scene": spread(counts.values()),
        "per_second": spread(rates),
        "positive_share": spread(f.positive_share for f in facts),
        "touched_50ms": spread(f.touched_window for f in facts),
        "touched_part": spread(f.touched_part for f in facts),
        "sensors": _counted(f.sensor for f in facts),
    }


def _video(dataset: SceneDataset, facts: Sequence[SceneFacts]) -> dict[str, Any]:
    return {
        "scenes": sum(scene.video_file is not None for scene in dataset),
        "sizes": _counted(f.video_size for f in facts),
        "frames": spread(f.video_frames for f in facts),
        "fps": spread(f.video_fps for f in facts),
        "duration_s": spread(f.video_duration_us / 1e6 for f in facts if f.video_duration_us),
    }


def _counted(sizes: Iterable[tuple[int, int] | None]) -> dict[str, int]:
    return dict(Counter(f"{size[0]}x{size[1]}" for size in sizes if size))


def _frame_sets(dataset: SceneDataset) -> dict[str, Any]:
    """Per set: scenes that have it, frames in all, and how many frames how many scenes have."""
    sets: dict[str, Counter[int]] = {}
    for scene in dataset:
        for name, files in scene.frame_sets.items():
            sets.setdefault(name, Counter())[len(files)] += 1
    return {
        name: {
            "scenes": counter.total(),
            "frames": sum(size * n for size, n in counter.items()),
            "per_scene": {str(size): n for size, n in sorted(counter.items())},
        }
        for name, counter in sorted(sets.items())
    }


def _disk(dataset: SceneDataset) -> dict[str, int]:
    """Bytes of the files that are there, by part; a file that scenes share counts once."""
    sizes: dict[str, int] = {}
    seen = set()
    for scene in dataset:
        for part, path in scene.parts():
            if path not in seen and path.is_file():
                seen.add(path)
                sizes[part] = sizes.get(part, 0) + path.stat().st_size
    return dict(sorted(sizes.items()))


def _missing(dataset: SceneDataset) -> list[dict[str, str]]:
    """Files that are named and not there, and event frames that most scenes have and some have not.

    A set has the same number of frames in every scene with events; a set of so many frames a
    second (its name ends in Hz) in every scene of the same duration.
    """
    missing = [{"scene": s.id, "part": part} for s in dataset for part in s.missing()]
    names = sorted({name for scene in dataset for name in scene.frame_sets})
    for name in names:
        lengths: dict[int | None, Counter[int]] = {}
        for scene in dataset:
            if have := len(scene.frame_sets.get(name, ())):
                lengths.setdefault(_alike(scene, name), Counter())[have] += 1
        for scene in dataset:
            have = len(scene.frame_sets.get(name, ()))
            counter = lengths.get(_alike(scene, name))
            wanted = counter.most_common(1)[0][0] if counter else 0
            if scene.events_file and have < wanted:
                part = f"{name}, {have} of {wanted} frames"
                missing.append({"scene": scene.id, "part": part})
    return missing


def _alike(scene: Scene, name: str) -> int | None:
    """Scenes with the same value have equally many frames in the set."""
    if not name.endswith("Hz") or scene.window_us is None:
        return None
    return scene.window_us[1] - scene.window_us[0]
