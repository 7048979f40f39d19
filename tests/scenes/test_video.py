"""Video: the frames asked for, the bytes written, and files that are none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crossdraft.base.errors import InputError
from crossdraft.scenes import video, video_index
from crossdraft.scenes.video import probe, read_at, read_first, read_uniform, write_mp4
from tests.scenes.videos import (
    full_decode,
    make_audio,
    make_video,
    number_of,
    numbered_frame,
    numbered_frames,
)

FRAMES = numbered_frames(50)
#: Gaps from one tick to a long pause, as a camera with exposure control leaves them.
_UNEVEN = [0, 1, 2, 5, 6, 7, 20, 21, 22, 23, 50, 51, 52, 53, 54, 80, 81, 95, 96, 97]

#: How a file comes to be hard to read: name -> (suffix, frames, keywords of make_video).
VARIANTS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "b-frames": (".mp4", 50, {"g": "12", "bf": "3"}),
    "no b-frames": (".mp4", 50, {"g": "7", "bf": "0"}),
    "one group": (".mp4", 50, {"g": "250", "bf": "3"}),
    "open groups": (
        ".mp4", 50, {"x264-params": "open-gop=1:keyint=9:min-keyint=9:bframes=3:scenecut=0"},
    ),
    "groups of two": (".mp4", 50, {"g": "2", "bf": "1"}),
    "bit by bit": (".mp4", 50, {"g": "12", "intra-refresh": "1"}),
    "uneven times": (".mp4", 20, {"g": "6", "ticks": _UNEVEN}),
    "late start": (".mp4", 20, {"g": "6", "ticks": list(range(200, 220))}),
    "fragments": (
        ".mp4", 50, {"g": "10", "container": {"movflags": "frag_keyframe+empty_moov"}},
    ),
    "matroska": (".mkv", 50, {"g": "12", "bf": "3"}),
    "matroska vp8": (".webm", 50, {"codec": "libvpx", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "webm vp9": (".webm", 20, {"codec": "libvpx-vp9", "deadline": "realtime", "cpu-used": "8"}),
    "transport": (".ts", 50, {"g": "12", "bf": "3"}),
    "avi": (".avi", 50, {"g": "12", "bf": "3"}),
    "avi mpeg4": (".avi", 50, {"codec": "mpeg4", "g": "12", "bf": "2", "qscale": "3"}),
    "hevc": (".mp4", 20, {"codec": "libx265", "x265-params": "log-level=none:pools=1:keyint=8"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The file of a variant, written once."""
    folder = tmp_path_factory.mktemp("videos")

    def of(name: str) -> Path:
        suffix, n, options = VARIANTS[name]
        path = folder / f"{name.replace(' ', '_')}{suffix}"
        return path if path.exists() else make_video(path, FRAMES[:n], **options)

    return of


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """One second at 20 frames a second."""
    path = tmp_path / "clip.mp4"
    write_mp4(path, FRAMES[:20])
    return path


@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_frame_equals_a_full_decode(name: str, made: Callable[[str], Path]) -> None:
    path = made(name)
    pictures, times = full_decode(path)
    assert [number_of(picture) for picture in pictures] == list(range(len(pictures)))
    info = probe(path)
    assert info.frames == len(pictures) == VARIANTS[name][1]
    assert info.times_us.tolist() == times
    rng = np.random.default_rng(0)
    draws = [[0], [len(times) - 1], [3, 4], list(range(len(times)))]
    draws += [rng.integers(0, len(times), size).tolist() for size in (1, 2, 5, 9)]
    for wanted in draws:
        got = read_at(path, [times[frame] for frame in wanted])
        assert got.indices.tolist() == wanted
        assert got.times_us.tolist() == [times[frame] for frame in wanted]
        for picture, frame in zip(got.frames, wanted, strict=True):
            np.testing.assert_array_equal(picture, pictures[frame])


