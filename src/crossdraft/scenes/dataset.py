"""A dataset: scenes in a folder, opened by what lies there, read only when asked.

Four kinds of places open: crossdraft's own folder (`scenes.json`), the seed study's folders, a
flat folder of event files and videos, and a single file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import overload

from crossdraft.base.errors import InputError
from crossdraft.scenes.drives import drives_near, few_of_each
from crossdraft.scenes.frame_names import clip_and_number, frame_name
from crossdraft.scenes.frame_note import noted_settings
from crossdraft.scenes.manifest import MANIFEST, read_manifest
from crossdraft.scenes.render import RenderSettings
from crossdraft.scenes.scene import Scene
from crossdraft.scenes.seed_layout import SEED_MANIFEST, is_number, is_seed_layout, read_seed_layout

#: How files of a flat folder are told apart; what is in them is recognised by content.
EVENT_SUFFIXES = (
    ".npy", ".npz", ".h5", ".hdf5", ".csv", ".csv.gz", ".txt", ".txt.gz", ".aedat4", ".raw",
)  # fmt: skip
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".m2ts",
    ".flv", ".ogv", ".3gp",
)  # fmt: skip

#: Frames drawn before: `<set>/<drive>/<clip>_<i>.png`, the set named like this.
FRAME_SETS = "event_image*"
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
        for one, other in itertools.pairwise(self._scenes):
            if one.id == other.id:
                files = [s.events_file or s.video_file or "no file" for s in (one, other)]
                raise InputError(
                    f"clip {one.id} is listed more than once ({', '.join(files)})",
                    where=folder,
                    expected="each clip once",
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
            return cls(_marked([_single(path)]), path.parent, "file")
        if not path.is_dir():
            raise InputError("no such folder or file", where=path, hint="check the path")
        if (path / MANIFEST).is_file():
            layout, scenes = "crossdraft", read_manifest(path)
        elif is_seed_layout(path):
            layout, scenes = "seed", read_seed_layout(path)
        else:
            layout, scenes = "flat", tuple(_marked(_flat(path)))
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
            # Where nothing but the folder names the drive, the files alone say what they are.
            name = None if self.layout in ("flat", "file") else scene.id
            digest.update(json.dumps([name, scene.window_us, files]).encode())
        return digest.hexdigest()

    def where(self, wanted: Callable[[Scene], bool]) -> SceneDataset:
        """The scenes that `wanted` says yes to."""
        return SceneDataset(filter(wanted, self), self.folder, self.layout)

    def of_split(self, split: str) -> SceneDataset:
        """The scenes of a split, `all` for every scene.

        Raises:
            InputError: there is none.
        """
        chosen = self if split == "all" else self.where(lambda scene: scene.split == split)
        if not chosen:
            splits = sorted({scene.split for scene in self if scene.split})
            raise InputError(
                f"no scene of the split {split!r}",
                where=self.folder / MANIFEST,
                expected=f"--split {' or '.join([*splits, 'all'])}",
            )
        return chosen

    def thinned(self, count: int) -> SceneDataset:
        """At most `count` scenes: as many of each drive, evenly over its length."""
        places = few_of_each([scene.drive for scene in self], count)
        return SceneDataset((self[place] for place in places), self.folder, self.layout)

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
            InputError: a share outside (0, 1), or fewer than two drives: clips of one drive overlap
                and must not be split.
        """
        if not 0 < share < 1:
            raise InputError(f"a share of {share:g}", expected="more than 0 and less than 1")
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
    """Scenes with their sets of event frames, in the order of the frames' numbers.

    A set's frames are those that lie in the folder and those that the manifest lists or the set's
    own note promises: what is not there is named all the same, to be missed.
    """
    found: dict[tuple[str, str, int], dict[int, str]] = {}
    for path in sorted(folder.glob(f"{FRAME_SETS}/*/*.png")):
        named = clip_and_number(path.name)
        if named and is_number(named[0]):
            key = (path.parent.parent.name, path.parent.name, int(named[0]))
            found.setdefault(key, {})[named[1]] = path.relative_to(folder).as_posix()
    notes = {name: noted_settings(folder / name) for name in {name for name, *_ in found}}
    return [replace(scene, frame_sets=_frame_sets(scene, found, notes)) for scene in scenes]


