"""Reading video: exactly the frames asked for, whatever the file is like."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdraft.base.errors import InputError
from crossdraft.scenes import video, video_index
from crossdraft.scenes.video import iterate, probe, read_at, read_first, read_uniform
from tests.scenes.videos import (
    FRAMES,
    full_decode,
    make_video,
    number_of,
)

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


@pytest.mark.parametrize("name", list(VARIANTS))
def test_one_after_the_other(name: str, made: Callable[[str], Path]) -> None:
    pictures, times = full_decode(made(name))
    got = list(iterate(made(name)))
    assert [time_us for _, time_us in got] == times
    for (picture, _), expected in zip(got, pictures, strict=True):
        np.testing.assert_array_equal(picture, expected)


def test_one_after_the_other_stops_at_damage(clip: Path) -> None:
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 900
    data[start : start + 400] = bytes(400)
    clip.write_bytes(data)
    good: list[int] = []
    with pytest.raises(InputError, match=r"damaged|cannot be decoded"):
        good.extend(number_of(picture) for picture, _ in iterate(clip))
    assert good == list(range(len(good))) and len(good) < 20
    clip.write_bytes(data[:-300])
    with pytest.raises(InputError, match="cannot be read"):
        next(iterate(clip))


def test_one_after_the_other_stops_at_a_picture_of_another_size(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = video._picture, itertools.count()
    monkeypatch.setattr(
        video, "_picture", lambda frame: real(frame)[: 60 if next(seen) == 2 else None]
    )
    good: list[int] = []
    with pytest.raises(InputError, match="frame 2 has 96x60 pixels"):
        good.extend(number_of(picture) for picture, _ in iterate(clip))
    assert good == [0, 1]


def test_one_after_the_other_stops_at_a_picture_that_is_marked_damaged(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = video._in_order

    def damaged(*arguments: Any) -> Iterator[Any]:
        for number, frame in enumerate(real(*arguments)):
            yield frame if number != 2 else SimpleNamespace(pts=frame.pts, is_corrupt=True)

    monkeypatch.setattr(video, "_in_order", damaged)
    monkeypatch.setattr(video, "_picture", lambda frame: FRAMES[0])
    with pytest.raises(InputError, match=r"frame 2 at 0\.100 s cannot be decoded"):
        list(iterate(clip))


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