@pytest.mark.parametrize("name", list(VARIANTS))
def test_uniform_and_first(name: str, made: Callable[[str], Path]) -> None:
    path = made(name)
    pictures, times = full_decode(path)
    info = probe(path)
    for n in (1, 3, 8, len(times) + 5):
        got = read_uniform(path, n)
        expected = [
            max(i for i, time in enumerate(times) if time <= info.duration_us * k // n)
            for k in range(n)
        ]
        assert got.indices.tolist() == expected
        assert got.frames.shape == (n, *pictures[0].shape) and got.frames.dtype == np.uint8
        assert [number_of(frame) for frame in got.frames] == expected
    first = read_first(path, 6)
    np.testing.assert_array_equal(first.frames, np.stack(pictures[:6]))
    assert first.indices.tolist() == list(range(6))


@given(frames=st.integers(1, 40), n=st.integers(1, 24))
def test_at_a_constant_rate_uniform_is_the_documented_recipe(frames: int, n: int) -> None:
    """The rule alone, on an index: floor(i N / n), arange(0, N, N / n) in whole numbers."""
    pts = [1024 + 512 * i for i in range(frames)]
    index = video_index.FrameIndex(
        pts, pts[-1] + 512, Fraction(1, 10240), [], exact=True, announced=frames, cut=False
    )
    assert video.uniform_frames(index, n) == [i * frames // n for i in range(n)]


def test_uniform_of_a_clip_is_arange(clip: Path) -> None:
    assert read_uniform(clip, 8).indices.tolist() == np.arange(0, 20, 20 / 8).astype(int).tolist()
    assert read_uniform(clip, 8).times_us.tolist() == [
        0, 100_000, 250_000, 350_000, 500_000, 600_000, 750_000, 850_000,
    ]  # fmt: skip


def test_probe(clip: Path) -> None:
    info = probe(clip)
    assert (info.width, info.height, info.frames, info.codec) == (96, 64, 20, "h264")
    assert (info.start_us, info.duration_us, info.fps) == (0, 1_000_000, 20.0)
    assert info.times_us.tolist() == [50_000 * i for i in range(20)]


def test_probe_decodes_nothing(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(video_index, "_index_by_decoding", fail)
    assert probe(clip).frames == 20


def test_a_late_start_is_told_and_does_not_shift_frames(made: Callable[[str], Path]) -> None:
    info = probe(made("late start"))
    assert (info.start_us, info.duration_us) == (10_000_000, 1_000_000)
    assert read_uniform(made("late start"), 4).times_us.tolist() == [0, 250_000, 500_000, 750_000]


def test_uneven_times_count_not_frames(made: Callable[[str], Path]) -> None:
    """By count the middle is frame 10; by time (98 ticks, so tick 49) it is frame 9, tick 23."""
    got = read_uniform(made("uneven times"), 2)
    assert got.indices.tolist() == [0, 9]
    assert got.times_us.tolist() == [0, 23 * 50_000]


def test_only_what_is_needed_is_decoded(
    made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three single frames out of groups of seven cost at most three groups, not fifty frames."""
    packets = 0
    decode_runs = video._decode_runs

    def counted(container: Any, *rest: Any) -> None:
        class Counting:
            def demux(self, stream: Any) -> Any:
                nonlocal packets
                for packet in container.demux(stream):
                    packets += 1
                    yield packet

            def seek(self, *args: Any, **options: Any) -> None:
                container.seek(*args, **options)

        decode_runs(Counting(), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(video, "_decode_runs", counted)
    got = read_at(made("no b-frames"), [0, 22 * 50_000, 49 * 50_000])
    assert got.indices.tolist() == [0, 22, 49]
    assert packets <= 3 * 7


def test_times_outside(clip: Path) -> None:
    assert read_at(clip, [1_000_000, 0, 49_999, 50_000]).indices.tolist() == [19, 0, 0, 1]
    for time in (-1, 1_000_001):
        with pytest.raises(InputError, match="no frame at"):
            read_at(clip, [0, time])


def test_a_file_that_begins_between_keyframes(tmp_path: Path, made: Callable[[str], Path]) -> None:
    """Without its first group, it starts at the next keyframe, whatever is stored before that."""
    import av

    path = tmp_path / "later.mkv"
    with av.open(str(made("open groups"))) as source, av.open(str(path), "w") as target:
        track = target.add_stream_from_template(source.streams.video[0])
        for packet in list(source.demux(video=0))[6:]:
            if packet.dts is not None:
                packet.stream = track
                target.mux(packet)
    numbers = [number_of(frame) for frame in read_first(path, 30).frames]
    assert numbers == list(range(9, 39))
    assert [number_of(frame) for frame in read_at(path, [0, 1_500_000]).frames] == [9, 39]


def test_too_few_frames_and_none(clip: Path) -> None:
    with pytest.raises(InputError, match=r"20 frames\n.*at least 21 frames"):
        read_first(clip, 21)
    for call in (read_first, read_uniform):
        with pytest.raises(InputError, match="0 frames asked for"):
            call(clip, 0)
    with pytest.raises(InputError, match="0 frames asked for"):
        read_at(clip, [])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_files_come_upright(tmp_path: Path, degrees: int) -> None:
    frames = FRAMES[:4]
    plain = make_video(tmp_path / "plain.mp4", frames)
    turned = make_video(tmp_path / "turned.mp4", frames, rotation=degrees)
    expected = np.rot90(read_first(plain, 4).frames, degrees // 90, axes=(1, 2))
    np.testing.assert_array_equal(read_first(turned, 4).frames, expected)


# --- writing -------------------------------------------------------------------------------------


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


# --- files that are none -------------------------------------------------------------------------

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


@pytest.mark.parametrize(
    ("group", "b_frames", "seed"),
    [("10", "1", 1), ("12", "2", 3), ("10", "3", 0), ("10", "3", 2), ("12", "1", 2)],
)
def test_pictures_that_are_refreshed_bit_by_bit(
    tmp_path: Path, group: str, b_frames: str, seed: int
) -> None:
    """Seeking may end at an earlier refresh, where what fails spoils all that follows."""
    still = np.random.default_rng(seed).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    frames = [np.roll(still, 3 * number, axis=1) for number in range(90)]
    for number, frame in enumerate(frames):
        frame[:10] = number * 7 % 256
    options: dict[str, Any] = {"intra-refresh": "1", "g": group, "bf": b_frames, "mbtree": "1"}
    path = make_video(tmp_path / "refreshed.mp4", frames, **options)
    pictures, _ = full_decode(path)
    for n in (4, 8, 16, 50):
        got = read_uniform(path, n)
        for number, picture in zip(got.indices.tolist(), got.frames, strict=True):
            assert np.array_equal(picture, pictures[number]), (n, number)


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
