"""Files that are no video, or not a whole one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.scenes import video_index
from crossdraft.scenes.video import probe, read_at, read_first, read_uniform, write_mp4
from tests.scenes.videos import (
    FRAMES,
    make_audio,
    make_video,
    number_of,
)

READERS: list[Callable[[Path], object]] = [
    probe,
    lambda path: read_uniform(path, 8),
    lambda path: read_first(path, 1),
    lambda path: read_at(path, [0]),
]


def refused(path: Path, message: str) -> None:
    for read in READERS:
        with pytest.raises(InputError, match=message):
            read(path)


def test_no_video(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(tmp_path / "none.mp4", "no such file")
    refused(tmp_path, "this is a folder")
    (tmp_path / "empty.mp4").touch()
    refused(tmp_path / "empty.mp4", "the file is empty")
    (tmp_path / "text.txt").write_text("no video\n" * 100)
    refused(tmp_path / "text.txt", "cannot be read as a video")
    Image.fromarray(FRAMES[0]).save(tmp_path / "image.png")
    refused(tmp_path / "image.png", "cannot be read as a video")
    refused(make_audio(tmp_path / "sound.mp4"), "no video track .audio only.")
    refused(make_audio(tmp_path / "sound.wav"), "cannot be read as a video")
    assert capfd.readouterr() == ("", "")


def test_a_playlist_is_not_followed(tmp_path: Path, clip: Path) -> None:
    """Names in a file never make the reader open another file or an address."""
    (tmp_path / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{clip}\n#EXT-X-ENDLIST\n")
    refused(tmp_path / "list.m3u8", "cannot be read as a video")
    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile {clip.name}\n")
    refused(tmp_path / "list.ffconcat", "cannot be read as a video")


def test_a_name_like_an_address(tmp_path: Path) -> None:
    path = tmp_path / "http:clip%03d.mp4"
    write_mp4(path, FRAMES[:3])
    assert probe(path).frames == 3


def test_cut_before_its_table(clip: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = clip.read_bytes()
    clip.write_bytes(data[: data.index(b"moov")])
    refused(clip, "cannot be read as a video")
    clip.write_bytes(data[:-300])
    refused(clip, "cannot be read as a video|no complete frame")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_cut_in_its_data(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The frames before the cut are read, everything that needs the rest is refused."""
    container = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    path = make_video(
        tmp_path / f"cut{suffix}", FRAMES, container=container, g="12", bf="2", crf="10"
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    for read in (probe, lambda path: read_uniform(path, 8), lambda path: read_at(path, [0])):
        with pytest.raises(InputError, match=r"the video was cut: \d+ frames.* whole"):
            read(path)
    got = read_first(path, 12)
    assert [number_of(frame) for frame in got.frames] == list(range(12))
    with pytest.raises(InputError, match="the file was cut"):
        read_first(path, 50)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.6, 0.7, 0.8, 0.95])
def test_what_a_cut_file_still_gives_is_right(tmp_path: Path, share: float) -> None:
    path = make_video(
        tmp_path / "cut.mp4", FRAMES, container={"movflags": "+faststart"}, g="50", bf="3"
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    n = len(video_index.index_of(path).pts)
    assert 0 < n < 50
    assert [number_of(frame) for frame in read_first(path, n).frames] == list(range(n))


def test_damaged_data_is_named(clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 900
    data[start : start + 400] = bytes(400)
    clip.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged|cannot be decoded"):
        read_uniform(clip, 20)


@given(data=st.binary(max_size=400))
def test_random_bytes(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "random.mp4"
    for head in (b"", b"\0\0\0\x18ftypisom", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI LIST"):
        path.write_bytes(head + data)
        for read in READERS:
            with pytest.raises(InputError):
                read(path)


_MUTATE = """
import random, sys
from pathlib import Path
from crossdraft.base.errors import InputError
from crossdraft.scenes.video import probe, read_first, read_uniform
source, target = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
draw = random.Random(0)
read = 0
for _ in range(150):
    data = bytearray(source)
    for _ in range(draw.randint(1, 4)):
        data[draw.randrange(len(data))] = draw.randrange(256)
    target.write_bytes(data)
    for call in (probe, lambda path: read_uniform(path, 4), lambda path: read_first(path, 3)):
        try:
            call(target)
            read += 1
        except InputError:
            pass
print(read)
"""


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_mutated_files_raise_only_our_error(tmp_path: Path, suffix: str) -> None:
    """In a process of its own: a decoder that crashes must not take the tests along."""
    source = make_video(tmp_path / f"source{suffix}", FRAMES[:8], g="4")
    done = subprocess.run(
        [sys.executable, "-c", _MUTATE, str(source), str(tmp_path / f"mutated{suffix}")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert 0 < int(done.stdout) < 450
