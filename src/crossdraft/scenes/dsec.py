"""A folder of DSEC: which sequences are there, and where their events and images lie.

Known layouts, also mixed: `<root>/<split>/<sequence>`, `<root>/<sequence>`, and, as the archives
of the download page unpack, `<root>/<split>_events/<sequence>` beside
`<root>/<split>_images/<sequence>`. Within a sequence (Gehrig et al., 2021):
`events/<side>/events.h5`, `images/timestamps.txt`, `images/<side>/rectified/000000.png`, …
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from crossdraft.base.errors import InputError
from crossdraft.base.files import read_text
from crossdraft.scenes.dsec_sequences import OFFICIAL, split_of_sequence

#: In every dataset that was cut: how it was.
CUT_NOTE = ".cut.json"
SIDES = ("left", "right")
_IMAGE = re.compile(r"(\d{6,})\.png", re.ASCII)


@dataclass(frozen=True)
class Recording:
    """Where one sequence lies, seen from one side.

    Attributes:
        drive: name of the sequence.
        events_path: `events.h5`.
        timestamps_path: times of the images, shared by both sides.
        image_folder: rectified images, named by their number.
    """

    drive: str
    events_path: Path
    timestamps_path: Path
    image_folder: Path

    def image_path(self, number: int) -> Path:
        """Image of a number; the first is 0."""
        return self.image_folder / f"{number:06d}.png"

    def times_us(self) -> npt.NDArray[np.int64]:
        """Times of all images in µs, int64 [images], rising.

        Raises:
            InputError: no such file, no whole numbers, or times that do not rise.
        """
        return read_timestamps(self.timestamps_path)

    def missing_images(self, count: int) -> frozenset[int]:
        """Numbers below `count` that have no image.

        Raises:
            InputError: no images at all, or more than there are times.
        """
        folder = self.image_folder
        found = {
            int(match[1])
            for path in (folder.iterdir() if folder.is_dir() else ())
            if (match := _IMAGE.fullmatch(path.name))
        }
        if not found:
            raise InputError(
                "holds no images",
                where=folder,
                expected="000000.png, 000001.png, …",
                hint="download the rectified images of this side, or cut without video: --no-video",
            )
        if len(found) > count or max(found) >= count:
            raise InputError(
                f"{len(found):,} images up to number {max(found)}, and {count:,} times",
                where=folder,
                expected=f"one image per line of {self.timestamps_path}",
                hint="both must come from the same download",
            )
        return frozenset(range(count)) - found


def read_timestamps(path: Path) -> npt.NDArray[np.int64]:
    """Times of a `timestamps.txt`: one whole number of µs per line, int64 [lines].

    Raises:
        InputError: missing, empty, not whole numbers, or not rising.
    """
    lines = read_text(path).split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    times: list[int] = []
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 17):
            raise InputError(
                f"line {number} is {text[:40]!r}", where=path, expected="a whole number of µs"
            )
        if times and int(text) <= times[-1]:
            raise InputError(
                f"line {number} has {text}, the one before it {times[-1]}",
                where=path,
                expected="times that rise",
            )
        times.append(int(text))
    return np.array(times, np.int64)


@dataclass(frozen=True)
class Found:
    """The sequences to cut.

    Attributes:
        recordings: sorted by name.
        absent: sequences of the official list that are not there; none where some were named.
    """

    recordings: tuple[Recording, ...]
    absent: tuple[str, ...]


def find_recordings(
    root: Path, split: str, side: str, wanted: Sequence[str] | None = None
) -> Found:
    """Sequences of a split under a folder.

    A sequence that no list knows is taken when it is named or lies in the split's own folder.

    Args:
        split: `train` or `test`.
        side: `left` or `right`.
        wanted: names; None: all.

    Raises:
        InputError: no such folder, no sequence, an unknown name, a sequence of the other split.
    """
    if not root.is_dir():
        raise InputError("no such folder", where=root, hint="name the folder that DSEC lies in")
    places = dict(_places(root, split))
    if wanted is None:
        names = [name for name, place in places.items() if place.own or _is_in(name, split)]
    else:
        names = list(dict.fromkeys(wanted))
        for name in names:
            _check_known(name, places, root, split)
    for name in names:
        _check_split(name, split, root)
    if not names:
        raise InputError(
            f"no sequence of the {split} split",
            where=root,
            expected=f"{split}/<sequence>/events/{side}/events.h5, or <sequence>/events/… itself",
            hint=_root_hint(root),
        )
    absent = () if wanted is not None else tuple(sorted(set(OFFICIAL[split]) - set(names)))
    return Found(tuple(places[name].recording(name, side) for name in sorted(names)), absent)


@dataclass(frozen=True)
class _Place:
    """Folders of one sequence; `own` where they lie in a folder of the split."""

    events: Path
    images: Path
    own: bool

    def recording(self, name: str, side: str) -> Recording:
        return Recording(
            drive=name,
            events_path=self.events / "events" / side / "events.h5",
            timestamps_path=self.images / "images" / "timestamps.txt",
            image_folder=self.images / "images" / side / "rectified",
        )


def _places(root: Path, split: str) -> Iterator[tuple[str, _Place]]:
    """Every sequence in the order of its name, events and images from where each of them is."""
    found: dict[str, dict[str, tuple[Path, bool]]] = {}
    for parent, own in (
        (root / split, True),
        (root / f"{split}_events", True),
        (root / f"{split}_images", True),
        (root, False),
    ):
        for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
            for part in ("events", "images"):
                # Datasets that were cut into the same folder hold events, too.
                if (folder / part).is_dir() and not (folder / CUT_NOTE).exists():
                    found.setdefault(folder.name, {}).setdefault(part, (folder, own))
    for name, parts in sorted(found.items()):
        first = next(iter(parts.values()))
        events, images = parts.get("events", first), parts.get("images", first)
        yield name, _Place(events[0], images[0], any(own for _, own in parts.values()))


def _is_in(name: str, split: str) -> bool:
    return split_of_sequence(name) == split


def _check_known(name: str, places: dict[str, _Place], root: Path, split: str) -> None:
    if name in places:
        return
    _check_split(name, split, root)
    known = sorted({*places, *OFFICIAL[split]})
    near = difflib.get_close_matches(name, known, n=1)
    if name in OFFICIAL[split]:
        found, hint = f"sequence {name} is not there", "download it, or leave it out"
    else:
        found = f"no sequence {name!r}"
        hint = f"did you mean {near[0]}?" if near else "check the name"
    raise InputError(
        found,
        where=root,
        expected=f"one of {', '.join(sorted(places)[:8]) or 'none: no sequence is there'}"
        + (", …" if len(places) > 8 else ""),
        hint=hint,
    )


def _check_split(name: str, split: str, root: Path) -> None:
    other = split_of_sequence(name)
    if other is not None and other != split:
        raise InputError(
            f"{name} is a sequence of the {other} split",
            where=root,
            expected=f"sequences of the {split} split",
            hint=f"cut it with --split {other}, or move its folder out of {split}/",
        )


def _root_hint(root: Path) -> str:
    if (root / "events").is_dir():
        return f"this is one sequence: name the folder above it, {root.resolve().parent}"
    inside = sorted(child.name for child in root.iterdir() if child.is_dir())
    return f"the folder holds {', '.join(inside[:6]) or 'no folders'}"