def _frame_sets(
    scene: Scene,
    found: Mapping[tuple[str, str, int], Mapping[int, str]],
    notes: Mapping[str, RenderSettings | None],
) -> dict[str, tuple[str, ...]]:
    sets = {}
    for name in sorted({*notes, *scene.frame_sets}):
        frames = dict(found.get((name, scene.drive, scene.clip), {}))
        promised = _promised(scene, notes.get(name)) if frames else 0
        for file in scene.frame_sets.get(name, ()):
            named = clip_and_number(PurePosixPath(file).name)
            frames.setdefault(named[1] if named else len(frames), file)
        for number in range(max([promised - 1, *frames], default=-1) + 1):
            frames.setdefault(number, f"{name}/{frame_name(scene.id, number)}")
        if frames:
            sets[name] = tuple(frames[number] for number in sorted(frames))
    return sets


def _promised(scene: Scene, settings: RenderSettings | None) -> int:
    """Frames that a set's note says a clip has; 0 where that depends on events."""
    if settings is None:
        return 0
    if scene.window_us is None:
        return 0 if settings.hz is not None else settings.frames(0)
    return settings.frames(scene.window_us[1] - scene.window_us[0])


def _flat(folder: Path) -> list[Scene]:
    """Event files and videos side by side; those of one name are one scene."""
    by_name: dict[str, dict[str, str]] = {}
    for path in sorted(folder.iterdir()):
        for part, suffixes in (("events", EVENT_SUFFIXES), ("video", VIDEO_SUFFIXES)):
            if path.is_file() and (name := _stem(path.name, suffixes)) is not None:
                other = by_name.setdefault(name, {}).setdefault(part, path.name)
                if other != path.name:
                    raise InputError(
                        f"{other} and {path.name} are two recordings of one scene",
                        where=folder,
                        expected="one event file and one video per name",
                    )
    return _named(by_name, folder)


def _marked(scenes: list[Scene]) -> list[Scene]:
    """Scenes named by their files, simulated where the dataset that a file lies in says so.

    Links are followed: what counts is where the events lie, not by which name they are called.
    """
    known: dict[Path, set[Path]] = {}
    marked = []
    for scene in scenes:
        if path := scene.events_path:
            file = _real(path)
            home = file.parent.parent.parent  # of events/<drive>/<clip>
            if home not in known:
                known[home] = _simulated_in(home)
            scene = replace(scene, simulated=file in known[home])
        marked.append(scene)
    return marked


def _simulated_in(home: Path) -> set[Path]:
    """Event files that the manifest of a folder calls simulated."""
    try:
        listed = read_manifest(home) if (home / MANIFEST).is_file() else ()
    except (InputError, OSError):  # damaged, locked up, or somebody else's: it knows nothing
        return set()
    return {_real(path) for scene in listed if scene.simulated and (path := scene.events_path)}


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _single(path: Path) -> Scene:
    kinds = (("video", VIDEO_SUFFIXES), ("events", EVENT_SUFFIXES))
    for part, suffixes in kinds:
        if (name := _stem(path.name, suffixes)) is not None:
            return _named({name: {part: path.name}}, path.parent)[0]
    return _named({path.name: {"events": path.name}}, path.parent)[0]


def _stem(name: str, suffixes: Iterable[str]) -> str | None:
    """A file's name without its suffix, None if it has none of these."""
    return next((name[: -len(s)] for s in suffixes if name.lower().endswith(s)), None)


def _named(by_name: Mapping[str, Mapping[str, str]], folder: Path) -> list[Scene]:
    """`<drive>_<number>` names drive and clip; other names stand in the folder's own drive, under
    numbers that are free."""
    scenes, taken, own = [], set[tuple[str, int]](), folder.resolve().name
    places: dict[str, tuple[str, int]] = {}
    for name in by_name:
        if match := _NUMBERED.fullmatch(name):
            places[name] = (match[1], int(match[2]))
            taken.add(places[name])
    free = (number for number in itertools.count() if (own, number) not in taken)
    for name in sorted(by_name):
        drive, clip = places.get(name) or (own, next(free))
        parts = by_name[name]
        scenes.append(Scene(drive, clip, folder, parts.get("events"), parts.get("video")))
    return scenes


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
