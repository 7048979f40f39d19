"""A file that is no sound recording ends a command: exit code 2, what is wrong, nothing written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossdraft.scenes.video import write_mp4
from crossdraft.scenes.writers import write_h5, write_npz
from tests.cli.run import crossdraft
from tests.scenes.event_files import made_stream
from tests.scenes.videos import numbered_frames


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.mkdir, ("trap",))


def pickled(path: Path, **columns: Any) -> None:
    good = {"x": [1, 2, 3], "y": [1, 2, 3], "t": [1, 2, 3], "p": [0, 1, 1]}
    arrays = {name: np.array(values, np.int64) for name, values in (good | columns).items()}
    np.save(path, np.array(arrays, dtype=object))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bad_file(name: str, folder: Path) -> Path:
    path = folder / name
    match path.stem:
        case "cut":
            if path.suffix == ".h5":
                write_h5(made_stream(1_000), path)
            elif path.suffix == ".mp4":
                write_mp4(path, numbered_frames(20))
            else:
                write_npz(made_stream(1_000), path)
            cut(path)
        case "unordered":
            pickled(path, t=[3, 2, 1])
        case "outside":
            pickled(path, x=[1, 2, 9_000])
        case "without":
            pickled(path, x=[], y=[], t=[], p=[])
        case "crafted":
            np.save(path, np.array({"x": Evil()}, dtype=object))
        case "zero":
            path.touch()
    return path


CASES = [
    ("cut.h5", "not a readable HDF5 event file"),
    ("cut.npz", "not a readable .npz file"),
    ("cut.mp4", "cannot be read as a video"),
    ("unordered.npy", "event 1 has t = 2, the one before it 3"),
    ("outside.npy", "event 2 has x = 9000"),
    ("without.npy", "no events in the file"),
    ("crafted.npy", "refused to load posix.mkdir from a pickle"),
    ("zero.npy", "the file is empty"),
    ("zero.mp4", "the file is empty"),
]


@pytest.mark.parametrize(("name", "message"), CASES, ids=[name for name, _ in CASES])
def test_info_refuses(name: str, message: str, tmp_path: Path) -> None:
    bad_file(name, tmp_path)
    done = crossdraft("scenes", "info", name, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and name in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


EVENTS = [case for case in CASES if not case[0].endswith(".mp4")]


@pytest.mark.parametrize(("name", "message"), EVENTS, ids=[name for name, _ in EVENTS])
def test_render_refuses(name: str, message: str, tmp_path: Path) -> None:
    bad_file(name, tmp_path)
    done = crossdraft("scenes", "render", name, "--out", "frames", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr and name in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
