"""Frames as PNG files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.scenes.frame_files import frame_paths, frame_sets, read_frame, write_frame
from tests.scenes.test_render import streams

FRAME = np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)


def test_a_frame_comes_back_as_it_was(tmp_path: Path) -> None:
    write_frame(FRAME, tmp_path / "a_0.png")
    assert np.array_equal(read_frame(tmp_path / "a_0.png"), FRAME)
    assert [path.name for path in tmp_path.iterdir()] == ["a_0.png"], "nothing temporary is left"


def test_strided_frames_are_written(tmp_path: Path) -> None:
    write_frame(FRAME[:4, :5], tmp_path / "a_0.png")
    assert np.array_equal(read_frame(tmp_path / "a_0.png"), FRAME[:4, :5])


def test_the_same_frame_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a_0.png", "b_0.png"):
        write_frame(FRAME, tmp_path / name)
    written = (tmp_path / "a_0.png").read_bytes()
    assert written == (tmp_path / "b_0.png").read_bytes()
    assert b"tIME" not in written and b"tEXt" not in written


@pytest.mark.parametrize(
    "image",
    [FRAME.astype(np.int64), FRAME[..., 0], FRAME[..., :2], FRAME[:0]],
    ids=["int64", "grey", "two channels", "empty"],
)
def test_no_frame_is_refused(image: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an image of"):
        write_frame(image, tmp_path / "a_0.png")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write here"):
        write_frame(FRAME, tmp_path / "none" / "a_0.png")


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA"])
def test_other_modes_become_rgb(mode: str, tmp_path: Path) -> None:
    flat = Image.new("RGB", (4, 3), (255, 255, 255)).convert(mode)
    flat.save(tmp_path / "a_0.png")
    frame = read_frame(tmp_path / "a_0.png")
    assert frame.shape == (3, 4, 3)
    assert (frame == 255).all()


def test_what_is_transparent_is_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "a_0.png")
    assert (read_frame(tmp_path / "a_0.png") == 255).all()


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(tmp_path / "a_0.png")
    with pytest.raises(InputError, match="mode I;16"):
        read_frame(tmp_path / "a_0.png")


def test_damaged_frames_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a_0.png"
    with pytest.raises(InputError, match="no such file"):
        read_frame(path)
    with pytest.raises(InputError):
        read_frame(tmp_path)
    write_frame(FRAME, path)
    whole = path.read_bytes()
    for length in (0, 1, 8, 20, 40, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError) as caught:
            read_frame(path)
        assert caught.value.where == path


def test_a_huge_image_is_refused(tmp_path: Path) -> None:
    """Its header asks for far more memory than its data holds."""
    whole = io.BytesIO()
    Image.new("1", (14_000, 14_000)).save(whole, "PNG")
    (tmp_path / "a_0.png").write_bytes(whole.getvalue())
    with pytest.raises(InputError, match="not a readable image"):
        read_frame(tmp_path / "a_0.png")


@given(st.binary(max_size=200))
def test_random_bytes_raise_our_error_only(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random_0.png"
    for head in (b"", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"):
        path.write_bytes(head + data)
        with pytest.raises(InputError):
            read_frame(path)


@given(streams)
def test_drawn_frames_survive_the_file(tmp_path_factory: Any, stream: Any) -> None:
    from crossdraft.scenes.render import render_frames

    path = tmp_path_factory.getbasetemp() / "drawn_0.png"
    for frame in render_frames(stream):
        write_frame(frame, path)
        assert np.array_equal(read_frame(path), frame)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_numbers_count_not_the_alphabet(tmp_path: Path) -> None:
    touch(tmp_path, *(f"000074_{i}.png" for i in range(12)), "000075_0.png", "notes.txt")
    touch(tmp_path, "plain.png", ".000074_0.png.abcdefgh.png", "000074_x.png")
    assert [p.name for p in frame_paths(tmp_path, "000074")] == [
        f"000074_{i}.png" for i in range(12)
    ]
    assert list(frame_sets(tmp_path)) == ["000074", "000075"]


def test_a_gap_names_the_missing_frame(tmp_path: Path) -> None:
    touch(tmp_path, "a_0.png", "a_1.png", "a_3.png", "a_10.png")
    with pytest.raises(InputError, match=r"a_2\.png is missing, a_10\.png is there"):
        frame_paths(tmp_path, "a")


def test_one_number_twice_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "a_0.png", "a_1.png", "a_01.png")
    with pytest.raises(InputError, match="same frame"):
        frame_sets(tmp_path)


def test_no_frames_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame of b"):
        frame_paths(tmp_path, "b")
    with pytest.raises(InputError, match="cannot be read"):
        frame_paths(tmp_path / "none", "b")
