"""The contact sheet: everything is on it, whatever a scene lacks, and equal input gives equal
bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.report.contact_sheet import TILE, write_contact_sheet
from crossdraft.scenes.preview import Picture, Preview


def picture(colour: tuple[int, int, int], size: tuple[int, int] = (640, 480)) -> Picture:
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = colour
    return Picture(pixels, "10–20 ms")


def drawn(path: Path) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(path))


def area(sheet: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> int:
    return int((sheet == colour).all(axis=-1).sum())


RED, GREEN = (250, 10, 20), (10, 200, 30)


def test_every_picture_is_there_and_the_bytes_repeat(tmp_path: Path) -> None:
    views = [
        Preview("drive/000001", ["1 s"], [picture(GREEN)] * 5, [picture(RED)] * 5),
        Preview("drive/000002", ["1 s"], [], [picture(RED)] * 3),
        Preview("drive/000003", [], [picture(GREEN), None, None], []),
        Preview("drive/000004", [], [], [], ["video: damaged"]),
        Preview("drive/000005"),
    ]
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    sizes = {write_contact_sheet(views, "title", path) for path in paths}
    assert paths[0].read_bytes() == paths[1].read_bytes()
    sheet = drawn(paths[0])
    assert sizes == {(sheet.shape[1], sheet.shape[0])}
    tile = TILE[0] * TILE[1]
    assert area(sheet, GREEN) == 6 * tile
    assert area(sheet, RED) == 8 * tile


def test_video_stands_above_events(tmp_path: Path) -> None:
    view = Preview("d/0", [], [picture(GREEN)], [picture(RED)])
    write_contact_sheet([view], "title", tmp_path / "a.png")
    sheet = drawn(tmp_path / "a.png")
    rows = [np.nonzero((sheet == colour).all(axis=-1))[0] for colour in (GREEN, RED)]
    assert rows[0].max() < rows[1].min()


@pytest.mark.parametrize("size", [(30, 20), (1440, 1080), (100, 900), (1, 1)])
def test_shapes_are_kept(tmp_path: Path, size: tuple[int, int]) -> None:
    write_contact_sheet([Preview("d/0", [], [], [picture(RED, size)])], "t", tmp_path / "a.png")
    rows, columns = np.nonzero((drawn(tmp_path / "a.png") == RED).all(axis=-1))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert height <= TILE[1] and width <= TILE[0]
    assert height == TILE[1] or width == TILE[0]
    assert width / height == pytest.approx(size[0] / size[1], rel=0.05)


def test_nothing_is_drawn_past_the_edges(tmp_path: Path) -> None:
    """Long titles, facts and notes are cut, names of any script do not fail."""
    long = "überlang 道路 " * 60
    view = Preview("drive/000001", [long], [picture(RED)] * 2, [], [long, "line\nbreak"])
    write_contact_sheet([view], long, tmp_path / "a.png")
    sheet = drawn(tmp_path / "a.png")
    assert (sheet[:, -10:] == 255).all() and (sheet[:, :10] == 255).all()


def test_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scene to show"):
        write_contact_sheet([], "t", tmp_path / "a.png")
    with pytest.raises(InputError, match="pixels high"):
        views = [Preview("d/0", [], [picture(RED)], [picture(RED)])] * 60
        write_contact_sheet(views, "t", tmp_path / "a.png")
    with pytest.raises(InputError, match="cannot write here"):
        write_contact_sheet([Preview("d/0")], "t", tmp_path / "no" / "a.png")
    assert list(tmp_path.iterdir()) == []
