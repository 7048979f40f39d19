"""How much room a dataset will take."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdraft.base.errors import InputError
from crossdraft.scenes import disk
from crossdraft.scenes.frame_files import write_frame
from crossdraft.scenes.readers import read_events
from crossdraft.scenes.render import RenderSettings, render_frames
from crossdraft.scenes.writers import write_h5, write_npy


@pytest.fixture
def real_window() -> Path:
    """A real 50 ms window of DSEC, where there is one."""
    folder = Path(__file__).parents[3] / "shared" / "real" / "events"
    path = folder / "interlaken_00_d_000109.npy"
    if not path.exists():
        pytest.skip(f"no real events at {path}")
    return path


def test_estimates_hold_on_real_events(real_window: Path, tmp_path: Path) -> None:
    """Not too small, and not twice too large."""
    stream = read_events(real_window)
    for kind, write in (("h5", write_h5), ("npy", write_npy)):
        write(stream, tmp_path / kind)
        actual = (tmp_path / kind).stat().st_size
        assert 0.98 * actual < disk.events_bytes(len(stream), kind) < 1.2 * actual
    for parts in (1, 5):
        total = 0
        for frame in render_frames(stream, RenderSettings(parts=parts)):
            write_frame(frame, tmp_path / "frame.png")
            total += (tmp_path / "frame.png").stat().st_size
        assert total < disk.frames_bytes(len(stream), parts, stream.sensor) < 4 * total


def test_no_frames_take_no_room() -> None:
    assert disk.frames_bytes(10**6, 0, (640, 480)) == 0


def test_better_video_takes_more() -> None:
    size = (1440, 1080)
    assert disk.video_bytes(20, size, 18) == pytest.approx(20 * 1440 * 1080 * 0.9 / 8, rel=0.01)
    assert disk.video_bytes(20, size, 12) == pytest.approx(
        2 * disk.video_bytes(20, size, 18), rel=0.01
    )


def test_room_is_looked_for_where_the_folder_will_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert disk.free_bytes(tmp_path / "not" / "yet" / "there") > 0
    disk.check_room(tmp_path / "new", 1, "take less")
    with pytest.raises(InputError, match="1e\\+06 TB are needed"):
        disk.check_room(tmp_path / "new", 10**18, "take less")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (181_500_000, "182 MB"),
        (125_600_000_000, "126 GB"),
    ],
)
def test_sizes_as_people_read_them(count: int, text: str) -> None:
    assert disk.format_bytes(count) == text
