"""Writing video: the same bytes every time, the colours that were written, nothing half-done."""

from __future__ import annotations

import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.scenes import video_index
from crossdraft.scenes.video import probe, read_first, write_mp4
from tests.scenes.videos import (
    FRAMES,
    number_of,
    numbered_frame,
)


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    for lossless in (False, True):
        paths = [tmp_path / f"{name}.mp4" for name in "ab"]
        for path in paths:
            write_mp4(path, iter(FRAMES), lossless=lossless)
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


_DIGEST = """
import hashlib, sys
from pathlib import Path
from crossdraft.scenes.video import write_mp4
from tests.scenes.videos import numbered_frames
for size in ((96, 64), (360, 270)):
    write_mp4(Path(sys.argv[1]), numbered_frames(25, size))
    print(hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest())
"""


def test_the_bytes_do_not_depend_on_what_memory_held(tmp_path: Path) -> None:
    """glibc fills fresh memory with a pattern; code that reads before it writes then shows."""
    digests = set()
    for pattern in ("0", "85", "254"):
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST, str(tmp_path / f"{pattern}.mp4")],
            capture_output=True, text=True, timeout=120, cwd=Path(__file__).parents[2],
            env={**os.environ, "MALLOC_PERTURB_": pattern},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1


def test_lossless_is_lossless_also_for_odd_sizes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (5, 33, 47, 3), dtype=np.uint8)
    write_mp4(tmp_path / "odd.mp4", frames, lossless=True)
    np.testing.assert_array_equal(read_first(tmp_path / "odd.mp4", 5).frames, frames)


def test_saturated_colours_come_back(tmp_path: Path) -> None:
    """A wrong matrix or range shifts these by 10 to 40 levels."""
    colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255],
               [255, 255, 255], [0, 0, 0], [128, 128, 128]]  # fmt: skip
    row = np.repeat(np.array(colours, np.uint8), 32, axis=0)
    frames = [np.repeat(row[None], 64, axis=0)] * 4
    write_mp4(tmp_path / "bars.mp4", frames)
    error = np.abs(read_first(tmp_path / "bars.mp4", 4).frames.astype(int) - np.stack(frames))
    assert error.mean(axis=(0, 1, 2)).max() < 1.5
    inside = error.reshape(4, 64, 9, 32, 3)[:, :, :, 4:-4]  # chroma blends at the edges of bars
    assert inside.max() <= 3


def test_a_tagged_matrix_is_obeyed(tmp_path: Path) -> None:
    """BT.709 as most cameras write it: read as BT.601, green would be off by about 25."""
    green = np.full((64, 64, 3), (30, 180, 60), np.uint8)
    path = tmp_path / "hd.mp4"
    import av

    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("libx264", rate=20, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace = 1
        stream.codec_context.color_range = 1
        frame = av.VideoFrame.from_ndarray(green, format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts = 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    assert np.abs(read_first(path, 1).frames.astype(int) - green).max() <= 3


def test_images_rates_and_sizes(tmp_path: Path) -> None:
    path = tmp_path / "rate.mp4"
    images = [Image.fromarray(frame).convert("RGBA") for frame in FRAMES[:6]]
    write_mp4(path, images, fps=Fraction(30000, 1001))
    info = probe(path)
    assert info.frames == 6
    assert info.fps == pytest.approx(30000 / 1001, rel=1e-4)
    assert [number_of(frame) for frame in read_first(path, 6).frames] == list(range(6))


def test_every_second_begins_with_a_keyframe(tmp_path: Path) -> None:
    """A single frame of a long clip costs a second of decoding at most."""
    write_mp4(tmp_path / "long.mp4", FRAMES, fps=10)
    index = video_index.index_of(tmp_path / "long.mp4")
    times = [index.microseconds(key.pts - index.pts[0]) for key in index.keyframes]
    assert times[0] == 0 and len(times) >= 5
    assert np.diff([*times, 5_000_000]).max() <= 1_000_000


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        ([], {}, "no frames to write"),
        ([FRAMES[0], numbered_frame(1, (96, 66))], {}, "frame 1 has 96x66 pixels"),
        ([numbered_frame(0, (97, 63))], {}, "such as 98x64"),
        ([FRAMES[0][..., 0]], {}, "frame 0 is an array of uint8 .64, 96."),
        ([FRAMES[0].astype(float)], {}, "frame 0 is an array of float64"),
        (FRAMES[:1], {"fps": 0}, "0 frames per second"),
        (FRAMES[:1], {"crf": 52}, "a crf of 52"),
    ],
    ids=["none", "sizes", "odd", "grey", "float", "rate", "crf"],
)
def test_frames_refused_leave_nothing(
    tmp_path: Path, frames: list[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        write_mp4(tmp_path / "clip.mp4", frames, **options)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_fails_to_come_leaves_the_old_file(clip: Path) -> None:
    before = clip.read_bytes()

    def frames() -> Any:
        yield FRAMES[0]
        raise InputError("a missing image")

    with pytest.raises(InputError, match="a missing image"):
        write_mp4(clip, frames())
    assert clip.read_bytes() == before
    assert [path.name for path in clip.parent.iterdir()] == ["clip.mp4"]
