"""Event frames as PNG files, `<clip>_<i>.png` with i from 0: the same frame gives the same bytes.

Numbers count, not the alphabet: `_2` comes before `_10`, and a gap between them is an error.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.base.files import atomic_path
from crossdraft.scenes.frame_names import clip_and_number, frame_name

#: zlib's run-length strategy: on event frames as quick as its fastest level and a third smaller.
_RUN_LENGTH = 3
#: Modes of 8 bits per channel; Pillow turns them into RGB without loss of range.
_MODES = ("RGB", "RGBA", "L", "LA", "P", "1")


def write_frame(image: npt.NDArray[np.uint8], path: Path) -> None:
    """Write a frame as PNG, whole or not at all, without a time stamp or other metadata.

    Args:
        image: uint8 [height, width, 3], RGB.

    Raises:
        InputError: no such image, or the folder cannot be written.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise InputError(
            f"an image of {image.dtype} {list(image.shape)}",
            where=path,
            expected="uint8 [height, width, 3]",
        )
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(
            temporary, format="PNG", compress_level=1, compress_type=_RUN_LENGTH
        )


def read_frame(path: Path) -> npt.NDArray[np.uint8]:
    """Read an image as uint8 [height, width, 3], RGB. Grey and palette images are converted; an
    alpha channel is laid over white, the ground of event frames.

    Raises:
        InputError: missing, cut, no image, or more than 8 bits per channel.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of a huge image and goes on; here it is damaged until proven otherwise.
            warnings.simplefilter("error")
            with Image.open(path) as image:
                image.load()
                if image.mode not in _MODES:
                    raise InputError(
                        f"an image of mode {image.mode}",
                        where=path,
                        expected="8 bits per channel, RGB",
                    )
                return np.array(_opaque(image))
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError("no such file", where=path, hint="check the path") from error
    except Exception as error:  # image decoders raise nearly anything on damaged bytes
        raise InputError(
            f"not a readable image ({type(error).__name__}: {error})",
            where=path,
            expected="a complete PNG file",
            hint="was it cut while it was written or copied? copy, download or draw it again",
        ) from error


def _opaque(image: Any) -> Any:
    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert("RGB")
    return image.convert("RGB")


def frame_path(folder: Path, stem: str, number: int) -> Path:
    """Where frame `number` of a clip lies."""
    return folder / frame_name(stem, number)


def frame_sets(folder: Path) -> dict[str, list[Path]]:
    """All frames of a folder by clip, clips sorted, frames in the order of their numbers.

    Raises:
        InputError: no such folder, a gap in a clip's numbers, or one number twice.
    """
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", where=folder) from error
    numbers: dict[str, dict[int, str]] = {}
    for name in names:
        if (found := clip_and_number(name)) is not None:
            stem, number = found
            taken = numbers.setdefault(stem, {})
            if number in taken:
                raise InputError(
                    f"{taken[number]} and {name} are the same frame",
                    where=folder,
                    expected="one file per frame",
                )
            taken[number] = name
    return {stem: _in_order(folder, stem, taken) for stem, taken in sorted(numbers.items())}


def frame_paths(folder: Path, stem: str) -> list[Path]:
    """Frames of one clip in the order of their numbers. For many clips, ask `frame_sets` once.

    Raises:
        InputError: as `frame_sets`, or the clip has no frame there.
    """
    found = frame_sets(folder).get(stem)
    if not found:
        raise InputError(
            f"no frame of {stem}",
            where=folder,
            expected=f"{stem}_0.png and so on",
            hint="draw them with crossdraft scenes render",
        )
    return found


def _in_order(folder: Path, stem: str, found: dict[int, str]) -> list[Path]:
    missing = next((i for i in range(len(found)) if i not in found), None)
    if missing is not None:
        raise InputError(
            f"{stem}_{missing}.png is missing, {found[max(found)]} is there",
            where=folder,
            expected="frames numbered from 0 without a gap",
            hint="draw the clip again with crossdraft scenes render",
        )
    return [folder / found[i] for i in range(len(found))]
