"""The clips of a five-stage measurement: recordings of both sensors, grouped by their length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossdraft.base.errors import InputError
from crossdraft.scenes.dataset import SceneDataset
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.video import probe

#: Lengths are rounded to steps of the first value, from half a second on; shorter ones to steps of
#: the second: the last frame of a video ends when it pleases.
STEPS_US = (100_000, 10_000)


def chosen(folders: Sequence[Path], split: str, clips: int | None) -> list[SceneDataset]:
    """The scenes to measure, dataset by dataset.

    Args:
        split: `train`, `test` or `all`.
        clips: at most so many of each dataset, as many of each drive; None: all.

    Raises:
        InputError: no dataset, none of the split, or a scene that lacks the recording of a sensor.
    """
    if not folders:
        raise InputError("no dataset", where="--scenes", expected="--scenes DIR")
    found = []
    for folder in folders:
        dataset = SceneDataset.open(folder).of_split(split)
        found.append(dataset if clips is None else dataset.thinned(clips))
        for scene in found[-1]:
            _refuse_one_eyed(scene, folder)
    return found


def by_length(datasets: Sequence[SceneDataset]) -> dict[int, list[Scene]]:
    """Scenes by their length in microseconds, short ones first; videos tell where the manifest
    does not, and a video that cannot be read stands under 0, to fail where it is measured."""
    groups: dict[int, list[Scene]] = {}
    for dataset in datasets:
        for scene in dataset:
            groups.setdefault(_length_us(scene), []).append(scene)
    return dict(sorted(groups.items()))


def about(datasets: Sequence[SceneDataset]) -> list[Mapping[str, Any]]:
    """What was measured, so that a later measurement can be known to be of the same clips."""
    return [
        {"folder": str(one.folder), "clips": len(one), "fingerprint": one.fingerprint}
        for one in datasets
    ]


def rounded_us(length_us: int) -> int:
    """A length that neighbouring clips share; never 0."""
    step = STEPS_US[0] if length_us >= 5 * STEPS_US[0] else STEPS_US[1]
    return max(step, (length_us + step // 2) // step * step)


def _length_us(scene: Scene) -> int:
    if scene.window_us is not None:
        return rounded_us(scene.window_us[1] - scene.window_us[0])
    assert scene.video_path is not None  # refused before
    try:
        return rounded_us(probe(scene.video_path).duration_us)
    except InputError:
        return 0


def _refuse_one_eyed(scene: Scene, folder: Path) -> None:
    for what, file in (("event stream", scene.events_file), ("video", scene.video_file)):
        if file is None:
            raise InputError(
                f"clip {scene.id} has no {what}",
                where=folder,
                expected="clips that both sensors have recorded",
                hint="events that nobody recorded: crossdraft scenes simulate, or scenes synth",
            )
