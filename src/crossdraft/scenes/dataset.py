"""A dataset: scenes in a folder, opened by what lies there, read only when asked.

Four kinds of places open: crossdraft's own folder (`scenes.json`), the seed study's folders, a
flat folder of event files and videos, and a single file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import overload

from crossdraft.base.errors import InputError
from crossdraft.scenes.drives import drives_near
from crossdraft.scenes.manifest import MANIFEST, read_manifest
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.seed_layout import SEED_MANIFEST, is_seed_layout, read_seed_layout

EVENT_SUFFIXES = (".npy", ".npz", ".h5", ".hdf5", ".csv", ".txt", ".aedat4", ".raw")
VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm")

#: Frames drawn before: `<set>/<drive>/<clip>_<i>.png`, the set named like this.
FRAME_SETS = "event_image*"
_FRAME = re.compile(r"(\d{1,15})_(\d{1,6})\.png", re.ASCII)
_NUMBERED = re.compile(r"(.+)_(\d{3,15})", re.ASCII)


class SceneDataset(Sequence[Scene]):
    """Scenes in the order of drive and clip.

    Attributes:
        folder: where they were opened.
        layout: `crossdraft`, `seed`, `flat` or `file`.
    """

    def __init__(self, scenes: Iterable[Scene], folder: Path, layout: str) -> None:
        self.folder, self.layout = folder, layout
        self._scenes = tuple(sorted(scenes, key=lambda scene: (scene.drive, scene.clip)))
        if twice := [name for name, n in Counter(s.id for s in self._scenes).items() if n > 1]:
            raise InputError(
                f"clip {twice[0]} is listed more than once", where=folder, expected="each clip once"
            )

    @classmethod
    def open(cls, path: Path) -> SceneDataset:
        """Open a folder or a single file by what it holds.

        Raises:
            InputError: nothing there, nothing that is a scene, or a damaged manifest.
        """
        if path.is_file() and path.name in (MANIFEST, SEED_MANIFEST):
            path = path.parent
        if path.is_file():
            return cls([_single(path)], path.parent, "file")
        if not path.is_dir():
            raise InputError("no such folder or file", where=path, hint="check the path")
        if (path / MANIFEST).is_file():
            layout, scenes = "crossdraft", read_manifest(path)
        elif is_seed_layout(path):
            layout, scenes = "seed", read_seed_layout(path)
        else:
            layout, scenes = "flat", tuple(_flat(path))
        if not scenes:
            raise InputError("holds no scene", where=path, **_advice(path))
        return cls(_with_frames(scenes, path) if layout != "flat" else scenes, path, layout)

    @overload
    def __getitem__(self, place: int) -> Scene: ...
    @overload
    def __getitem__(self, place: slice) -> SceneDataset: ...
    def __getitem__(self, place: int | slice) -> Scene | SceneDataset:
        if isinstance(place, slice):
            return SceneDataset(self._scenes[place], self.folder, self.layout)
        return self._scenes[place]

    def __len__(self) -> int:
        return len(self._scenes)

    def __iter__(self) -> Iterator[Scene]:
        return iter(self._scenes)

    @property
    def drives(self) -> tuple[str, ...]:
        """Names of the drives, sorted."""
        return tuple(sorted({scene.drive for scene in self}))

    @property
    def fingerprint(self) -> str:
        """Digest of which clips these are, independent of where the folder stands.

        Files count with the digest that the manifest gives, else with their size: hashing a
        foreign dataset would mean reading all of it. Frames drawn from the events do not count.
        """
        digest = hashlib.sha256()
        for scene in self:
            files = [
                (file, scene.sha256.get(file) or _size(scene.folder / file))
                for file in (scene.events_file, scene.video_file)
                if file
            ]
            digest.update(json.dumps([scene.id, scene.window_us, files]).encode())
        return digest.hexdigest()

    def where(self, wanted: Callable[[Scene], bool]) -> SceneDataset:
        """The scenes that `wanted` says yes to."""
        return SceneDataset(filter(wanted, self), self.folder, self.layout)

    def of_drives(self, drives: Iterable[str]) -> SceneDataset:
        """The scenes of some drives.

        Raises:
            InputError: a drive that is not there.
        """
        chosen = set(drives)
        if unknown := sorted(chosen - set(self.drives)):
            raise InputError(
                f"no drive {unknown[0]!r}",
                where=self.folder,
                expected=f"one of {', '.join(self.drives[:8])}"
                + (", …" if len(self.drives) > 8 else ""),
            )
        return self.where(lambda scene: scene.drive in chosen)

    def with_sensor(self, sensor: tuple[int, int]) -> SceneDataset:
        """The same scenes, their event camera of this width and height whatever the files say."""
        scenes = (replace(scene, sensor=sensor) for scene in self)
        return SceneDataset(scenes, self.folder, self.layout)

    def hold_out(self, share: float) -> tuple[SceneDataset, SceneDataset]:
        """Split by drive into the rest and about `share` of the clips.

        Raises:
            InputError: fewer than two drives: clips of one drive overlap and must not be split.
        """
        if len(self.drives) < 2:
            raise InputError(
                f"{len(self.drives)} drive cannot be split",
                where=self.folder,
                expected="two drives or more",
            )
        held = drives_near(Counter(scene.drive for scene in self), share)
        return (
            self.where(lambda scene: scene.drive not in held),
            self.where(lambda scene: scene.drive in held),
        )


def _with_frames(scenes: Iterable[Scene], folder: Path) -> list[Scene]:
    """Scenes with the frame sets that lie in the folder, in the order of their numbers; a set that
    a manifest lists and nobody finds stays, to be missed."""
    drawn: dict[tuple[str, int], dict[str, list[tuple[int, str]]]] = {}
    for path in sorted(folder.glob(f"{FRAME_SETS}/*/*.png")):
        if match := _FRAME.fullmatch(path.name):
            sets = drawn.setdefault((path.parent.name, int(match[1])), {})
            numbered = (int(match[2]), path.relative_to(folder).as_posix())
            sets.setdefault(path.parent.parent.name, []).append(numbered)
    return [
        replace(
            scene,
            frame_sets=dict(
                sorted(
                    {
                        **scene.frame_sets,
                        **{
                            name: tuple(file for _, file in sorted(frames))
                            for name, frames in drawn.get((scene.drive, scene.clip), {}).items()
                        },
                    }.items()
                )
            ),
        )
        for scene in scenes
    ]


def _flat(folder: Path) -> list[Scene]:
    """Event files and videos side by side; those of one name are one scene."""
    by_name: dict[str, dict[str, str]] = {}
    for path in sorted(folder.iterdir()):
        for part, suffixes in (("events", EVENT_SUFFIXES), ("video", VIDEO_SUFFIXES)):
            if path.is_file() and path.name.lower().endswith(suffixes):
                by_name.setdefault(path.stem, {}).setdefault(part, path.name)
    return [
        _named(name, place, folder, parts)
        for place, (name, parts) in enumerate(sorted(by_name.items()))
    ]


def _named(name: str, place: int, folder: Path, parts: dict[str, str]) -> Scene:
    """`<drive>_<number>` names drive and clip; other names stand in the folder's own drive."""
    match = _NUMBERED.fullmatch(name)
    drive, clip = (match[1], int(match[2])) if match else (folder.resolve().name, place)
    return Scene(drive, clip, folder, parts.get("events"), parts.get("video"))


def _single(path: Path) -> Scene:
    part = "video" if path.name.lower().endswith(VIDEO_SUFFIXES) else "events"
    return _named(path.stem, 0, path.parent, {part: path.name})


def _advice(folder: Path) -> dict[str, str]:
    inside = sorted(child for child in folder.iterdir() if child.is_dir())
    expected = f"{MANIFEST}, the seed study's folders, or event files and videos"
    if datasets := [c.name for c in inside if (c / MANIFEST).is_file() or is_seed_layout(c)]:
        return {"expected": expected, "hint": f"name one of the datasets in it: {datasets[0]}, …"}
    if any((child / "events").is_dir() for child in (*inside, *folder.glob("*/*"))):
        return {"expected": expected, "hint": "cut DSEC first: crossdraft scenes dsec ROOT --out …"}
    return {"expected": expected}


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None
